package bus_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/bustest"
	"github.com/nearbus/nearbus/bus/membus"
)

// breaking is how often a subscription breaks in these tests: before it stands for a
// HeartbeatTimeout.
const breaking = 2500 * time.Millisecond

// breakUp cuts the subscriptions of these parties again and again, until stop is called.
func breakUp(every time.Duration, all ...*party) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends with ctx; stop waits
		defer close(done)
		for {
			select {
			case <-time.After(every):
				for _, p := range all {
					p.link.Cut()
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}

// TestBarrier_SubscriptionsBreak: a barrier ends although no subscription ever stands for
// long enough to hear of everybody over it alone.
func TestBarrier_SubscriptionsBreak(t *testing.T) {
	for name, c := range map[string]struct {
		every, most time.Duration
		breaks      func(a, b, c *party) []*party
	}{
		"of the one that asks":    {breaking, 6 * time.Second, func(a, _, _ *party) []*party { return []*party{a} }},
		"of one that is asked":    {breaking, 2 * time.Second, func(_, b, _ *party) []*party { return []*party{b} }},
		"of all":                  {breaking, 7 * time.Second, func(a, b, c *party) []*party { return []*party{a, b, c} }},
		"of all, every 1.1 s":     {1100 * time.Millisecond, 10 * time.Second, func(a, b, c *party) []*party { return []*party{a, b, c} }},
		"of all, within a second": {700 * time.Millisecond, 30 * time.Second, func(a, b, c *party) []*party { return []*party{a, b, c} }},
	} {
		t.Run(name, func(t *testing.T) {
			parties(t, func(t *testing.T, _ *membus.Hub, a, b, d *party) {
				defer breakUp(c.every, c.breaks(a, b, d)...)()
				time.Sleep(10 * time.Second)
				for range 5 {
					took, err := a.barrier(t, time.Minute, 0)
					require.NoError(t, err)
					assert.Less(t, took, c.most)
				}
				answered, err := a.Barrier(t.Context(), bus.BarrierOptions{})
				require.NoError(t, err)
				assert.Equal(t, 2, answered)

				b.mu.Lock()
				b.slow = true
				b.mu.Unlock()
				_, err = a.barrier(t, 20*time.Second, 0)
				assert.Equal(t, []string{"b"}, missing(t, err), "it has not said that it has arrived")
			})
		})
	}
}

// TestBarrier_DiesWhileSubscriptionsBreak: a process that dies is found out by the time
// that was listened, so it is not waited for without end.
func TestBarrier_DiesWhileSubscriptionsBreak(t *testing.T) {
	parties(t, func(t *testing.T, _ *membus.Hub, a, b, _ *party) {
		defer breakUp(breaking, a)()
		time.Sleep(10 * time.Second)
		b.link.mute.Store(true)
		took, err := a.barrier(t, time.Minute, 5*time.Second)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, took, 5*time.Second)
		assert.Less(t, took, 8*time.Second)
		assert.Len(t, present(a.Peers()), 1)
	})
}

// TestBarrier_CutOffInABreak: who was heard before a break, and cannot be heard after it,
// may be cut off and serve what it has. Until Grace has passed it is waited for.
func TestBarrier_CutOffInABreak(t *testing.T) {
	parties(t, func(t *testing.T, _ *membus.Hub, a, b, _ *party) {
		a.link.Cut()
		b.link.mute.Store(true)
		time.Sleep(500 * time.Millisecond)
		took, err := a.barrier(t, time.Minute, 10*time.Second)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, took, 10*time.Second)
		assert.Less(t, took, 11*time.Second)
	})
}

// TestBarrier_ComesInABreak: who came up while nothing was heard is waited for, though no
// subscription stands for a HeartbeatTimeout after that.
func TestBarrier_ComesInABreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := membus.NewHub()
		a := enter(t, hub, "a")
		time.Sleep(10 * time.Second)
		a.link.Cut()
		synctest.Wait()
		b := &party{link: &gag{Faulty: bustest.NewFaulty(hub.Join())}, slow: true}
		b.Bus = newBus(t, b.link, bus.Options{Node: "b"})
		require.NoError(t, b.Subscribe(bus.Handler{Apply: func(bus.Message) {}, Gap: func(error) {}, Barrier: b.called}))
		defer breakUp(breaking, a)()
		time.AfterFunc(20*time.Second, b.hurry)
		took, err := a.barrier(t, time.Minute, 0)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, took, 20*time.Second)
		assert.Less(t, took, 25*time.Second)
	})
}

// TestSpreading_BreaksAgainAndAgain: a subscription that never stands for long enough to be
// known to all servers has the handler catch up each time that it is made.
func TestSpreading_BreaksAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := bustest.NewFaulty(&several{newScript(), true})
		_, n := subscribed(t, link)
		time.Sleep(10 * time.Second)
		require.Equal(t, []string{"ready", "ready"}, n.take())
		const breaks = 20
		for range breaks {
			link.Cut()
			time.Sleep(breaking)
			require.Equal(t, []string{"gap: bustest: subscription was cut", "ready"}, n.take())
		}
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"ready"}, n.take(), "and once more when it stands")
	})
}

// TestSpreading_Barrier: what another server took before it knew of the subscription is
// caught up with before a barrier is passed on, which is asked later than that.
func TestSpreading_Barrier(t *testing.T) {
	for _, spreads := range []bool{true, false} {
		t.Run(fmt.Sprint(spreads), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				link, n := newScript(), &notes{}
				hub := membus.NewHub()
				link.Transport = hub.Join()
				link.publish, link.receive = link.Transport.Publish, link.Transport.Receive
				b := newBus(t, &several{link, spreads}, bus.Options{})
				h := n.handler()
				h.Barrier = func(bus.BarrierRequest) { n.add("barrier") }
				require.NoError(t, b.Subscribe(h))
				time.Sleep(time.Second)
				require.Equal(t, []string{"ready"}, n.take())
				s := &stranger{t: t, transport: hub.Join(), incarnation: 77}
				s.send(bus.EncodeBarrier("other", s.incarnation, 3, 1))
				time.Sleep(time.Millisecond)
				want := []string{"barrier"}
				if spreads {
					want = []string{"ready", "barrier"}
				}
				assert.Equal(t, want, n.take())
				for range 7 {
					time.Sleep(500 * time.Millisecond)
					s.heartbeat(3)
				}
				n.take()
				s.send(bus.EncodeBarrier("other", s.incarnation, 3, 2))
				time.Sleep(time.Millisecond)
				assert.Equal(t, []string{"barrier"}, n.take(), "all servers know it by now")
			})
		})
	}
}
