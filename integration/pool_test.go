package integration_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memcachestore"
)

const (
	poolUsers = 150 // goroutines that use a cache at once
	poolCalls = 40  // of each

	// pipelinePool is how many connections go-redis has for pipelines, beside PoolSize.
	pipelinePool = redis.DefaultPipelinePoolSize

	// few is by how much go-redis may be above its PoolSize: it goes on with a
	// connection that it began when another became free.
	few = 5
)

// load puts a cache under load: reads that load, and writes.
func load(t *testing.T, node *nearcache.Node) {
	t.Helper()
	cache, err := nearcache.New(node, "pool", nearcache.Options[string]{})
	require.NoError(t, err)
	var users sync.WaitGroup
	for i := range poolUsers {
		users.Go(func() {
			for j := range poolCalls {
				key := strconv.Itoa(i*poolCalls + j)
				_, err := cache.Fetch(t.Context(), key, func(context.Context, string) (string, error) { return key, nil })
				assert.NoError(t, err)
				assert.NoError(t, cache.Set(t.Context(), key, key))
			}
		})
	}
	users.Wait()
}

// redisNumber returns a number of INFO.
func redisNumber(t *testing.T, client *redis.Client, section, name string) int {
	t.Helper()
	info, err := client.Info(t.Context(), section).Result()
	require.NoError(t, err)
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			require.NoError(t, err)
			return n
		}
	}
	t.Fatalf("INFO has no %s", name)
	return 0
}

// TestPool_Redis: however many requests there are, they share the connections
// of the two pools; the bus has one of its own.
func TestPool_Redis(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	watcher := newRedis(t, server.Addr)
	opened := redisNumber(t, watcher, "stats", "total_connections_received")
	client := newRedis(t, server.Addr)
	tier, err := shared.New(newRedisStore(t, client), shared.Options{Timeout: time.Minute})
	require.NoError(t, err)
	transport, err := redisbus.New(client, redisbus.Options{})
	require.NoError(t, err)
	b, err := bus.New(transport, bus.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	node, err := nearcache.NewNode(tier, b, patient)
	require.NoError(t, err)
	defer func() { _ = node.Close(ended) }()

	load(t, node)
	opened = redisNumber(t, watcher, "stats", "total_connections_received") - opened
	commands := redisNumber(t, watcher, "stats", "total_commands_processed")
	t.Logf("%d connections for %d commands", opened, commands)
	assert.LessOrEqual(t, opened, 50+pipelinePool+1+few, "PoolSize, the pool of pipelines, and the subscription")
	assert.Greater(t, commands, 3*poolUsers*poolCalls)
	assert.LessOrEqual(t, redisNumber(t, watcher, "clients", "connected_clients"), 50+pipelinePool+2+few)
}

func TestPool_Memcached(t *testing.T) {
	t.Parallel()
	server := servers.Memcached(t)
	opened := memcachedStat(t, server.Addr, "total_connections")
	tier, err := shared.New(newMemcacheStore(t, newMemcache(t, server.Addr), memcachestore.Options{}), shared.Options{Timeout: time.Minute})
	require.NoError(t, err)
	node, err := nearcache.NewNode(tier, nil, nearcache.NodeOptions{})
	require.NoError(t, err)
	defer func() { _ = node.Close(ended) }()
	load(t, node)
	opened = memcachedStat(t, server.Addr, "total_connections") - opened
	sets := memcachedStat(t, server.Addr, "cmd_set")
	t.Logf("%d connections for %d writes", opened, sets)
	assert.LessOrEqual(t, opened, memcachedPool+1, "MaxIdleConns, and the one that asks for this")
	assert.Greater(t, sets, poolUsers*poolCalls)
}
