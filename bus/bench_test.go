package bus_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
)

// batch returns a message of so many keys of two caches.
func batch(keys int) bus.Message {
	m := bus.Message{Node: "web-1", Incarnation: 1, Sequence: 1}
	for i := range keys {
		cache := "users"
		if i%16 == 0 {
			cache = "prices"
		}
		m.Invalidations = append(m.Invalidations,
			bus.Invalidation{Op: bus.OpSet, Cache: cache, Key: fmt.Sprintf("user:%08d", i), Epoch: 1, Revision: uint64(i)})
	}
	return m
}

// feed is a transport that delivers one payload as often as a test asks.
type feed struct {
	*membus.Transport
	ask, done chan int
	payload   []byte
}

func (f *feed) Receive(ctx context.Context, sink bus.Sink) error {
	sink.Ready()
	for {
		select {
		case n := <-f.ask:
			for range n {
				sink.Deliver(f.payload)
			}
			f.done <- n
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// newFeed returns a feed of a message to a Bus that ignores what it hears.
func newFeed(tb testing.TB, m bus.Message) *feed {
	f := &feed{Transport: membus.NewHub().Join(), ask: make(chan int), done: make(chan int), payload: bus.Encode(m)}
	b, err := bus.New(f, bus.Options{})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, b.Close()) })
	require.NoError(tb, b.Subscribe(bus.Handler{Apply: func(bus.Message) {}, Gap: func(error) {}}))
	return f
}

func (f *feed) deliver(n int) {
	f.ask <- n
	<-f.done
}

func TestDeliver_AllocatesOncePerMessage(t *testing.T) {
	f := newFeed(t, batch(1000))
	f.deliver(1)
	const messages = 100
	allocs := testing.AllocsPerRun(10, func() { f.deliver(messages) })
	require.Less(t, allocs/messages, 1.5)
}

func BenchmarkDeliver(b *testing.B) {
	const keys = 1000
	f := newFeed(b, batch(keys))
	b.ReportAllocs()
	b.ResetTimer()
	f.deliver(b.N)
	b.ReportMetric(float64(keys*b.N)/b.Elapsed().Seconds(), "keys/s")
}

// BenchmarkPublish measures how many keys a Bus sends when many goroutines
// publish so many at a time, over a transport that takes no time.
func BenchmarkPublish(b *testing.B) {
	for _, keys := range []int{1, 100} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			hub := membus.NewHub()
			one, err := bus.New(hub.Join(), bus.Options{})
			require.NoError(b, err)
			defer one.Close()
			invs := batch(keys).Invalidations
			b.ReportAllocs()
			b.SetParallelism(64)
			b.ResetTimer()
			var failed atomic.Bool
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if one.Publish(context.Background(), invs...) != nil {
						failed.Store(true)
					}
				}
			})
			require.False(b, failed.Load())
			b.ReportMetric(float64(keys*b.N)/b.Elapsed().Seconds(), "keys/s")
			b.ReportMetric(float64(one.Stats().PublishedKeys)/float64(one.Stats().Published), "keys/message")
		})
	}
}
