package nearcache_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// TestOpen_IsReady: the node that Open returns has heard of every write, and Close closes
// what Open made.
func TestOpen_IsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node, err := nearcache.Open(t.Context(), memstore.New(memstore.Options{}), membus.NewHub().Join(), nearcache.OpenOptions{})
		require.NoError(t, err)
		assert.True(t, node.Health().Trusted)
		c, err := nearcache.New(node, "c", nearcache.Options[string]{})
		require.NoError(t, err)
		require.NoError(t, c.Set(t.Context(), "k", "v"))
		require.NoError(t, node.Close(t.Context()))
		require.ErrorIs(t, c.Set(t.Context(), "k", "v"), nearcache.ErrClosed)
		require.NoError(t, node.Close(t.Context()), "once more is nothing")
	}) // nothing that Open began goes on
}

// TestOpen_WithoutServers: Open waits for a time at most, and the node goes on from the source.
func TestOpen_WithoutServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		store := newAwayStore()
		node, err := nearcache.Open(t.Context(), store, membus.NewHub().Join(), nearcache.OpenOptions{})
		require.NoError(t, err)
		assert.False(t, node.Health().Trusted)
		assert.InDelta(t, time.Second, time.Since(began), float64(time.Second))
		c, err := nearcache.New(node, "c", nearcache.Options[string]{})
		require.NoError(t, err)
		v, err := c.Fetch(t.Context(), "k", func(context.Context, string) (string, error) { return "v", nil })
		require.NoError(t, err)
		assert.Equal(t, "v", v)
		require.NoError(t, node.Close(t.Context()))

		began = time.Now()
		node, err = nearcache.Open(t.Context(), store, membus.NewHub().Join(), nearcache.OpenOptions{WaitReady: -1})
		require.NoError(t, err)
		assert.Zero(t, time.Since(began))
		require.NoError(t, node.Close(t.Context()))

		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err = nearcache.Open(ctx, store, membus.NewHub().Join(), nearcache.OpenOptions{})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// TestOpen_WrongOptions: the error is that of the part, and nothing is left behind.
func TestOpen_WrongOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, opts := range map[string]nearcache.OpenOptions{
			"shared.Options": {Tier: shared.Options{TTL: -1}},
			"bus: ":          {Bus: bus.Options{MaxBatch: -1}},
			"NodeOptions":    {Node: nearcache.NodeOptions{NearBytes: 1}},
		} {
			_, err := nearcache.Open(t.Context(), memstore.New(memstore.Options{}), membus.NewHub().Join(), opts)
			require.Error(t, err, name)
		}
		_, err := nearcache.Open(t.Context(), nil, membus.NewHub().Join(), nearcache.OpenOptions{})
		require.Error(t, err)
		_, err = nearcache.Open(t.Context(), memstore.New(memstore.Options{}), nil, nearcache.OpenOptions{})
		require.Error(t, err)
	})
}

// TestClose_Delivers: Close waits for what is pending, and says what it did not deliver.
func TestClose_Delivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAwayStore()
		open := func() (*nearcache.Node, *nearcache.Cache[string]) {
			node, err := nearcache.Open(t.Context(), store, membus.NewHub().Join(), nearcache.OpenOptions{WaitReady: -1})
			require.NoError(t, err)
			c, err := nearcache.New(node, "c", nearcache.Options[string]{})
			require.NoError(t, err)
			require.ErrorIs(t, c.Invalidate(t.Context(), "k"), nearcache.ErrOutcomeUnknown)
			return node, c
		}
		node, c := open()
		time.AfterFunc(3*time.Second, func() { store.up.Store(true) })
		require.NoError(t, node.Close(t.Context()))
		assert.Zero(t, c.Stats().Writes.Pending)

		store.up.Store(false)
		node, _ = open()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := node.Close(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "1 invalidations could not be delivered")
	})
}

// awayStore is a store in memory whose server is away while it is not up.
type awayStore struct {
	*memstore.Store
	up atomic.Bool
}

func newAwayStore() *awayStore { return &awayStore{Store: memstore.New(memstore.Options{})} }

func (s *awayStore) ReadProven(ctx context.Context, keys []string) ([][]byte, []driver.Revision, error) {
	if !s.up.Load() {
		return nil, nil, errDown
	}
	return s.Store.ReadProven(ctx, keys)
}

func (s *awayStore) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	if !s.up.Load() {
		return slices.Repeat([]driver.Receipt{{Err: errDown}}, len(writes))
	}
	return s.Store.Write(ctx, writes)
}

func (s *awayStore) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	if !s.up.Load() {
		return slices.Repeat([]driver.Tail{{Err: errDown}}, len(reads))
	}
	return s.Store.Tail(ctx, reads)
}

// TestClose_Together: who closes beside another returns when all is closed, and is told what
// was not delivered.
func TestClose_Together(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAwayStore()
		node, err := nearcache.Open(t.Context(), store, membus.NewHub().Join(), nearcache.OpenOptions{WaitReady: -1})
		require.NoError(t, err)
		c, err := nearcache.New(node, "c", nearcache.Options[string]{})
		require.NoError(t, err)
		require.ErrorIs(t, c.Invalidate(t.Context(), "k"), nearcache.ErrOutcomeUnknown)
		waited := make(chan error, 1)
		go func() { waited <- node.Close(t.Context()) }()
		synctest.Wait()
		require.ErrorContains(t, node.Close(atOnce), "1 invalidations could not be delivered")
		require.ErrorContains(t, <-waited, "1 invalidations could not be delivered")
	})
}
