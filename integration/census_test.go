package integration_test

import (
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// comparing returns a node over store and transport.
func comparing(t *testing.T, store driver.Store, transport bus.Transport) *nearcache.Node {
	t.Helper()
	tier, err := shared.New(store, shared.Options{Timeout: 10 * time.Second})
	require.NoError(t, err)
	b, err := bus.New(transport, bus.Options{})
	require.NoError(t, err)
	node, err := nearcache.NewNode(tier, b, nearcache.NodeOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = node.Close(ended)
		require.NoError(t, b.Close())
	})
	return node
}

// mismatched waits until nodes agree that they do not belong together, or that they do.
func mismatched(t *testing.T, want bool, nodes ...*nearcache.Node) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, n := range nodes {
			if h := n.Health(); (h.Mismatch != "") != want || want == h.Trusted {
				return false
			}
		}
		return true
	}, time.Minute, 10*time.Millisecond)
}

// TestCensus_Databases: the channel of two databases of one Redis is one.
func TestCensus_Databases(t *testing.T) {
	t.Parallel()
	addr := servers.Redis(t).Addr
	join := func(db int) *nearcache.Node {
		client := redis.NewClient(&redis.Options{Addr: addr, DB: db, MaxRetries: -1, ContextTimeoutEnabled: true})
		t.Cleanup(func() { _ = client.Close() })
		store, err := redisstore.New(client, redisstore.Options{})
		require.NoError(t, err)
		transport, err := redisbus.New(client, redisbus.Options{})
		require.NoError(t, err)
		return comparing(t, store, transport)
	}
	a, b, c := join(0), join(0), join(1)
	mismatched(t, true, a, b, c)
	assert.Contains(t, a.Health().Mismatch, "another shared tier")
	_ = c.Close(ended)
	mismatched(t, false, a, b)
	require.NoError(t, newRedis(t, addr).FlushAll(t.Context()).Err()) // they agree on a new identity
	assert.Never(t, func() bool { return a.Health().Mismatch+b.Health().Mismatch != "" }, 5*time.Second, 10*time.Millisecond)
}

// TestCensus_Servers: two Redis servers, with one NATS.
func TestCensus_Servers(t *testing.T) {
	t.Parallel()
	subject := uniqueName()
	join := func(addr string) *nearcache.Node {
		nc, err := nats.Connect(sharedNATS(t).URL, nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort())
		require.NoError(t, err)
		t.Cleanup(nc.Close)
		transport, err := natsbus.New(nc, natsbus.Options{Subject: subject})
		require.NoError(t, err)
		return comparing(t, redisStoreOf(t, newRedis(t, addr), subject), transport)
	}
	a, b := join(servers.Redis(t).Addr), join(servers.Redis(t).Addr)
	mismatched(t, true, a, b)
}

// TestCensus_MemcachedList: the order of the servers says which key is where. It may be
// wrong from the start, and change later.
func TestCensus_MemcachedList(t *testing.T) {
	t.Parallel()
	one, two := servers.Memcached(t).Addr, servers.Memcached(t).Addr
	hub, prefix := membus.NewHub(), uniqueName()
	join := func(list ...string) (*nearcache.Node, *memcache.ServerList) {
		selector := new(memcache.ServerList)
		require.NoError(t, selector.SetServers(list...))
		client := memcache.NewFromSelector(selector)
		client.Timeout, client.MaxIdleConns = 10*time.Second, memcachedPool
		t.Cleanup(func() { _ = client.Close() })
		return comparing(t, newMemcacheStore(t, client, memcachestore.Options{Prefix: prefix}), hub.Join()), selector
	}
	a, _ := join(one, two)
	b, list := join(two, one)
	mismatched(t, true, a, b)
	require.NoError(t, list.SetServers(one, two))
	mismatched(t, false, a, b)
	require.NoError(t, list.SetServers(one))
	mismatched(t, true, a, b)
}
