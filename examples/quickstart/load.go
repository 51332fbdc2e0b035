package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// burst is how many reads a reader makes before it rests for a moment, so that
// the readers leave some of a small machine to the others.
const burst = 200

// load is the work, and the judge of it.
type load struct {
	cfg   config
	fleet *fleet
	users []record

	reads, stale, behind, failed atomic.Int64
	writes                       atomic.Int64
	began                        time.Time
	took                         time.Duration

	mu      sync.Mutex // protects the following
	hops    []time.Duration
	lost    int // writes that did not reach every node within the bound
	lastErr error
}

// record is what the source has of one user, and what is known of its cached
// copies.
type record struct {
	source  atomic.Int64 // version in the source
	acked   atomic.Int64 // version of the last write that was acknowledged
	settled atomic.Int64 // version that was acknowledged longer ago than the bound
}

func newLoad(cfg config, f *fleet) *load {
	return &load{cfg: cfg, fleet: f, users: make([]record, cfg.keys)}
}

// run works until the time is over, and calls tick once in a while.
func (l *load) run(ctx context.Context, tick func()) {
	l.began = time.Now()
	over := time.After(l.cfg.duration)
	end := make(chan struct{}) // what is under way then is still finished
	var wg sync.WaitGroup
	for n := range l.fleet.users {
		for range l.cfg.readers {
			wg.Go(func() { l.read(ctx, n, end) })
		}
	}
	wg.Go(func() { l.write(ctx, end) })
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for waiting := true; waiting; {
		select {
		case <-ctx.Done():
			waiting = false
		case <-over:
			waiting = false
		case <-ticker.C:
			tick()
		}
	}
	close(end)
	l.took = time.Since(l.began)
	wg.Wait()
}

// read reads users on node n and judges every answer.
func (l *load) read(ctx context.Context, n int, end <-chan struct{}) {
	zipf := rand.NewZipf(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), 1.1, 1, uint64(l.cfg.keys-1))
	for {
		for range burst {
			l.readOne(ctx, n, int(zipf.Uint64()))
		}
		select {
		case <-end:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func (l *load) readOne(ctx context.Context, n, id int) {
	u := &l.users[id]
	settled, acked := u.settled.Load(), u.acked.Load() // before the read begins
	got, err := l.fleet.users[n].Fetch(ctx, strconv.Itoa(id), l.query)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		l.fail(err)
		return
	case got.Version < settled:
		l.stale.Add(1)
		l.behind.Add(1)
	case got.Version < acked:
		l.behind.Add(1)
	}
	l.reads.Add(1)
}

// query is the loader: a database would be asked here.
func (l *load) query(_ context.Context, key string) (user, error) {
	id, err := strconv.Atoi(key)
	if err != nil {
		return user{}, err
	}
	return user{ID: id, Name: "user " + key, Version: l.users[id].source.Load()}, nil
}

// write changes users, each time through another node, and follows every
// change to the last node.
func (l *load) write(ctx context.Context, end <-chan struct{}) {
	ticker := time.NewTicker(time.Second / time.Duration(l.cfg.writes))
	defer ticker.Stop()
	zipf := rand.NewZipf(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), 1.1, 1, uint64(l.cfg.keys-1))
	for i := 0; ; i++ {
		select {
		case <-end:
			return
		case <-ticker.C:
		}
		id := int(zipf.Uint64())
		u := &l.users[id]
		version := u.source.Add(1)
		began := time.Now()
		err := l.fleet.users[i%len(l.fleet.users)].Set(ctx, strconv.Itoa(id), user{ID: id, Version: version})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			l.fail(err)
			continue
		}
		u.acked.Store(version)
		time.AfterFunc(l.cfg.bound, func() { raise(&u.settled, version) })
		l.writes.Add(1)
		l.follow(ctx, strconv.Itoa(id), version, began)
	}
}

// follow waits until every node answers with the version.
func (l *load) follow(ctx context.Context, key string, version int64, began time.Time) {
	for _, users := range l.fleet.users {
		for {
			got, err := users.Fetch(ctx, key, l.query)
			if ctx.Err() != nil {
				return
			}
			if err == nil && got.Version >= version {
				break
			}
			if time.Since(began) > l.cfg.bound {
				l.mu.Lock()
				l.lost++
				l.mu.Unlock()
				return
			}
			time.Sleep(20 * time.Microsecond)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hops = append(l.hops, time.Since(began))
}

func (l *load) fail(err error) {
	l.failed.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastErr = err
}

func raise(v *atomic.Int64, to int64) {
	for old := v.Load(); old < to; old = v.Load() {
		if v.CompareAndSwap(old, to) {
			return
		}
	}
}

// quantiles returns the median, the 99th percentile and the longest of the
// times from a write to the last node.
func (l *load) quantiles() (p50, p99, longest time.Duration) {
	l.mu.Lock()
	hops := slices.Clone(l.hops)
	l.mu.Unlock()
	if len(hops) == 0 {
		return 0, 0, 0
	}
	slices.Sort(hops)
	return hops[len(hops)/2], hops[len(hops)*99/100], hops[len(hops)-1]
}

// nearHits returns the share of reads that a node answered from its memory.
func (l *load) nearHits() float64 {
	var hits, reads uint64
	for _, users := range l.fleet.users {
		s := users.Stats()
		hits, reads = hits+s.Reads.Hits, reads+s.Reads.Hits+s.Reads.Misses
	}
	if reads == 0 {
		return 0
	}
	return float64(hits) / float64(reads)
}

// loads returns how often the source was asked.
func (l *load) loads() (n uint64) {
	for _, users := range l.fleet.users {
		n += users.Stats().Loads.Keys
	}
	return n
}
