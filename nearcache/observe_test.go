package nearcache_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// notebook is an observer that keeps what it is told.
type notebook struct {
	mu  sync.Mutex // protects all
	all []nearcache.Observation
}

func (n *notebook) observe(o nearcache.Observation) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, o)
}

// take returns what was observed of some kinds since it was called last, in its order.
func (n *notebook) take(kinds ...nearcache.ObservationKind) (some []nearcache.Observation) {
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range n.all {
		if slices.Contains(kinds, o.Kind) {
			some = append(some, o)
		}
	}
	n.all = nil
	return some
}

// TestObserver_Operations: what takes time is told with how long it took, and a near hit is not
// told of.
func TestObserver_Operations(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		var notes notebook
		f.nodeOpts.Observer = notes.observe
		m := f.join()
		wait(time.Second)
		notes.take()
		v, err := m.Fetch(t.Context(), "k", func(context.Context, string) (string, error) {
			time.Sleep(30 * time.Millisecond)
			return "v", nil
		})
		require.NoError(t, err)
		require.Equal(t, "v", v)
		loads := notes.take(nearcache.ObservedLoad)
		require.Len(t, loads, 1)
		assert.Equal(t, 30*time.Millisecond, loads[0].Took)
		assert.Equal(t, "users", loads[0].Cache)
		assert.Equal(t, 1, loads[0].Count)
		require.NoError(t, loads[0].Err)

		require.NoError(t, m.Set(t.Context(), "k", "w"))
		writes := notes.take(nearcache.ObservedSharedWrite, nearcache.ObservedPublish)
		require.Len(t, writes, 2)
		assert.Equal(t, "shared write", writes[0].Kind.String())
		assert.Equal(t, "publish", writes[1].Kind.String())

		for range 10 {
			_, err := m.Get(t.Context(), "k")
			require.NoError(t, err)
		}
		synctest.Wait()
		assert.Empty(t, notes.all, "near hits")

		failure := errors.New("no")
		_, err = m.Fetch(t.Context(), "other", func(context.Context, string) (string, error) { return "", failure })
		require.ErrorIs(t, err, failure)
		loads = notes.take(nearcache.ObservedLoad)
		require.Len(t, loads, 1)
		assert.Equal(t, failure, loads[0].Err)
	})
}

// TestObserver_Events: what happens to a node is told.
func TestObserver_Events(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		var notes notebook
		f.journal = true
		writer := f.join()
		f.nodeOpts.Observer = notes.observe
		m := f.join()
		wait(time.Second)
		won := notes.take(nearcache.ObservedTrustWon)
		require.Len(t, won, 1)

		require.NoError(t, writer.Set(t.Context(), "k", "v"))
		applied := notes.take(nearcache.ObservedApplied)
		require.Len(t, applied, 1)
		assert.Equal(t, "users", applied[0].Cache)
		assert.Equal(t, 1, applied[0].Count)
		assert.Positive(t, applied[0].Took)
		assert.Less(t, applied[0].Took, time.Second)

		_, err := m.Get(t.Context(), "k")
		require.NoError(t, err)
		m.link.deaf.Store(true)
		require.NoError(t, writer.Set(t.Context(), "k", "w"))
		wait(10 * time.Second)
		m.link.deaf.Store(false)
		events := notes.take(nearcache.ObservedGap, nearcache.ObservedRepaired)
		require.NotEmpty(t, events)
		assert.True(t, slices.ContainsFunc(events, func(o nearcache.Observation) bool {
			return o.Kind == nearcache.ObservedGap && o.Err != nil
		}))
		assert.True(t, slices.ContainsFunc(events, func(o nearcache.Observation) bool {
			return o.Kind == nearcache.ObservedRepaired && o.Count == 1
		}))
	})
}

// TestObserver_Blocks: an observer that blocks or panics costs no request any time, and what it
// is not told is counted. Close leaves it behind.
func TestObserver_Blocks(t *testing.T) {
	for name, observe := range map[string]func(<-chan struct{}){
		"blocks": func(free <-chan struct{}) { <-free },
		"panics": func(<-chan struct{}) { panic("no") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				free := make(chan struct{})
				f.nodeOpts.Observer = func(nearcache.Observation) { observe(free) }
				m := f.join()
				began := time.Now()
				for i := range 3000 {
					key := strconv.Itoa(i)
					_, err := m.Fetch(t.Context(), key, is("v"))
					require.NoError(t, err)
				}
				assert.Zero(t, time.Since(began))
				synctest.Wait()
				s := m.node.Stats().Observer
				assert.Positive(t, s.Dropped+s.Panics)
				require.NoError(t, m.node.Close(t.Context()))
				assert.LessOrEqual(t, time.Since(began), 500*time.Millisecond)
				close(free)
			})
		})
	}
}

// TestTracer_Blocks: a tracer that blocks costs one read 50 ms, and no other anything.
func TestTracer_Blocks(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		free := make(chan struct{})
		f.nodeOpts.Tracer = func(ctx context.Context, _ nearcache.Span) (context.Context, func(nearcache.SpanEnd)) {
			<-free
			return ctx, nil
		}
		m := f.join()
		began := time.Now()
		for i := range 100 {
			_, err := m.Fetch(t.Context(), strconv.Itoa(i), is("v"))
			require.NoError(t, err)
		}
		assert.Equal(t, 50*time.Millisecond, time.Since(began))
		assert.Equal(t, uint64(200), m.node.Stats().Observer.DroppedSpans)
		close(free)
	})
}

// TestBackground: what nodes do by themselves has the values of Background, and loads have those
// of their callers.
func TestBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type who struct{}
		store := &witness{Store: memstore.New(memstore.Options{}), by: map[any]int{}, who: who{}}
		hub := membus.NewHub()
		transport := &witnessBus{Transport: hub.Join(), store: store}
		ended, end := context.WithCancel(context.WithValue(t.Context(), who{}, "node"))
		end() // which means nothing
		node, err := nearcache.Open(t.Context(), store, transport, nearcache.OpenOptions{Background: ended})
		require.NoError(t, err)
		wait(time.Minute)
		assert.Equal(t, []any{"node"}, store.askers())
		assert.True(t, node.Health().Trusted)

		c, err := nearcache.New(node, "users", nearcache.Options[string]{})
		require.NoError(t, err)
		var loader any
		_, err = c.Fetch(context.WithValue(t.Context(), who{}, "caller"), "k", func(ctx context.Context, _ string) (string, error) {
			loader = ctx.Value(who{})
			return "v", nil
		})
		require.NoError(t, err)
		assert.Equal(t, "caller", loader)
		assert.Contains(t, store.askers(), "caller")
		require.NoError(t, node.Close(t.Context()))
		assert.NotContains(t, store.askers(), nil)
	})
}

// witness is a store that notes who asks it, by a value of the context.
type witness struct {
	driver.Store
	who any

	mu sync.Mutex // protects by
	by map[any]int
}

func (s *witness) note(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.by[ctx.Value(s.who)]++
}

func (s *witness) askers() (all []any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for who := range s.by {
		all = append(all, who)
	}
	clear(s.by)
	return all
}

func (s *witness) Read(ctx context.Context, keys []string) ([][]byte, error) {
	s.note(ctx)
	return s.Store.Read(ctx, keys)
}

func (s *witness) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	s.note(ctx)
	return s.Store.Write(ctx, writes)
}

func (s *witness) Fill(ctx context.Context, writes []driver.Write) []driver.Receipt {
	s.note(ctx)
	return s.Store.Fill(ctx, writes)
}

func (s *witness) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	s.note(ctx)
	return s.Store.Acquire(ctx, leases)
}

// Partitions implements [driver.Journaler].
func (s *witness) Partitions() int { return s.Store.(driver.Journaler).Partitions() }

// Partition implements [driver.Journaler].
func (s *witness) Partition(key string) int { return s.Store.(driver.Journaler).Partition(key) }

// Tail implements [driver.Journaler].
func (s *witness) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	s.note(ctx)
	return s.Store.(driver.Journaler).Tail(ctx, reads)
}

// witnessBus is a transport that notes so, too.
type witnessBus struct {
	*membus.Transport
	store *witness
}

func (b *witnessBus) Publish(ctx context.Context, payload []byte) error {
	b.store.note(ctx)
	return b.Transport.Publish(ctx, payload)
}

func (b *witnessBus) Receive(ctx context.Context, sink bus.Sink) error {
	b.store.note(ctx)
	return b.Transport.Receive(ctx, sink)
}

// TestTracer: a read that misses has a span, its load one inside, and a read that waits for the
// load of another read is told which.
func TestTracer(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		type within struct{}
		type span struct {
			nearcache.Span
			parent any
			end    nearcache.SpanEnd
			ctx    context.Context
		}
		var mu sync.Mutex
		var spans []*span
		f.nodeOpts.Tracer = func(ctx context.Context, s nearcache.Span) (context.Context, func(nearcache.SpanEnd)) {
			mu.Lock()
			defer mu.Unlock()
			o := &span{Span: s, parent: ctx.Value(within{})}
			o.ctx = context.WithValue(ctx, within{}, o)
			spans = append(spans, o)
			return o.ctx, func(e nearcache.SpanEnd) {
				mu.Lock()
				defer mu.Unlock()
				o.end = e
			}
		}
		m := f.join()
		wait(time.Second)
		var inLoader atomic.Value
		load := func(ctx context.Context, _ string) (string, error) {
			inLoader.Store(ctx.Value(within{}))
			time.Sleep(time.Second)
			return "v", ctx.Err()
		}
		var readers sync.WaitGroup
		for i := range 2 {
			readers.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				_, err := m.Fetch(t.Context(), "k", load)
				assert.NoError(t, err)
			})
		}
		readers.Wait()
		_, err := m.Get(t.Context(), "k")
		require.NoError(t, err)
		synctest.Wait()
		require.Len(t, spans, 3, "a hit has none")
		first, loaded, second := spans[0], spans[1], spans[2]
		assert.Equal(t, nearcache.Span{Cache: "users", Keys: []string{"k"}}, first.Span)
		assert.Equal(t, nearcache.Span{Load: true, Cache: "users", Keys: []string{"k"}}, loaded.Span)
		assert.Same(t, first, loaded.parent)
		assert.Same(t, loaded, inLoader.Load())
		assert.Nil(t, second.parent)
		assert.Equal(t, nearcache.SpanEnd{Source: nearcache.FromLoad}, first.end)
		assert.Equal(t, nearcache.SpanEnd{Source: nearcache.FromLoad, Loads: []context.Context{loaded.ctx}}, second.end)
	})
}

// TestTracer_Parts: the error that a span ends with is not changed by what the read does after that.
func TestTracer_Parts(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		var mu sync.Mutex
		var ends []error
		f.nodeOpts.Tracer = func(ctx context.Context, s nearcache.Span) (context.Context, func(nearcache.SpanEnd)) {
			return ctx, func(e nearcache.SpanEnd) {
				mu.Lock()
				defer mu.Unlock()
				if !s.Load {
					ends = append(ends, e.Err)
				}
			}
		}
		m := f.join()
		_, err := m.FetchMany(t.Context(), numbered(coherence.MaxPart+1), func(context.Context, []string) (map[string]string, error) {
			return nil, errDown
		})
		require.ErrorIs(t, err, errDown)
		synctest.Wait()
		var counts []int
		for _, end := range ends {
			var failed nearcache.KeysError
			require.ErrorAs(t, end, &failed)
			counts = append(counts, len(failed))
		}
		assert.ElementsMatch(t, []int{coherence.MaxPart, coherence.MaxPart + 1}, counts)
	})
}

// TestTracer_EndedGoroutine: a span ends also if user code ends the goroutine of the read.
func TestTracer_EndedGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		var begun, ended atomic.Int32
		f.nodeOpts.Tracer = func(ctx context.Context, _ nearcache.Span) (context.Context, func(nearcache.SpanEnd)) {
			begun.Add(1)
			return ctx, func(nearcache.SpanEnd) { ended.Add(1) }
		}
		plain := f.join()
		require.NoError(t, plain.Set(t.Context(), "k", "v"))
		require.NoError(t, plain.Set(t.Context(), "0", "v"))
		settle()
		m := f.join(nearcache.Options[string]{Clone: func(string) string { runtime.Goexit(); return "" }})
		wait(time.Second)
		var reads sync.WaitGroup
		reads.Go(func() { _, _ = m.Get(t.Context(), "k") })
		reads.Go(func() { _, _ = m.GetMany(t.Context(), []string{"0"}) })
		reads.Wait()
		synctest.Wait()
		assert.Equal(t, int32(2), begun.Load())
		assert.Equal(t, begun.Load(), ended.Load())
	})
}
