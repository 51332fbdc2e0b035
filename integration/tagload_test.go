package integration_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// TestG4_SubscribersKilledDuringLoads: loads have read old values when the connections
// of all subscribers are killed and a tag of the values is invalidated. Whatever message
// is lost, no old value is served past the bound.
func TestG4_SubscribersKilledDuringLoads(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	fleet := neighbours{
		store: func(t *testing.T, namespace string) (driver.Store, error) {
			return redisstore.New(newRedis(t, server.Addr), redisstore.Options{Namespace: namespace})
		},
		transport: func(t *testing.T, namespace string) (bus.Transport, error) {
			return redisbus.New(newRedis(t, server.Addr), redisbus.Options{Namespace: namespace})
		},
	}
	here, _ := fleet.join(t, "killed")
	there, _ := fleet.join(t, "killed")
	const keys = 20
	var source atomic.Value
	source.Store("old")
	var loading, loaded sync.WaitGroup
	loading.Add(keys)
	release := make(chan struct{})
	for i := range keys {
		loaded.Go(func() {
			_, err := here.FetchEntry(t.Context(), fmt.Sprint(i), func(context.Context, string, *string) (nearcache.Loaded[string], error) {
				v := source.Load().(string)
				loading.Done()
				<-release
				return nearcache.Loaded[string]{Value: v, Tags: []string{"t"}}, nil
			})
			assert.NoError(t, err)
		})
	}
	loading.Wait()
	source.Store("new")
	require.NoError(t, newRedis(t, server.Addr).ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err())
	require.NoError(t, there.InvalidateTags(t.Context(), "t"))
	close(release)
	loaded.Wait()
	for i := range keys {
		require.Eventually(t, func() bool {
			v, err := here.FetchEntry(t.Context(), fmt.Sprint(i), func(context.Context, string, *string) (nearcache.Loaded[string], error) {
				return nearcache.Loaded[string]{Value: source.Load().(string), Tags: []string{"t"}}, nil
			})
			require.NoError(t, err)
			return v == "new"
		}, 30*time.Second, time.Millisecond, i)
	}
}
