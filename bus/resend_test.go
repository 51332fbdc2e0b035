package bus_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
)

// trouble is what a transport has with messages: each fails.
type trouble int32

const (
	none    trouble = iota
	refuses         // nothing is sent
	loses           // it is sent all the same
)

// shaky is a transport that has trouble when a test says so.
type shaky struct {
	*script
	trouble atomic.Int32
	spares  atomic.Bool // heartbeats are sent in any case
}

func (l *shaky) has(what trouble) { l.trouble.Store(int32(what)) }

func newShaky(hub *membus.Hub) *shaky {
	l := &shaky{script: newScript()}
	l.Transport = hub.Join()
	l.receive = l.Transport.Receive
	l.publish = func(ctx context.Context, payload []byte) error {
		_, heartbeat, _, _ := bus.Decode(payload)
		what := trouble(l.trouble.Load())
		if what == none || heartbeat && l.spares.Load() {
			return l.Transport.Publish(ctx, payload)
		}
		if what == loses {
			_ = l.Transport.Publish(ctx, payload) // The answer is what is lost.
		}
		return errRefused
	}
	return l
}

// overShaky returns a Bus over a shaky transport, and one over a sound transport
// that notes what it hears.
func overShaky(t *testing.T, opts bus.Options) (link *shaky, from *bus.Bus, heard *notes) {
	t.Helper()
	hub := membus.NewHub()
	link = newShaky(hub)
	from = newBus(t, link, opts)
	require.NoError(t, from.Subscribe((&notes{}).handler()))
	_, heard = subscribed(t, hub.Join())
	time.Sleep(2 * time.Second)
	require.Equal(t, []string{"ready"}, heard.take())
	return link, from, heard
}

// TestResend_TroubleOfAMoment: publishers wait, nobody has a gap, and what was
// published arrives in its order.
func TestResend_TroubleOfAMoment(t *testing.T) {
	for name, what := range map[string]trouble{"nothing was sent": refuses, "it was sent": loses} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				link, b, heard := overShaky(t, bus.Options{})
				link.has(what)
				var results []<-chan error
				for i := range 3 {
					results = append(results, publishing(t.Context(), b, deletion(fmt.Sprint(i))))
				}
				time.Sleep(700 * time.Millisecond)
				link.has(none)
				for _, result := range results {
					require.NoError(t, <-result)
				}
				time.Sleep(time.Minute)
				assert.Equal(t, []string{"0", "1", "2"}, slices.Compact(heard.take()))
				stats := b.Stats()
				assert.EqualValues(t, 2, stats.Published)
				assert.EqualValues(t, 1, stats.Resent)
				assert.Zero(t, stats.PublishErrors)
				assert.Equal(t, []uint64{1, 2}, slices.Compact(sequences(link.messages(t))))
			})
		})
	}
}

// TestResend_AfterThePublishersGaveUp: they are told when PublishTimeout has
// passed, and the message is still sent.
func TestResend_AfterThePublishersGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, b, heard := overShaky(t, bus.Options{})
		link.has(refuses)
		link.spares.Store(true) // or the others miss the process
		start := time.Now()
		require.ErrorIs(t, b.Publish(t.Context(), deletion("0")), errRefused)
		assert.InDelta(t, time.Second, time.Since(start), float64(300*time.Millisecond))
		for i := 1; time.Since(start) < 2500*time.Millisecond; i++ {
			before := time.Now()
			require.ErrorIs(t, b.Publish(t.Context(), deletion("1")), errRefused)
			assert.Zero(t, time.Since(before), "nobody waits for what is in trouble for long")
			time.Sleep(10 * time.Millisecond)
		}
		link.has(none)
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"0", "1"}, slices.Compact(heard.take()))
	})
}

// TestResend_EachIsTried: no publisher is told of a trouble that is over, also while
// the bus is not heard yet. What gathered goes out in few messages, before.
func TestResend_EachIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newShaky(membus.NewHub())
		b := newBus(t, link, bus.Options{})
		link.has(refuses)
		want := deletions(10)
		for i := range want {
			want[i].Cache = fmt.Sprint("cache ", i/3)
			require.ErrorIs(t, b.Publish(t.Context(), want[i]), errRefused)
		}
		link.has(none)
		start := time.Now()
		require.NoError(t, b.Publish(t.Context(), deletion("after")))
		assert.Zero(t, time.Since(start))
		sent := link.messages(t)
		sent = sent[len(sent)-3:]
		assert.Equal(t, []int{1, 9, 1}, sizes(sent))
		assert.Equal(t, []uint64{1, 2, 3}, sequences(sent))
		assert.Equal(t, want[1:], sent[1].Invalidations)
	})
}

// TestResend_GivenUp: after HeartbeatTimeout the number is used up, and the others
// find it missing, also if the message itself had come after all.
func TestResend_GivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		what trouble
		more int // that wait behind it
		want []string
	}{
		"nothing was sent":                 {refuses, 0, []string{"gap: bus: a message of another process is missing", "ready"}},
		"nothing was sent, and more waits": {refuses, 5, []string{"gap: bus: a message of another process is missing", "ready"}},
		"it was sent":                      {loses, 0, []string{}},
		"it was sent, and more waits":      {loses, 5, []string{"gap: bus: a message of another process is missing", "ready"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				link, b, heard := overShaky(t, bus.Options{})
				link.has(c.what)
				link.spares.Store(true) // or the others miss the process
				require.ErrorIs(t, b.Publish(t.Context(), deletion("k")), errRefused)
				for range c.more {
					require.ErrorIs(t, b.Publish(t.Context(), deletion("more")), errRefused)
				}
				time.Sleep(10 * time.Second)
				link.has(none)
				time.Sleep(10 * time.Second)
				got := slices.DeleteFunc(heard.take(), func(s string) bool { return s == "k" })
				assert.Equal(t, c.want, slices.Compact(got))
				require.NoError(t, b.Publish(t.Context(), deletion("after")))
				time.Sleep(10 * time.Second)
				assert.Equal(t, []string{"after"}, heard.take())
			})
		})
	}
}

// TestResend_FullQueue: nobody waits for room behind a message that fails.
func TestResend_FullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, b, heard := overShaky(t, bus.Options{QueueSize: 4, MaxBatch: 2})
		link.has(refuses)
		for range 50 {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			require.ErrorIs(t, b.Publish(ctx, deletion("lost")), errRefused)
			cancel()
		}
		link.has(none)
		time.Sleep(10 * time.Second)
		assert.Contains(t, heard.take(), "gap: bus: a message of another process is missing")
	})
}

// TestResend_HeartbeatsNameWhatWasSent: a heartbeat that named a message which is
// still to come would show a hole that is not there.
func TestResend_HeartbeatsNameWhatWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, b, _ := overShaky(t, bus.Options{})
		require.NoError(t, b.Publish(t.Context(), deletion("1")))
		link.has(refuses)
		require.Error(t, b.Publish(t.Context(), deletion("2")))
		time.Sleep(1500 * time.Millisecond)
		link.has(none)
		time.Sleep(1500 * time.Millisecond)
		heartbeats := slices.Compact(link.heartbeats(t))
		assert.Equal(t, []uint64{0, 1, 2}, heartbeats)
	})
}

// TestResend_BarrierWaits: what failed comes before the question.
func TestResend_BarrierWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, b, heard := overShaky(t, bus.Options{})
		time.Sleep(5 * time.Second)
		link.has(refuses)
		require.Error(t, b.Publish(t.Context(), deletion("1")))
		start := time.Now()
		arrived := make(chan error, 1)
		go func() {
			_, err := b.Barrier(t.Context(), bus.BarrierOptions{Grace: time.Second})
			arrived <- err
		}()
		time.Sleep(500 * time.Millisecond)
		link.has(none)
		require.NoError(t, <-arrived)
		assert.Less(t, time.Since(start), 2*time.Second)
		assert.Equal(t, []string{"1"}, heard.take())
	})
}

// TestResend_CloseLeavesAHole: a goodbye names what could not be sent.
func TestResend_CloseLeavesAHole(t *testing.T) {
	for name, what := range map[string]trouble{"nothing was sent": refuses, "it was sent": loses} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				link, b, heard := overShaky(t, bus.Options{})
				link.has(what)
				require.Error(t, b.Publish(t.Context(), deletion("1")))
				require.Error(t, b.Publish(t.Context(), deletion("2")))
				link.spares.Store(true) // and the goodbye
				require.NoError(t, b.Close())
				synctest.Wait()
				assert.Contains(t, heard.take(), "gap: bus: a message of another process is missing")
			})
		})
	}
}
