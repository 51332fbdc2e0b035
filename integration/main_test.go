// Package integration_test runs every driver, and the library as a whole, on
// real servers.
package integration_test

import (
	"context"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
)

// clusterMasters is how many nodes the shared cluster has.
const clusterMasters = 3

// The servers that tests share. Each starts when the first test asks for it; a
// test that uses one keeps to names of its own, see [uniqueName]. A test that
// harms a server starts its own.
var (
	sharedRedis     = share(func() (*servers.Process, error) { return servers.StartRedis(context.Background()) })
	sharedMemcached = share(func() (*servers.Process, error) { return servers.StartMemcached(context.Background()) })
	sharedNATS      = share(func() (*servers.NATSServer, error) { return servers.StartNATS() })
	sharedCluster   = share(func() (*servers.Cluster, error) {
		return servers.StartRedisCluster(context.Background(), clusterMasters)
	})
)

// stops ends the shared servers that were started.
var stops struct {
	mu  sync.Mutex
	all []func()
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, stop := range stops.all {
		stop()
	}
	os.Exit(code)
}

// share returns a function that starts a server at its first call and returns
// the same server ever after.
func share[S interface{ Stop() }](start func() (S, error)) func(testing.TB) S {
	once := sync.OnceValues(func() (S, error) {
		server, err := start()
		if err == nil {
			stops.mu.Lock()
			defer stops.mu.Unlock()
			stops.all = append(stops.all, server.Stop)
		}
		return server, err
	})
	return func(t testing.TB) S {
		t.Helper()
		server, err := once()
		require.NoError(t, err)
		return server
	}
}

var lastName atomic.Int64

// uniqueName returns a name that no other test of this run has: a prefix for
// keys, a channel, a cache.
func uniqueName() string {
	return "test-" + strconv.FormatInt(lastName.Add(1), 10)
}

func TestShare_StartsOneServerForAll(t *testing.T) {
	t.Parallel()
	assert.Same(t, sharedRedis(t), sharedRedis(t))
	assert.Same(t, sharedMemcached(t), sharedMemcached(t))
	assert.Same(t, sharedNATS(t), sharedNATS(t))
	assert.Same(t, sharedCluster(t), sharedCluster(t))
	assert.NotEqual(t, uniqueName(), uniqueName())
}

// ended is a context that has ended: what is closed with it waits for nothing.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
