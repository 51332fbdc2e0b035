package nearcachetest

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// Memory is a fleet in memory, for tests of code that uses caches: a shared tier
// with a journal and a bus, which nodes join. It works in real time, and in bubbles of
// testing/synctest.
type Memory struct {
	t     testing.TB
	store failingStore
	hub   *membus.Hub
}

// NewMemory returns a fleet without nodes. In a bubble, t must be that of the
// bubble.
func NewMemory(t testing.TB) *Memory {
	return &Memory{t: t, store: failingStore{Store: memstore.New(memstore.Options{})}, hub: membus.NewHub()}
}

// patience is how long a node may take to hear the bus, in memory.
const patience = 20 * time.Second

// Node adds a node, a server of the fleet, which is closed at the end of the test. It
// returns once the node hears the bus and is trusted, unless the shared tier fails. An
// error ends the test.
func (m *Memory) Node(opts nearcache.NodeOptions) *nearcache.Node {
	m.t.Helper()
	tier, err := shared.New(&m.store, shared.Options{})
	m.check(err)
	b, err := bus.New(m.hub.Join(), bus.Options{Logger: opts.Logger})
	m.check(err)
	m.t.Cleanup(func() { _ = b.Close() })
	node, err := nearcache.NewNode(tier, b, opts)
	m.check(err)
	m.t.Cleanup(func() { _ = node.Close(m.t.Context()) }) // which has ended
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		switch h := node.Health(); {
		case !h.BusCut && (h.Trusted || m.store.failure.Load() != nil):
			return node
		case time.Now().After(end):
			m.t.Fatalf("nearcachetest: the node is not ready: %+v", h)
		}
	}
}

func (m *Memory) check(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// FailShared makes every call of the shared tier fail with err from now on, or
// succeed again if that is nil.
func (m *Memory) FailShared(err error) {
	if err == nil {
		m.store.failure.Store(nil)
	} else {
		m.store.failure.Store(&err)
	}
}

// Settle waits until every message that was sent has been applied by every node. It
// works in bubbles only; elsewhere read with nearcache.ReadOptions.After, or poll.
func (m *Memory) Settle() {
	time.Sleep(time.Millisecond)
	synctest.Wait()
}

// failingStore is a store in memory that can be made to fail.
type failingStore struct {
	*memstore.Store
	failure atomic.Pointer[error] // nil: it works
}

func (s *failingStore) Read(ctx context.Context, keys []string) ([][]byte, error) {
	if err := s.failure.Load(); err != nil {
		return nil, *err
	}
	return s.Store.Read(ctx, keys)
}

func (s *failingStore) ReadProven(ctx context.Context, keys []string) ([][]byte, []driver.Revision, error) {
	if err := s.failure.Load(); err != nil {
		return nil, nil, *err
	}
	return s.Store.ReadProven(ctx, keys)
}

func (s *failingStore) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	if err := s.failure.Load(); err != nil {
		return slices.Repeat([]driver.Receipt{{Err: *err}}, len(writes))
	}
	return s.Store.Write(ctx, writes)
}

func (s *failingStore) Fill(ctx context.Context, writes []driver.Write) []driver.Receipt {
	if err := s.failure.Load(); err != nil {
		return slices.Repeat([]driver.Receipt{{Err: *err}}, len(writes))
	}
	return s.Store.Fill(ctx, writes)
}

func (s *failingStore) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	if err := s.failure.Load(); err != nil {
		return slices.Repeat([]driver.Grant{{Err: *err}}, len(leases))
	}
	return s.Store.Acquire(ctx, leases)
}

func (s *failingStore) Touch(ctx context.Context, touches []driver.Touch) []driver.Receipt {
	if err := s.failure.Load(); err != nil {
		return slices.Repeat([]driver.Receipt{{Err: *err}}, len(touches))
	}
	return s.Store.Touch(ctx, touches)
}

func (s *failingStore) Time(ctx context.Context) (time.Time, error) {
	if err := s.failure.Load(); err != nil {
		return time.Time{}, *err
	}
	return s.Store.Time(ctx)
}

func (s *failingStore) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	if err := s.failure.Load(); err != nil {
		return slices.Repeat([]driver.Tail{{Err: *err}}, len(reads))
	}
	return s.Store.Tail(ctx, reads)
}

func (s *failingStore) Recall(ctx context.Context, partition, limit int) ([]driver.JournalEntry, error) {
	if err := s.failure.Load(); err != nil {
		return nil, *err
	}
	return s.Store.Recall(ctx, partition, limit)
}
