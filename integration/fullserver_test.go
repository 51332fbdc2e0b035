package integration_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// TestFullServer: a server that takes no more values keeps nobody from ending those
// that it has, on all nodes.
func TestFullServer(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t, "--maxmemory-policy", "noeviction")
	fleet := neighbours{
		store: func(t *testing.T, namespace string) (driver.Store, error) {
			return redisstore.New(newRedis(t, server.Addr), redisstore.Options{Namespace: namespace})
		},
		transport: func(t *testing.T, namespace string) (bus.Transport, error) {
			return redisbus.New(newRedis(t, server.Addr), redisbus.Options{Namespace: namespace})
		},
	}
	here, node := fleet.join(t, "full")
	there, _ := fleet.join(t, "full")
	var version atomic.Value
	load := func(context.Context, string) (string, error) {
		if v, ok := version.Load().(string); ok {
			return v, nil
		}
		return "", nearcache.ErrNotFound
	}
	eventually := func(want string) {
		require.Eventually(t, func() bool {
			v, err := there.Fetch(t.Context(), "k", load)
			require.NoError(t, err)
			return v == want
		}, 30*time.Second, time.Millisecond)
	}
	version.Store("1")
	eventually("1")
	require.NoError(t, newRedis(t, server.Addr).ConfigSet(t.Context(), "maxmemory", "1").Err())

	version.Store("2")
	require.NoError(t, here.Invalidate(t.Context(), "k"))
	eventually("2")
	version.Store("3")
	require.NoError(t, here.Clear(t.Context()))
	eventually("3")
	version.Store("4")
	require.NoError(t, here.InvalidateTags(t.Context(), "tag"))
	require.ErrorIs(t, here.Set(t.Context(), "k", "4"), nearcache.ErrOutcomeUnknown)
	_, err := node.Barrier(t.Context(), nearcache.BarrierOptions{})
	require.NoError(t, err, "the value could not be stored; that the old one is stale could be told")
	v, err := there.Fetch(t.Context(), "k", load)
	require.NoError(t, err)
	require.Equal(t, "4", v)
}
