package nearcache_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// servers are a store of three: one has the values, partition 0, the others the clock
// and what tags are judged by. Keys that begin with away are beside the latter.
type servers struct {
	driver.Store // of the values; for what concerns neither
	all          [3]*memstore.Store

	// beforeTail is called before the journal of a partition is read; an error is the answer.
	beforeTail atomic.Pointer[func(ctx context.Context, partition int) error]

	// afterRead is called when keys were read.
	afterRead atomic.Pointer[func(keys []string)]

	beforeAcquire atomic.Pointer[func()]

	tails  atomic.Int64
	raises atomic.Int64 // of the clock
	fails  atomic.Bool  // fills are refused
}

func newServers() *servers {
	s := new(servers)
	for i := range s.all {
		s.all[i] = memstore.New(memstore.Options{})
	}
	s.Store = s.all[0]
	return s
}

func (s *servers) Partitions() int { return len(s.all) }

func (s *servers) Partition(key string) int {
	switch {
	case strings.Contains(key, "!clock"):
		return 1
	case strings.Contains(key, "!tag"), strings.HasPrefix(key, "users:away"):
		return 2
	}
	return 0
}

func (s *servers) of(key string) *memstore.Store { return s.all[s.Partition(key)] }

func (s *servers) Read(ctx context.Context, keys []string) ([][]byte, error) {
	var images [][]byte
	for _, key := range keys {
		image, err := s.of(key).Read(ctx, []string{key})
		if err != nil {
			return nil, err
		}
		images = append(images, image...)
	}
	if f := s.afterRead.Load(); f != nil {
		(*f)(keys)
	}
	return images, nil
}

func (s *servers) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	var receipts []driver.Receipt
	for _, w := range writes {
		receipts = append(receipts, s.of(w.Key).Write(ctx, []driver.Write{w})...)
		if s.Partition(w.Key) == 1 {
			s.raises.Add(1)
		}
	}
	return receipts
}

func (s *servers) Fill(ctx context.Context, writes []driver.Write) []driver.Receipt {
	receipts := make([]driver.Receipt, len(writes))
	for i, w := range writes {
		if s.fails.Load() {
			receipts[i].Err = errNoReplicas
			continue
		}
		receipts[i] = s.of(w.Key).Fill(ctx, []driver.Write{w})[0]
		if receipts[i].Err == nil && s.Partition(w.Key) == 1 {
			s.raises.Add(1)
		}
	}
	return receipts
}

func (s *servers) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	if f := s.beforeAcquire.Load(); f != nil {
		(*f)()
	}
	var grants []driver.Grant
	for _, l := range leases {
		grants = append(grants, s.of(l.Key).Acquire(ctx, []driver.Lease{l})...)
	}
	return grants
}

func (s *servers) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	s.tails.Add(1)
	tails := make([]driver.Tail, len(reads))
	for i, r := range reads {
		if f := s.beforeTail.Load(); f != nil {
			if err := (*f)(ctx, r.Partition); err != nil {
				tails[i].Err = err
				continue
			}
		}
		tails[i] = s.all[r.Partition].Tail(ctx, []driver.TailRead{r})[0]
	}
	return tails
}

// join returns the cache of a node of its own, which has no bus.
func (s *servers) join(t *testing.T, off fault.Switches) *member {
	t.Helper()
	tier, err := shared.New(s, shared.Options{})
	require.NoError(t, err)
	node, err := nearcache.NewBrokenNode(tier, nil, nearcache.NodeOptions{}, off)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close(atOnce)) })
	c, err := nearcache.New(node, "users", nearcache.Options[string]{})
	require.NoError(t, err)
	return &member{Cache: c, node: node}
}

// snapshot notes what a server has under these keys. The result restores that, as a
// server does that was restarted from a snapshot.
func (s *servers) snapshot(t *testing.T, keys ...string) (restore func()) {
	t.Helper()
	images, err := s.Read(t.Context(), keys)
	require.NoError(t, err)
	require.False(t, slices.ContainsFunc(images, func(image []byte) bool { return image == nil }))
	return func() {
		for i, key := range keys {
			s.of(key).Plant(key, images[i])
		}
		s.of(keys[0]).BeginEpoch()
	}
}

// slowTails makes each read of a journal take this long.
func (s *servers) slowTails(d time.Duration) {
	slow := func(ctx context.Context, _ int) error { time.Sleep(d); return ctx.Err() }
	s.beforeTail.Store(&slow)
}

var errNoReplicas = errors.New("NOREPLICAS")
