package nearcache_test

import (
	"context"
	"runtime"
	"strconv"
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
	"github.com/nearbus/nearbus/shared/memstore"
)

// These tests keep to what no machine's mood changes. How long things take is
// for benchmarks, see docs/performance.md.

// countingTransport counts messages that are published.
type countingTransport struct {
	bus.Transport
	sent atomic.Int64
}

func (t *countingTransport) Publish(ctx context.Context, payload []byte) error {
	t.sent.Add(1)
	return t.Transport.Publish(ctx, payload)
}

// countedNode is a node in memory whose messages are counted; its heartbeats
// are far apart.
func countedNode(t *testing.T, hub *membus.Hub, store *memstore.Store) (*nearcache.Node, *countingTransport) {
	transport := &countingTransport{Transport: hub.Join()}
	tier, err := shared.New(store, shared.Options{})
	require.NoError(t, err)
	messages, err := bus.New(transport, bus.Options{HeartbeatInterval: time.Hour, HeartbeatTimeout: 2 * time.Hour})
	require.NoError(t, err)
	node, err := nearcache.NewNode(tier, messages, nearcache.NodeOptions{NearBytes: 1 << 20})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, node.Close(atOnce))
		require.NoError(t, messages.Close())
	})
	return node, transport
}

func TestCost_AHitAllocatesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node, _ := countedNode(t, membus.NewHub(), memstore.New(memstore.Options{}))
		synctest.Wait()
		structs, err := nearcache.New(node, "structs", nearcache.Options[record]{})
		require.NoError(t, err)
		slices, err := nearcache.New(node, "slices", nearcache.Options[[]byte]{})
		require.NoError(t, err)
		ctx := t.Context()
		require.NoError(t, structs.Set(ctx, "k", record{ID: 42}))
		require.NoError(t, slices.Set(ctx, "k", make([]byte, 256)))
		for name, read := range map[string]func() bool{
			"Get": func() bool {
				v, err := structs.Get(ctx, "k")
				return err == nil && v.ID == 42
			},
			"Fetch": func() bool {
				v, err := structs.Fetch(ctx, "k", func(context.Context, string) (record, error) { return record{}, errNoLoad })
				return err == nil && v.ID == 42
			},
			"FetchEntry": func() bool {
				v, err := structs.FetchEntry(ctx, "k", func(context.Context, string, *record) (nearcache.Loaded[record], error) {
					return nearcache.Loaded[record]{}, errNoLoad
				})
				return err == nil && v.ID == 42
			},
			"Get of a slice": func() bool {
				v, err := slices.Get(ctx, "k")
				return err == nil && len(v) == 256
			},
		} {
			hits := true
			assert.Zero(t, testing.AllocsPerRun(1000, func() { hits = read() && hits }), name)
			assert.True(t, hits, name)
		}
	})
}

// TestCost_AnObservedHitAllocatesNothing: a hit is told to nobody, and costs nothing for that.
func TestCost_AnObservedHitAllocatesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
		require.NoError(t, err)
		var told atomic.Int64
		node, err := nearcache.NewNode(tier, nil, nearcache.NodeOptions{
			NearBytes: 1 << 20,
			Observer:  func(nearcache.Observation) { told.Add(1) },
			Tracer: func(ctx context.Context, _ nearcache.Span) (context.Context, func(nearcache.SpanEnd)) {
				told.Add(1)
				return ctx, nil
			},
		})
		require.NoError(t, err)
		defer func() { require.NoError(t, node.Close(atOnce)) }()
		c, err := nearcache.New(node, "users", nearcache.Options[string]{})
		require.NoError(t, err)
		ctx := t.Context()
		synctest.Wait() // the journal is read
		require.NoError(t, c.Set(ctx, "k", "v"))
		synctest.Wait()
		before := told.Load()
		assert.Zero(t, testing.AllocsPerRun(1000, func() { _, _ = c.Get(ctx, "k") }))
		synctest.Wait()
		assert.Positive(t, before)
		assert.Equal(t, before, told.Load())
	})
}

func TestCost_OneMessageForAWriteAndNoneForAFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, store := membus.NewHub(), memstore.New(memstore.Options{})
		node, transport := countedNode(t, hub, store)
		other, _ := countedNode(t, hub, store)
		synctest.Wait()
		c, err := nearcache.New(node, "users", nearcache.Options[string]{})
		require.NoError(t, err)
		others, err := nearcache.New(other, "users", nearcache.Options[string]{})
		require.NoError(t, err)
		ctx := t.Context()
		load := func(context.Context, string) (string, error) { return "v", nil }
		many := make([]string, 100)
		values := map[string]string{}
		for i := range many {
			many[i] = strconv.Itoa(i)
			values[many[i]] = "v"
		}
		for _, c := range []struct {
			name     string
			do       func() error
			messages int64
		}{
			{"Set", func() error { return c.Set(ctx, "k", "v") }, 1},
			{"Delete", func() error { return c.Delete(ctx, "k") }, 1},
			{"Invalidate", func() error { return c.Invalidate(ctx, "k") }, 1},
			{"Invalidate of 100", func() error { return c.Invalidate(ctx, many...) }, 1},
			{"SetMany of 100", func() error { return c.SetMany(ctx, values) }, 1},
			{"Clear", func() error { return c.Clear(ctx) }, 1},
			{"a load", func() error { _, err := c.Fetch(ctx, "l", load); return err }, 0},
			{"a near hit", func() error { _, err := c.Get(ctx, "l"); return err }, 0},
			{"a shared hit", func() error { _, err := others.Get(ctx, "l"); return err }, 0},
		} {
			before := transport.sent.Load()
			require.NoError(t, c.do(), c.name)
			synctest.Wait()
			assert.Equal(t, c.messages, transport.sent.Load()-before, c.name)
		}
	})
}

// TestCost_AllocationsOfASharedHit reads values that another node wrote: each is
// in the shared tier and not near. What the store and the codec allocate is in
// the figures, one and two for a key.
func TestCost_AllocationsOfASharedHit(t *testing.T) {
	const runs, batch = 50, 100
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Options{})
		writer, _ := countedNode(t, membus.NewHub(), store)
		reader, _ := countedNode(t, membus.NewHub(), store)
		synctest.Wait()
		raw := nearcache.Options[string]{Codec: shared.Raw}
		there, err := nearcache.New(writer, "users", raw)
		require.NoError(t, err)
		here, err := nearcache.New(reader, "users", raw)
		require.NoError(t, err)
		ctx := t.Context()
		keys := make([]string, (runs+2)*(batch+1))
		for i := range keys {
			keys[i] = "user:" + strconv.Itoa(i)
			require.NoError(t, there.Set(ctx, keys[i], "v"))
		}
		synctest.Wait()
		next := func(n int) (some []string) {
			some, keys = keys[:n], keys[n:]
			return some
		}
		_, err = here.Get(ctx, next(1)[0]) // reads the clocks as well
		require.NoError(t, err)
		one := testing.AllocsPerRun(runs, func() { _, _ = here.Get(ctx, next(1)[0]) })
		assert.LessOrEqual(t, one, 11.0)
		many := testing.AllocsPerRun(runs, func() { _, _ = here.GetMany(ctx, next(batch)) })
		assert.LessOrEqual(t, many/batch, 8.0) // the race detector adds three
		assert.Zero(t, here.Stats().Reads.Hits)
		t.Logf("one: %v, of a batch: %v", one, many/batch)
	})
}

func TestCost_GoroutinesOfANodeAreFew(t *testing.T) {
	const nodes, most = 10, 10
	synctest.Test(t, func(t *testing.T) {
		hub, store := membus.NewHub(), memstore.New(memstore.Options{})
		before := runtime.NumGoroutine()
		for range nodes {
			node, _ := countedNode(t, hub, store)
			for i := range 20 { // caches have none
				c, err := nearcache.New(node, "cache"+strconv.Itoa(i), nearcache.Options[string]{})
				require.NoError(t, err)
				require.NoError(t, c.Set(t.Context(), "k", "v"))
			}
		}
		synctest.Wait()
		// Those of other tests may come and go: that is what the room is for.
		assert.LessOrEqual(t, runtime.NumGoroutine()-before, nodes*most)
	})
}
