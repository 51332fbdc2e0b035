package bus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/bustest"
	"github.com/nearbus/nearbus/bus/membus"
)

// party is a process on a hub that listens.
type party struct {
	*bus.Bus
	link *gag

	mu    sync.Mutex           // protects the following fields
	calls []bus.BarrierRequest // not answered
	slow  bool                 // does not answer by itself
}

// gag is a transport that can stop sending.
type gag struct {
	*bustest.Faulty
	mute  atomic.Bool
	lossy atomic.Bool // loses every other message, at random
}

func (g *gag) Publish(ctx context.Context, payload []byte) error {
	if g.mute.Load() {
		return errRefused
	}
	if g.lossy.Load() && rand.IntN(2) == 0 {
		return nil
	}
	return g.Faulty.Publish(ctx, payload)
}

func (p *party) called(c bus.BarrierRequest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.slow {
		p.calls = append(p.calls, c)
		return
	}
	p.Ack(c)
}

// hurry answers what was not answered, and from now on.
func (p *party) hurry() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow = false
	for _, c := range p.calls {
		p.Ack(c)
	}
}

func enter(t *testing.T, hub *membus.Hub, node string) *party {
	t.Helper()
	p := &party{link: &gag{Faulty: bustest.NewFaulty(hub.Join())}}
	p.Bus = newBus(t, p.link, bus.Options{Node: node})
	require.NoError(t, p.Subscribe(bus.Handler{Apply: func(bus.Message) {}, Gap: func(error) {}, Barrier: p.called}))
	return p
}

// parties runs test with three of them that know each other.
func parties(t *testing.T, test func(t *testing.T, hub *membus.Hub, a, b, c *party)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		hub := membus.NewHub()
		a, b, c := enter(t, hub, "a"), enter(t, hub, "b"), enter(t, hub, "c")
		time.Sleep(4*time.Second + 100*time.Millisecond)
		test(t, hub, a, b, c)
	})
}

// barrier calls Barrier for at most a time, and returns how long it took.
func (p *party) barrier(t *testing.T, most, grace time.Duration) (took time.Duration, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	began := time.Now()
	_, err = p.Barrier(ctx, bus.BarrierOptions{Grace: grace})
	return time.Since(began), err
}

func missing(t *testing.T, err error) []string {
	t.Helper()
	var given *bus.BarrierError
	require.ErrorAs(t, err, &given)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	return given.Missing
}

func TestBarrier(t *testing.T) {
	parties(t, func(t *testing.T, _ *membus.Hub, a, b, _ *party) {
		took, err := a.barrier(t, time.Minute, 0)
		require.NoError(t, err)
		assert.Less(t, took, 10*time.Millisecond, "nobody had to be asked twice")

		b.slow = true
		_, err = a.barrier(t, 5*time.Second, 0)
		assert.Equal(t, []string{"b"}, missing(t, err))
		assert.Equal(t, "bus: barrier: no answer from b: context deadline exceeded", err.Error())
		time.AfterFunc(7*time.Second, b.hurry)
		took, err = a.barrier(t, time.Minute, 0)
		require.NoError(t, err)
		assert.InDelta(t, 7*time.Second, took, float64(time.Millisecond))
	})
}

func TestBarrier_LostMessages(t *testing.T) {
	parties(t, func(t *testing.T, _ *membus.Hub, a, b, c *party) {
		for _, p := range []*party{a, b, c} {
			p.link.lossy.Store(true)
		}
		var longest time.Duration
		for range 20 {
			took, err := a.barrier(t, time.Minute, time.Minute)
			require.NoError(t, err)
			longest = max(longest, took)
		}
		assert.Greater(t, longest, 50*time.Millisecond, "something had to be asked again")
	})
}

func TestBarrier_WhoLeaves(t *testing.T) {
	for name, tt := range map[string]struct {
		leave       func(t *testing.T, p *party)
		least, most time.Duration
	}{
		"closes":          {func(t *testing.T, p *party) { require.NoError(t, p.Close()) }, 0, 10 * time.Millisecond},
		"stops listening": {func(_ *testing.T, p *party) { p.Unsubscribe() }, 0, 10 * time.Millisecond},
		"dies": {func(_ *testing.T, p *party) {
			p.link.Set(bustest.Fault{Drop: 1})
			p.link.mute.Store(true)
		}, 3 * time.Second, 6 * time.Second},
	} {
		for _, grace := range []time.Duration{0, 20 * time.Second} {
			t.Run(fmt.Sprint(name, " ", grace), func(t *testing.T) {
				parties(t, func(t *testing.T, _ *membus.Hub, a, b, _ *party) {
					b.mu.Lock()
					b.slow = true
					b.mu.Unlock()
					time.AfterFunc(100*time.Millisecond, func() { tt.leave(t, b) })
					took, err := a.barrier(t, time.Minute, grace)
					require.NoError(t, err)
					least, most := tt.least, tt.most
					if least > 0 {
						least, most = max(least, grace), max(most, grace+2*time.Second)
					}
					assert.GreaterOrEqual(t, took, 100*time.Millisecond+least/2)
					assert.Less(t, took, 100*time.Millisecond+most)
				})
			})
		}
	}
}

// TestBarrier_Stranger: who only publishes is not waited for; who comes in
// meanwhile is.
func TestBarrier_Stranger(t *testing.T) {
	parties(t, func(t *testing.T, hub *membus.Hub, a, b, _ *party) {
		newBus(t, hub.Join(), bus.Options{Node: "publisher"})
		time.Sleep(2 * time.Second)
		_, err := a.barrier(t, time.Second, 0)
		require.NoError(t, err)

		b.slow = true
		var d *party
		time.AfterFunc(time.Second, func() {
			d = enter(t, hub, "d")
			d.mu.Lock()
			d.slow = true
			d.mu.Unlock()
			time.AfterFunc(100*time.Millisecond, b.hurry)
		})
		_, err = a.barrier(t, 5*time.Second, 0)
		assert.Equal(t, []string{"d"}, missing(t, err))
		d.hurry()
		_, err = a.barrier(t, 5*time.Second, 0)
		require.NoError(t, err)
	})
}

// TestBarrier_NotKnown: a process that cannot know who listens does not say
// that everybody has arrived.
func TestBarrier_NotKnown(t *testing.T) {
	t.Run("it has just begun to listen", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			hub := membus.NewHub()
			a := enter(t, hub, "a")
			_, err := a.barrier(t, time.Second, 0)
			assert.Empty(t, missing(t, err))
			require.ErrorContains(t, err, "it is not known who listens")
			took, err := a.barrier(t, time.Minute, 0)
			require.NoError(t, err, "and then it is known to be alone")
			assert.Less(t, took, 4*time.Second)
		})
	})
	t.Run("it hears nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			hub := membus.NewHub()
			a := enter(t, hub, "a")
			time.Sleep(5 * time.Second)
			a.link.Set(bustest.Fault{Drop: 1})
			_, err := a.barrier(t, 2*time.Second, 0)
			assert.Empty(t, missing(t, err), "the own question did not come back")
		})
	})
	t.Run("it does not listen", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t, membus.NewHub().Join(), bus.Options{})
			_, err := b.Barrier(t.Context(), bus.BarrierOptions{})
			require.ErrorContains(t, err, "does not listen")
			require.NoError(t, b.Close())
			_, err = b.Barrier(t.Context(), bus.BarrierOptions{})
			require.ErrorIs(t, err, bus.ErrClosed)
		})
	})
}

// TestBarrier_Hole: a message of the one who asks that is missing is a gap
// before the question is passed on.
func TestBarrier_Hole(t *testing.T) {
	heard(t, func(t *testing.T, b *bus.Bus, n *notes, s *stranger) {
		b.Unsubscribe()
		h := n.handler()
		h.Barrier = func(bus.BarrierRequest) { n.add("barrier") }
		require.NoError(t, b.Subscribe(h))
		time.Sleep(10 * time.Millisecond)
		s.message(1)
		time.Sleep(time.Millisecond)
		n.take()
		s.send(bus.EncodeBarrier("other", s.incarnation, 2, 1))
		s.send(bus.EncodeBarrier("other", s.incarnation, 2, 2, 5, b.Incarnation()))
		s.send(bus.EncodeBarrier("other", s.incarnation, 2, 3, 5)) // somebody else is asked
		time.Sleep(time.Millisecond)
		assert.Equal(t, []string{hole, "barrier", "barrier"}, n.take())
	})
}

// TestBarrier_Forged: answers that nobody asked for change nothing.
func TestBarrier_Forged(t *testing.T) {
	parties(t, func(t *testing.T, hub *membus.Hub, a, b, _ *party) {
		b.slow = true
		s := &stranger{t: t, transport: hub.Join(), incarnation: 77}
		time.AfterFunc(time.Second, func() {
			for id := range uint64(9000) {
				s.incarnation = 1000 + id
				s.send(bus.EncodeArrivals("x", s.incarnation, 0, a.Incarnation(), 1, 2, 3, 4, 5))
			}
		})
		_, err := a.barrier(t, 10*time.Second, 0)
		assert.Contains(t, missing(t, err), "b")
	})
}

func TestBarrier_ManyAtOnce(t *testing.T) {
	parties(t, func(t *testing.T, _ *membus.Hub, a, b, _ *party) {
		b.slow = true
		var wg sync.WaitGroup
		var failed, arrived atomic.Int64
		for range 200 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if _, err := a.Barrier(ctx, bus.BarrierOptions{}); err == nil {
					arrived.Add(1)
				} else if errors.Is(err, context.DeadlineExceeded) {
					failed.Add(1)
				}
			})
		}
		time.Sleep(5 * time.Second)
		b.mu.Lock()
		numbers := len(b.calls)
		b.mu.Unlock()
		assert.NotZero(t, numbers)
		b.hurry()
		wg.Wait()
		assert.EqualValues(t, 200, arrived.Load())
		assert.Zero(t, failed.Load())
	})
}

// TestBarrier_LeavesNothing: of a barrier that has ended, however it did, nothing is kept.
func TestBarrier_LeavesNothing(t *testing.T) {
	parties(t, func(t *testing.T, _ *membus.Hub, a, b, _ *party) {
		_, err := a.barrier(t, time.Minute, 0)
		require.NoError(t, err)
		b.slow = true
		_, err = a.barrier(t, 5*time.Second, 0)
		require.Error(t, err)
		assert.Zero(t, bus.OpenBarriers(a.Bus))
	})
}

func TestBarrierError_Text(t *testing.T) {
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprint("node-", i))
	}
	err := &bus.BarrierError{Missing: names, Err: context.DeadlineExceeded}
	assert.True(t, strings.HasSuffix(err.Error(), "node-7 and 992 more: context deadline exceeded"), err)
}

// TestBarrier_Answered: success says how many answered, and that nobody did.
func TestBarrier_Answered(t *testing.T) {
	parties(t, func(t *testing.T, hub *membus.Hub, a, _, _ *party) {
		answered, err := a.Barrier(t.Context(), bus.BarrierOptions{AtLeast: 2})
		require.NoError(t, err)
		assert.Equal(t, 2, answered)

		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		answered, err = a.Barrier(ctx, bus.BarrierOptions{AtLeast: 3})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 2, answered)
		assert.EqualError(t, err, "bus: barrier: 2 answered, not the 3 that were demanded: context deadline exceeded")

		time.AfterFunc(time.Second, func() { enter(t, hub, "d") })
		answered, err = a.Barrier(t.Context(), bus.BarrierOptions{AtLeast: 3})
		require.NoError(t, err)
		assert.Equal(t, 3, answered, "it waits for who is to come")

		alone := enter(t, membus.NewHub(), "alone") // of another namespace, say
		time.Sleep(4 * time.Second)
		answered, err = alone.Barrier(t.Context(), bus.BarrierOptions{})
		require.NoError(t, err)
		assert.Zero(t, answered)
	})
}

// TestBarrier_NotHeardYet: a process whose heartbeats have not come is there all the
// same, since it answers, or says so when the question shows that it is not known.
func TestBarrier_NotHeardYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := membus.NewHub()
		a := enter(t, hub, "a")
		time.Sleep(4 * time.Second)
		b := &party{link: &gag{Faulty: bustest.NewFaulty(hub.Join())}, slow: true}
		b.Bus = newBus(t, b.link, bus.Options{Node: "b", HeartbeatInterval: time.Hour})
		require.NoError(t, b.Subscribe(bus.Handler{Apply: func(bus.Message) {}, Gap: func(error) {}, Barrier: b.called}))
		time.Sleep(time.Minute)
		require.Empty(t, present(a.Peers()), "it sends no heartbeat for an hour")

		_, err := a.barrier(t, 2*time.Second, 0)
		assert.Equal(t, []string{"b"}, missing(t, err))
		time.Sleep(time.Minute)
		require.Empty(t, present(a.Peers()))
		b.hurry()
		answered, err := a.Barrier(t.Context(), bus.BarrierOptions{})
		require.NoError(t, err)
		assert.Equal(t, 1, answered)
	})
}
