package bus_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
)

// seldom has heartbeats that nobody waits for.
var seldom = bus.Options{HeartbeatInterval: time.Hour, HeartbeatTimeout: 3 * time.Hour}

// listens adds a subscriber.
func listens(t *testing.T, hub *membus.Hub, node string, opts bus.Options) *bus.Bus {
	t.Helper()
	opts.Node = node
	b := newBus(t, hub.Join(), opts)
	require.NoError(t, b.Subscribe(bus.Handler{Apply: func(bus.Message) {}, Gap: func(error) {}}))
	return b
}

// present returns those of peers that are not silent.
func present(peers []bus.Peer) (here []bus.Peer) {
	for _, p := range peers {
		if !p.Silent {
			here = append(here, p)
		}
	}
	return here
}

func names(peers []bus.Peer) (names []string) {
	for _, p := range peers {
		names = append(names, p.Node)
	}
	return names
}

// TestRollCall: who is there answers at once, and does not have to have been heard.
func TestRollCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := membus.NewHub()
		for _, node := range []string{"a", "b", "c"} {
			listens(t, hub, node, seldom)
		}
		newBus(t, hub.Join(), bus.Options{Node: "deaf"})
		time.Sleep(time.Minute)
		asker := listens(t, hub, "asker", seldom)
		time.Sleep(time.Second)
		require.Empty(t, asker.Peers())
		began := time.Now()
		peers, err := asker.RollCall(t.Context())
		require.NoError(t, err)
		assert.ElementsMatch(t, []string{"a", "b", "c"}, names(peers))
		assert.Equal(t, 200*time.Millisecond, time.Since(began))
		for _, p := range peers {
			assert.Equal(t, 2, p.Version)
			assert.Less(t, time.Since(p.Heard), 300*time.Millisecond)
		}
	})
}

// TestRollCall_QuestionIsLost: it is asked again until it comes back, or ctx ends.
func TestRollCall_QuestionIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := membus.NewHub()
		listens(t, hub, "a", seldom)
		link := newScript()
		link.Transport = hub.Join()
		link.receive = link.Transport.Receive
		lost := 0
		link.publish = func(ctx context.Context, payload []byte) error {
			if len(payload) > 2 && payload[2] == 133 && lost < 3 {
				lost++
				return nil
			}
			return link.Transport.Publish(ctx, payload)
		}
		asker := newBus(t, link, seldom)
		require.NoError(t, asker.Subscribe(bus.Handler{Apply: func(bus.Message) {}, Gap: func(error) {}}))
		peers, err := asker.RollCall(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []string{"a"}, names(peers))

		lost = -1 << 30
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = asker.RollCall(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// TestRollCall_Ends: without a subscription it is an error, and after Close.
func TestRollCall_Ends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := membus.NewHub()
		b := newBus(t, hub.Join(), bus.Options{})
		_, err := b.RollCall(t.Context())
		require.ErrorContains(t, err, "does not listen")
		require.NoError(t, b.Subscribe(bus.Handler{Apply: func(bus.Message) {}, Gap: func(error) {}}))
		ended := make(chan error, 1)
		go func() {
			_, err := b.RollCall(t.Context())
			ended <- err
		}()
		synctest.Wait()
		require.NoError(t, b.Close())
		require.ErrorIs(t, <-ended, bus.ErrClosed)
		_, err = b.RollCall(t.Context())
		require.ErrorIs(t, err, bus.ErrClosed)
	})
}

// TestRollCall_OlderProcess: one that does not know the question goes on, and is there by its
// heartbeats.
func TestRollCall_OlderProcess(t *testing.T) {
	heard(t, func(t *testing.T, b *bus.Bus, _ *notes, s *stranger) {
		s.heartbeat(0)
		peers, err := b.RollCall(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []string{"other"}, names(peers))
	})
}

// TestTool: it hears, asks and is heard, and nobody counts it or waits for it.
func TestTool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := membus.NewHub()
		a, b := listens(t, hub, "a", bus.Options{}), listens(t, hub, "b", bus.Options{})
		heard := 0
		tool := newBus(t, hub.Join(), bus.Options{Node: "tool", Tool: true})
		require.NoError(t, tool.Subscribe(bus.Handler{Apply: func(bus.Message) { heard++ }, Gap: func(error) {}}))
		time.Sleep(5 * time.Second)
		assert.Equal(t, []string{"b"}, names(a.Peers()))
		assert.Equal(t, []string{"a"}, names(b.Peers()))
		peers, err := tool.RollCall(t.Context())
		require.NoError(t, err)
		assert.ElementsMatch(t, []string{"a", "b"}, names(peers))

		require.NoError(t, a.Publish(t.Context(), deletion("42")))
		answered, err := a.Barrier(t.Context(), bus.BarrierOptions{})
		require.NoError(t, err)
		assert.Equal(t, 1, answered, "that of the tool does not count")
		synctest.Wait()
		assert.Equal(t, 1, heard)
		answered, err = tool.Barrier(t.Context(), bus.BarrierOptions{})
		require.NoError(t, err)
		assert.Equal(t, 2, answered)
	})
}

// TestReadOnly: it hears and is heard, publishes nothing, and nobody has a gap when it is killed.
func TestReadOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := membus.NewHub()
		link := newScript()
		link.Transport = hub.Join()
		var killed atomic.Bool
		link.receive = link.Transport.Receive
		link.publish = func(ctx context.Context, payload []byte) error {
			if killed.Load() {
				return bus.ErrClosed
			}
			return link.Transport.Publish(ctx, payload)
		}
		tool, heard := newBus(t, link, bus.Options{Node: "other", Tool: true, ReadOnly: true}), &notes{}
		require.NoError(t, tool.Subscribe(heard.handler()))
		b, n := subscribed(t, hub.Join())
		time.Sleep(5 * time.Second)
		require.NoError(t, b.Publish(t.Context(), deletion("42")))
		require.ErrorIs(t, tool.Publish(t.Context(), deletion("42")), bus.ErrReadOnly)
		_, payload, _ := tool.Announcement(deletion("42"))
		assert.Nil(t, payload)
		synctest.Wait()
		assert.Equal(t, []string{"ready", "42"}, heard.take())
		assert.Equal(t, []string{"ready"}, noted(n))
		killed.Store(true)
		time.Sleep(time.Minute)
		assert.Empty(t, noted(n))
	})
}

// TestTool_Asks: one that is heard first by its question is no peer either.
func TestTool_Asks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := membus.NewHub()
		tool := listens(t, hub, "tool", bus.Options{Tool: true, HeartbeatInterval: time.Hour, HeartbeatTimeout: 3 * time.Hour})
		time.Sleep(time.Minute)
		a := listens(t, hub, "a", seldom)
		time.Sleep(time.Second)
		_, err := tool.RollCall(t.Context())
		require.NoError(t, err)
		assert.Empty(t, a.Peers())
		peers, err := a.RollCall(t.Context())
		require.NoError(t, err)
		assert.Empty(t, peers)
	})
}

// TestPeers_Silent: who falls silent is remembered as that, until it is heard again or 10 minutes
// have passed.
func TestPeers_Silent(t *testing.T) {
	heard(t, func(t *testing.T, b *bus.Bus, _ *notes, s *stranger) {
		s.heartbeat(0)
		synctest.Wait()
		fallen := time.Now()
		require.Len(t, b.Peers(), 1)
		require.False(t, b.Peers()[0].Silent)
		time.Sleep(5 * time.Second)
		require.Len(t, b.Peers(), 1)
		assert.True(t, b.Peers()[0].Silent)
		assert.Equal(t, "other", b.Peers()[0].Node)
		assert.WithinDuration(t, fallen, b.Peers()[0].Heard, time.Millisecond)
		peers, err := b.RollCall(t.Context())
		require.NoError(t, err)
		assert.Empty(t, peers)

		s.heartbeat(0)
		synctest.Wait()
		require.Len(t, b.Peers(), 1)
		assert.False(t, b.Peers()[0].Silent)

		time.Sleep(5 * time.Second)
		require.True(t, b.Peers()[0].Silent)
		s.goodbye(0)
		synctest.Wait()
		assert.Empty(t, b.Peers())

		s.heartbeat(0)
		time.Sleep(5 * time.Second)
		require.True(t, b.Peers()[0].Silent)
		next := &stranger{t: t, transport: s.transport, incarnation: s.incarnation + 1}
		next.heartbeat(0)
		synctest.Wait()
		require.Len(t, b.Peers(), 1, "it has the name of the one that was silent")
		assert.False(t, b.Peers()[0].Silent)

		time.Sleep(11 * time.Minute)
		assert.Empty(t, b.Peers())
	})
}

// TestPeers_SilentAreBounded: of many that fall silent the latest are remembered.
func TestPeers_SilentAreBounded(t *testing.T) {
	heard(t, func(t *testing.T, b *bus.Bus, _ *notes, s *stranger) {
		for id := range uint64(100) {
			s.send(bus.EncodeHeartbeat(string(rune('0'+id)), id+1, 0, 1))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		peers := b.Peers()
		require.Len(t, peers, 64)
		for _, p := range peers {
			assert.Greater(t, p.Incarnation, uint64(30))
		}
	})
}
