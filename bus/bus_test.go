package bus_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
)

func TestNew_RefusesNilTransport(t *testing.T) {
	for _, transport := range []bus.Transport{nil, (*membus.Transport)(nil)} {
		_, err := bus.New(transport, bus.Options{})
		assert.EqualError(t, err, "bus: New: transport is nil")
	}
}

func TestNew_RefusesOptions(t *testing.T) {
	for want, opts := range map[string]bus.Options{
		"Options.Node has 65 bytes":                  {Node: strings.Repeat("n", 65)},
		"Options.HeartbeatInterval is negative":      {HeartbeatInterval: -1, HeartbeatTimeout: 1},
		"Options.HeartbeatTimeout is negative: -1ns": {HeartbeatTimeout: -1},
		"Options.PublishTimeout is negative":         {PublishTimeout: -1},
		"Options.MaxBatch is negative: -1":           {MaxBatch: -1},
		"Options.QueueSize is negative":              {QueueSize: -1},
		"is not longer than HeartbeatInterval":       {HeartbeatInterval: time.Minute, HeartbeatTimeout: time.Minute},
		"HeartbeatTimeout 500ms is not longer t":     {HeartbeatTimeout: 500 * time.Millisecond},
	} {
		_, err := bus.New(membus.NewHub().Join(), opts)
		assert.ErrorContains(t, err, want)
	}
}

func TestBus_NamesItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		b := newBus(t, link, bus.Options{})
		require.NoError(t, b.Publish(t.Context(), deletion("42")))
		m := link.messages(t)[0]
		assert.NotEmpty(t, m.Node)
		assert.LessOrEqual(t, len(m.Node), 64)
		assert.Equal(t, b.Incarnation(), m.Incarnation)
		assert.NotEqual(t, b.Incarnation(), newBus(t, link, bus.Options{}).Incarnation())
	})
}

func TestBus_DeliversToEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := membus.NewHub()
		one := newBus(t, hub.Join(), bus.Options{Node: "one"})
		got := make([]bus.Message, 2)
		for i := range got {
			b := newBus(t, hub.Join(), bus.Options{})
			require.NoError(t, b.Subscribe(bus.Handler{
				Apply: func(m bus.Message) { got[i] = m },
				Gap:   func(error) {},
			}))
		}
		synctest.Wait()
		require.NoError(t, one.Publish(t.Context(), deletion("42")))
		synctest.Wait()
		want := bus.Message{
			Node: "one", Incarnation: one.Incarnation(), Sequence: 1,
			Invalidations: []bus.Invalidation{deletion("42")},
		}
		assert.Equal(t, []bus.Message{want, want}, got)
	})
}

func TestBus_MarksOwnMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := membus.NewHub()
		var own []bool
		b := newBus(t, hub.Join(), bus.Options{})
		other := newBus(t, hub.Join(), bus.Options{})
		require.NoError(t, b.Subscribe(bus.Handler{
			Apply: func(m bus.Message) { own = append(own, m.Own) },
			Gap:   func(error) {},
		}))
		synctest.Wait()
		require.NoError(t, b.Publish(t.Context(), deletion("1")))
		require.NoError(t, other.Publish(t.Context(), deletion("2")))
		require.NoError(t, hub.Join().Publish(t.Context(), []byte("delete users 3")))
		synctest.Wait()
		assert.Equal(t, []bool{true, false, false}, own)
		stats := b.Stats()
		assert.EqualValues(t, 3, stats.Received)
		assert.EqualValues(t, 1, stats.Own)
		assert.EqualValues(t, 1, stats.Text)
	})
}

func TestPublish_RefusesWhatCannotBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		b := newBus(t, link, bus.Options{})
		for name, inv := range map[string]bus.Invalidation{
			"zero":         {},
			"operation":    {Op: 6, Cache: "users", Key: "42"},
			"no cache":     {Op: bus.OpSet, Key: "42"},
			"long cache":   {Op: bus.OpSet, Cache: strings.Repeat("c", 256), Key: "42"},
			"no key":       {Op: bus.OpSet, Cache: "users"},
			"long key":     {Op: bus.OpSet, Cache: "users", Key: strings.Repeat("k", 1025)},
			"long tag":     {Op: bus.OpTag, Cache: "users", Key: strings.Repeat("t", 257)},
			"key of clear": {Op: bus.OpClear, Cache: "users", Key: "42"},
		} {
			err := b.Publish(t.Context(), deletion("fine"), inv)
			assert.ErrorIs(t, err, bus.ErrInvalid, name)
			assert.NotContains(t, err.Error(), "42", "errors carry no keys")
		}
		require.NoError(t, b.Publish(t.Context()))
		assert.Empty(t, link.messages(t))
	})
}

func TestPublish_TooLargeForTheTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		link.limit = 200
		b := newBus(t, link, bus.Options{})
		err := b.Publish(t.Context(), deletion(strings.Repeat("k", 200)))
		assert.ErrorIs(t, err, bus.ErrInvalid)
		require.NoError(t, b.Publish(t.Context(), deletion("42")))
	})
}

func TestPublish_WithEndedContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		b := newBus(t, link, bus.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		assert.ErrorIs(t, b.Publish(ctx, deletion("42")), context.Canceled)
		synctest.Wait()
		assert.Empty(t, link.messages(t))
	})
}

func TestSubscribe_Refuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, newScript(), bus.Options{})
		ignore := func(error) {}
		assert.ErrorContains(t, b.Subscribe(bus.Handler{Gap: ignore}), "must be set")
		assert.ErrorContains(t, b.Subscribe(bus.Handler{Apply: func(bus.Message) {}}), "must be set")
		require.NoError(t, b.Subscribe((&notes{}).handler()))
		assert.ErrorIs(t, b.Subscribe((&notes{}).handler()), bus.ErrSubscribed)
		require.NoError(t, b.Close())
		assert.ErrorIs(t, b.Subscribe((&notes{}).handler()), bus.ErrClosed)
	})
}

func TestUnsubscribe_EndsAndAllowsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, first := subscribed(t, newScript())
		synctest.Wait()
		b.Unsubscribe()
		b.Unsubscribe()
		assert.Equal(t, []string{"ready"}, first.take())
		assert.False(t, b.Stats().Connected)
		require.NoError(t, b.Publish(t.Context(), deletion("1")))

		second := &notes{}
		require.NoError(t, b.Subscribe(second.handler()))
		synctest.Wait()
		require.NoError(t, b.Publish(t.Context(), deletion("2")))
		synctest.Wait()
		assert.Empty(t, first.take())
		assert.Equal(t, []string{"ready", "2"}, second.take())
	})
}

func TestUnsubscribe_WaitsForTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, newScript(), bus.Options{})
		var running atomic.Bool
		require.NoError(t, b.Subscribe(bus.Handler{
			Apply: func(bus.Message) {
				running.Store(true)
				time.Sleep(time.Second)
				running.Store(false)
			},
			Gap: func(error) {},
		}))
		synctest.Wait()
		require.NoError(t, b.Publish(t.Context(), deletion("42")))
		synctest.Wait()
		require.True(t, running.Load())
		b.Unsubscribe()
		assert.False(t, running.Load())
	})
}

func TestClose_InterruptsPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		link.publish = func(ctx context.Context, _ []byte) error {
			<-ctx.Done()
			return ctx.Err()
		}
		b := newBus(t, link, bus.Options{PublishTimeout: time.Hour})
		errs := make(chan error, 3)
		for range 3 {
			go func() { errs <- b.Publish(t.Context(), deletion("42")) }()
			synctest.Wait()
		}
		require.NoError(t, b.Close())
		for range 3 {
			assert.ErrorIs(t, <-errs, bus.ErrClosed)
		}
		assert.ErrorIs(t, b.Publish(t.Context(), deletion("42")), bus.ErrClosed)
		require.NoError(t, b.Close())
	})
}

func TestClose_IsTheLastGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := subscribed(t, newScript())
		synctest.Wait()
		require.Equal(t, []string{"ready"}, n.take())
		require.NoError(t, b.Close())
		require.Equal(t, []string{"gap: bus: closed"}, n.take())
		assert.False(t, b.Stats().Connected)
		require.NoError(t, b.Close())
		require.Empty(t, n.take())
	})
}

// announcer is a transport whose messages a store can publish.
type announcer struct {
	*script
	endpoint any
}

func (a announcer) Endpoint() any   { return a.endpoint }
func (a announcer) Channel() string { return "channel" }

func TestAnnouncement_IsHeardAsOwnWithItsRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := announcer{newScript(), "the server"}
		b := newBus(t, link, bus.Options{Node: "one"})
		var got bus.Message
		require.NoError(t, b.Subscribe(bus.Handler{Apply: func(m bus.Message) { got = m }, Gap: func(error) {}}))
		synctest.Wait()
		assert.Equal(t, "the server", b.Endpoint())

		channel, payload, at := b.Announcement(bus.Invalidation{Op: bus.OpSet, Cache: "users", Key: "42"})
		assert.Equal(t, "channel", channel)
		copy(payload[at:at+16], []byte{0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 1, 0})
		require.NoError(t, link.Publish(t.Context(), payload))
		synctest.Wait()
		assert.Equal(t, bus.Message{
			Node: "one", Incarnation: b.Incarnation(), Own: true,
			Invalidations: []bus.Invalidation{{Op: bus.OpSet, Cache: "users", Key: "42", Epoch: 7, Revision: 256}},
		}, got)
	})
}

func TestAnnouncement_IsNilWhereNoneIsPossible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, transport := range map[string]bus.Transport{
			"not announcing": newScript(),
			"no endpoint":    announcer{newScript(), nil},
		} {
			b := newBus(t, transport, bus.Options{})
			_, payload, _ := b.Announcement(deletion("42"))
			assert.Nil(t, payload, name)
			assert.Nil(t, b.Endpoint(), name)
		}
		b := newBus(t, announcer{newScript(), "the server"}, bus.Options{})
		_, payload, _ := b.Announcement(bus.Invalidation{Op: bus.OpSet})
		assert.Nil(t, payload, "invalid")
	})
}
