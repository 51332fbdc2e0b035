package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

const (
	nodes      = 3
	keys       = 100
	writeEvery = 5 * time.Millisecond
	readEvery  = 200 * time.Microsecond
)

// result is what a mode cost and how stale it got.
type result struct {
	reads, loads, sharedReads, sharedWrites, messages int64
	near                                              float64
	stale                                             int
	p99, worst                                        time.Duration
}

// each returns n for each 1,000 reads.
func (r *result) each(n int64) string {
	return fmt.Sprintf("%.1f", 1000*float64(n)/float64(max(1, r.reads)))
}

// row is a value in the source, and when its versions were acknowledged.
type row struct {
	mu      sync.Mutex // protects acked
	acked   []time.Time
	version atomic.Int64
}

// staleFor returns for how long version had been out of date at the time now.
func (r *row) staleFor(version int64, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if int(version) >= len(r.acked) {
		return 0
	}
	return now.Sub(r.acked[version]) // of version+1, the first being 1
}

// scene is a fleet in one mode.
type scene struct {
	mode   mode
	rows   [keys]row
	users  []*nearcache.Cache[int64]
	closes []func() error

	store    counting
	messages atomic.Int64
	loads    atomic.Int64
}

func run(ctx context.Context, m mode, duration time.Duration) (*result, error) {
	s := &scene{mode: m, store: counting{Store: memstore.New(memstore.Options{})}}
	defer func() {
		for _, c := range slices.Backward(s.closes) {
			_ = c()
		}
	}()
	hub := membus.NewHub()
	for range nodes {
		if err := s.join(hub); err != nil {
			return nil, err
		}
	}
	return s.work(ctx, duration)
}

func (s *scene) join(hub *membus.Hub) (err error) {
	var tier *shared.Tier
	var b *bus.Bus
	if !s.mode.noTier {
		if tier, err = shared.New(&s.store, shared.Options{}); err != nil {
			return err
		}
	}
	if !s.mode.noBus {
		if b, err = bus.New(sending{hub.Join(), &s.messages}, bus.Options{HeartbeatInterval: time.Minute}); err != nil {
			return err
		}
		s.closes = append(s.closes, b.Close)
	}
	node, err := nearcache.NewNode(tier, b, nearcache.NodeOptions{})
	if err != nil {
		return err
	}
	s.closes = append(s.closes, func() error { return node.Close(context.Background()) })
	users, err := nearcache.New(node, "users", nearcache.Options[int64]{NearTTL: s.mode.nearTTL})
	s.users = append(s.users, users)
	return err
}

func (s *scene) work(ctx context.Context, duration time.Duration) (*result, error) {
	time.Sleep(50 * time.Millisecond) // for subscriptions
	s.messages.Store(0)               // without their heartbeats
	end := make(chan struct{})
	time.AfterFunc(duration, func() { close(end) })
	r, errs := &result{}, make([]error, nodes+1)
	ages := make([][]time.Duration, nodes)
	var reads atomic.Int64
	var wg sync.WaitGroup
	for n := range nodes {
		wg.Go(func() {
			every(end, readEvery, func() {
				age, err := s.read(ctx, n)
				errs[n] = errors.Join(errs[n], err)
				reads.Add(1)
				if age > 0 {
					ages[n] = append(ages[n], age)
				}
			})
		})
	}
	wg.Go(func() {
		every(end, writeEvery, func() { errs[nodes] = errors.Join(errs[nodes], s.write(ctx)) })
	})
	wg.Wait()
	r.reads, r.loads, r.messages = reads.Load(), s.loads.Load(), s.messages.Load()
	r.sharedReads, r.sharedWrites = s.store.reads.Load(), s.store.writes.Load()
	s.judge(r, slices.Concat(ages...))
	return r, errors.Join(errs...)
}

func (s *scene) judge(r *result, ages []time.Duration) {
	var hits, all uint64
	for _, users := range s.users {
		st := users.Stats()
		hits, all = hits+st.Reads.Hits, all+st.Reads.Hits+st.Reads.Misses
	}
	r.near = float64(hits) / float64(max(1, all))
	slices.Sort(ages)
	if r.stale = len(ages); r.stale > 0 {
		r.p99, r.worst = ages[r.stale*99/100], ages[r.stale-1]
	}
}

// every does work at this pace until end is closed.
func every(end <-chan struct{}, pace time.Duration, work func()) {
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for {
		select {
		case <-end:
			return
		case <-ticker.C:
			work()
		}
	}
}

// read reads any key and returns for how long the answer had been out of date.
func (s *scene) read(ctx context.Context, n int) (time.Duration, error) {
	id := rand.IntN(keys)
	began := time.Now()
	version, err := s.users[n].Fetch(ctx, strconv.Itoa(id), func(context.Context, string) (int64, error) {
		s.loads.Add(1)
		return s.rows[id].version.Load(), nil
	})
	return max(0, s.rows[id].staleFor(version, began)), err
}

// write changes any key in the source and tells the cache, on the first node.
func (s *scene) write(ctx context.Context) error {
	id := rand.IntN(keys)
	row := &s.rows[id]
	version := row.version.Add(1)
	err := s.mode.write(ctx, s.users[0], strconv.Itoa(id), version)
	row.mu.Lock()
	defer row.mu.Unlock()
	row.acked = append(row.acked, time.Now())
	return err
}

// counting is a store that counts what it is asked.
type counting struct {
	driver.Store
	reads, writes atomic.Int64
}

func (c *counting) Read(ctx context.Context, keys []string) ([][]byte, error) {
	c.reads.Add(1)
	return c.Store.Read(ctx, keys)
}

func (c *counting) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	c.writes.Add(1)
	return c.Store.Write(ctx, writes)
}

func (c *counting) Fill(ctx context.Context, writes []driver.Write) []driver.Receipt {
	c.writes.Add(1)
	return c.Store.Fill(ctx, writes)
}

func (c *counting) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	c.writes.Add(1)
	return c.Store.Acquire(ctx, leases)
}

// sending is a transport that counts the messages sent.
type sending struct {
	bus.Transport
	n *atomic.Int64
}

func (s sending) Publish(ctx context.Context, payload []byte) error {
	s.n.Add(1)
	return s.Transport.Publish(ctx, payload)
}
