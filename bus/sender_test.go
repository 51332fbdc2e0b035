package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
)

// gate is a publish function that lets one message through for each token.
type gate chan struct{}

func (g gate) publish(ctx context.Context, _ []byte) error {
	select {
	case <-g:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// gated returns a link that holds messages back, for as long as a test likes.
func gated() (*script, gate, bus.Options) {
	link, g := newScript(), make(gate)
	link.publish = g.publish
	return link, g, bus.Options{PublishTimeout: 24 * time.Hour, HeartbeatInterval: 48 * time.Hour}
}

// publishing calls Publish in a goroutine and waits until it has no more to do
// for the moment.
func publishing(ctx context.Context, b *bus.Bus, invs ...bus.Invalidation) <-chan error {
	result := make(chan error, 1)
	go func() { result <- b.Publish(ctx, invs...) }()
	synctest.Wait()
	return result
}

func deletions(n int) []bus.Invalidation {
	invs := make([]bus.Invalidation, n)
	for i := range invs {
		invs[i] = deletion(fmt.Sprint(i))
	}
	return invs
}

func TestPublish_SendsAtOnceWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		b := newBus(t, link, bus.Options{})
		start := time.Now()
		for _, inv := range deletions(3) {
			require.NoError(t, b.Publish(t.Context(), inv))
		}
		assert.Zero(t, time.Since(start))
		assert.Equal(t, []int{1, 1, 1}, sizes(link.messages(t)))
	})
}

func TestPublish_GathersWhileSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, g, opts := gated()
		b := newBus(t, link, opts)
		var results []<-chan error
		for _, inv := range deletions(10) {
			results = append(results, publishing(t.Context(), b, inv))
		}
		g <- struct{}{}
		synctest.Wait()
		assert.NoError(t, <-results[0])
		assert.Empty(t, results[1], "returned before its message was sent")
		g <- struct{}{}
		for _, result := range results[1:] {
			assert.NoError(t, <-result)
		}
		messages := link.messages(t)
		assert.Equal(t, []int{1, 9}, sizes(messages))
		assert.Equal(t, deletions(10)[1:], messages[1].Invalidations, "in order")
		stats := b.Stats()
		assert.EqualValues(t, 2, stats.Published)
		assert.EqualValues(t, 10, stats.PublishedKeys)
	})
}

func TestPublish_SplitsWhatOneMessageCannotHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		b := newBus(t, link, bus.Options{MaxBatch: 4})
		require.NoError(t, b.Publish(t.Context(), deletions(10)...))
		messages := link.messages(t)
		assert.Equal(t, []int{4, 4, 2}, sizes(messages))
		assert.Equal(t, []uint64{1, 2, 3}, sequences(messages))
		assert.Equal(t, deletions(10)[8:], messages[2].Invalidations)
	})
}

func sequences(messages []bus.Message) []uint64 {
	var all []uint64
	for _, m := range messages {
		all = append(all, m.Sequence)
	}
	return all
}

func TestPublish_SendsAllThatGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, g, opts := gated()
		opts.MaxBatch = 2
		b := newBus(t, link, opts)
		var results []<-chan error
		for _, inv := range deletions(6) {
			results = append(results, publishing(t.Context(), b, inv))
		}
		close(g)
		for _, result := range results {
			assert.NoError(t, <-result)
		}
		assert.Equal(t, []int{1, 2, 2, 1}, sizes(link.messages(t)))
	})
}

func TestPublish_KeepsToTheLimitOfTheTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, limit := range []int{0, 500, 10_000} {
			link := newScript()
			link.limit = limit
			b := newBus(t, link, bus.Options{MaxBatch: 10_000})
			want := deletions(3000)
			want[7].Key = strings.Repeat("k", 300)
			require.NoError(t, b.Publish(t.Context(), want...))
			if limit == 0 {
				limit = bus.MaxPayload
			}
			var got []bus.Invalidation
			for _, payload := range link.sent {
				assert.LessOrEqual(t, len(payload), limit)
			}
			for _, m := range link.messages(t) {
				got = append(got, m.Invalidations...)
			}
			assert.Equal(t, want, got)
		}
	})
}

func TestPublish_BlocksWhenTheQueueIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, g, opts := gated()
		opts.QueueSize = 3
		b := newBus(t, link, opts)
		sending := publishing(t.Context(), b, deletion("sending"))
		queued := publishing(t.Context(), b, deletions(3)...)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.ErrorIs(t, b.Publish(ctx, deletion("given up")), context.DeadlineExceeded)
		waiting := publishing(t.Context(), b, deletion("waiting"))
		for range 3 {
			g <- struct{}{}
			synctest.Wait()
		}
		for _, result := range []<-chan error{sending, queued, waiting} {
			assert.NoError(t, <-result)
		}
		messages := link.messages(t)
		assert.Equal(t, []int{1, 3, 1}, sizes(messages))
		assert.Equal(t, "waiting", messages[2].Invalidations[0].Key)
	})
}

func TestPublish_OfMoreThanTheQueueHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		b := newBus(t, link, bus.Options{QueueSize: 3})
		require.NoError(t, b.Publish(t.Context(), deletions(10)...))
		assert.Equal(t, []int{3, 3, 3, 1}, sizes(link.messages(t)))
	})
}

func TestPublish_GivenUpMayStillGoOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, g, opts := gated()
		b := newBus(t, link, opts)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		sending := publishing(t.Context(), b, deletion("sending"))
		assert.ErrorIs(t, b.Publish(ctx, deletion("given up")), context.DeadlineExceeded)
		g <- struct{}{}
		g <- struct{}{}
		synctest.Wait()
		assert.NoError(t, <-sending)
		assert.Equal(t, "given up", link.messages(t)[1].Invalidations[0].Key)
	})
}

func TestPublish_FailureIsToldToAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, g, opts := gated()
		broken := errors.New("broken")
		b := newBus(t, link, opts)
		first := publishing(t.Context(), b, deletion("1"))
		gathered := []<-chan error{
			publishing(t.Context(), b, deletion("2")),
			publishing(t.Context(), b, deletion("3")),
		}
		link.publish = func(context.Context, []byte) error { return broken }
		g <- struct{}{}
		synctest.Wait()
		assert.NoError(t, <-first)
		for _, result := range gathered {
			err := <-result
			assert.ErrorIs(t, err, broken)
			assert.ErrorContains(t, err, "bus: publish: ")
		}
		link.publish = func(context.Context, []byte) error { return nil }
		require.NoError(t, b.Publish(t.Context(), deletion("4")))
		assert.Equal(t, []uint64{1, 2, 2, 3}, sequences(link.messages(t)), "what failed keeps its number, and its place")
		assert.EqualValues(t, 1, b.Stats().PublishErrors)
		assert.EqualValues(t, 3, b.Stats().Published)
		assert.EqualValues(t, 1, b.Stats().Resent)
	})
}

func TestPublish_StopsAtTheFirstMessageThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		link.publish = func(context.Context, []byte) error { return errors.New("broken") }
		b := newBus(t, link, bus.Options{MaxBatch: 1})
		require.Error(t, b.Publish(t.Context(), deletions(10)...))
		synctest.Wait()
		assert.Len(t, link.messages(t), 1)
	})
}

func TestPublish_OneSendIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, _, _ := gated()
		b := newBus(t, link, bus.Options{})
		start := time.Now()
		assert.ErrorIs(t, b.Publish(t.Context(), deletion("42")), context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))
	})
}

func TestHeartbeat_NamesTheLatestMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		b := newBus(t, link, bus.Options{})
		time.Sleep(1500 * time.Millisecond)
		require.NoError(t, b.Publish(t.Context(), deletion("1")))
		require.NoError(t, b.Publish(t.Context(), deletion("2")))
		time.Sleep(time.Second)
		assert.Equal(t, []uint64{0, 2}, link.heartbeats(t))
	})
}

// A heartbeat that overtook the message it names would show a hole that is not
// there.
func TestHeartbeat_WaitsForTheMessageBeingSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, g, opts := gated()
		opts.HeartbeatInterval, opts.HeartbeatTimeout = time.Second, time.Hour
		b := newBus(t, link, opts)
		sending := publishing(t.Context(), b, deletion("1"))
		time.Sleep(10 * time.Second)
		assert.Empty(t, link.heartbeats(t))
		g <- struct{}{}
		assert.NoError(t, <-sending)
		synctest.Wait()
		assert.Equal(t, []uint64{1}, link.heartbeats(t))
	})
}

func TestHeartbeat_GoesOnUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		link.publish = func(context.Context, []byte) error { time.Sleep(10 * time.Millisecond); return nil }
		b := newBus(t, link, bus.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for range 4 {
			go func() {
				for b.Publish(ctx, deletion("42")) == nil {
				}
			}()
		}
		<-ctx.Done()
		synctest.Wait()
		assert.GreaterOrEqual(t, len(link.heartbeats(t)), 9)
	})
}
