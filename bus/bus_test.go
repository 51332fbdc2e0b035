package bus_test

import (
	"testing"
	"testing/synctest"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/stretchr/testify/require"
)

func TestBus_DeliversToEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := membus.NewHub()
		var got []string
		var ready int
		one, err := bus.New(hub.Join(), bus.Options{Node: "one"})
		require.NoError(t, err)
		defer one.Close()
		two, err := bus.New(hub.Join(), bus.Options{Node: "two"})
		require.NoError(t, err)
		defer two.Close()
		require.NoError(t, two.Subscribe(bus.Handler{
			Apply: func(m bus.Message) { got = append(got, m.Node+" "+m.Invalidations[0].Key) },
			Gap:   func(error) {},
			Ready: func() { ready++ },
		}))
		synctest.Wait()
		require.Equal(t, 1, ready)
		require.NoError(t, one.Publish(t.Context(), bus.Invalidation{Op: bus.OpDelete, Cache: "users", Key: "42"}))
		synctest.Wait()
		require.Equal(t, []string{"one 42"}, got)
	})
}
