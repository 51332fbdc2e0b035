package integration_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// neighbours are servers that fleets of several namespaces share.
type neighbours struct {
	store     func(t *testing.T, namespace string) (driver.Store, error)
	transport func(t *testing.T, namespace string) (bus.Transport, error)
	say       func(t *testing.T, name, text string) // to all who hear a channel or subject
}

// join starts a node of a namespace that hears its bus.
func (n neighbours) join(t *testing.T, namespace string) (*nearcache.Cache[string], *nearcache.Node) {
	t.Helper()
	store, err := n.store(t, namespace)
	require.NoError(t, err)
	tier, err := shared.New(store, shared.Options{Timeout: 10 * time.Second})
	require.NoError(t, err)
	transport, err := n.transport(t, namespace)
	require.NoError(t, err)
	b, err := bus.New(transport, bus.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	node, err := nearcache.NewNode(tier, b, nearcache.NodeOptions{JournalInterval: 100 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { _ = node.Close(ended) })
	cache, err := nearcache.New(node, "users", nearcache.Options[string]{})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return !node.Stats().Bus.Cut }, 30*time.Second, time.Millisecond)
	return cache, node
}

// isolated has fleets that do the same in namespaces of their own.
func (n neighbours) isolated(t *testing.T) {
	t.Helper()
	namespaces := []string{"", "staging", "staging-2", "Staging"}
	caches, nodes := map[string]*nearcache.Cache[string]{}, map[string]*nearcache.Node{}
	for _, ns := range namespaces {
		caches[ns], nodes[ns] = n.join(t, ns)
		require.NoError(t, caches[ns].Set(t.Context(), "k", "of "+ns))
		require.NoError(t, caches[ns].Set(t.Context(), "cleared", "of "+ns))
		require.NoError(t, caches[ns].Set(t.Context(), "told", "of "+ns))
	}
	same, _ := n.join(t, "staging")
	v, err := same.Get(t.Context(), "k")
	require.NoError(t, err)
	assert.Equal(t, "of staging", v, "a namespace is one fleet")
	before := map[string]nearcache.NodeStats{}
	for _, ns := range namespaces {
		before[ns] = nodes[ns].Stats()
	}

	require.NoError(t, caches["staging"].Set(t.Context(), "k", "new"))
	require.NoError(t, caches["staging"].Delete(t.Context(), "k"))
	require.NoError(t, caches["staging"].Clear(t.Context()))
	require.NoError(t, caches["staging"].Set(t.Context(), "told", "new"))
	n.say(t, "nearbus-staging", "invalidate users told")
	n.say(t, "nearbus-staging.stream", "invalidate users told")
	require.Eventually(t, func() bool {
		_, err := same.Get(t.Context(), "told")
		return errors.Is(err, nearcache.ErrNotFound)
	}, 30*time.Second, 10*time.Millisecond, "its own fleet hears of it")
	for _, ns := range namespaces {
		if ns == "staging" {
			continue
		}
		for _, key := range []string{"k", "cleared", "told"} {
			v, err := caches[ns].Get(t.Context(), key)
			require.NoError(t, err)
			assert.Equal(t, "of "+ns, v)
		}
		fresh, _ := n.join(t, ns)
		v, err := fresh.Get(t.Context(), "cleared")
		require.NoError(t, err)
		assert.Equal(t, "of "+ns, v)
		stats := nodes[ns].Stats()
		assert.Equal(t, before[ns].Bus.Applied, stats.Bus.Applied, "it heard nothing of the others")
		assert.Equal(t, before[ns].Journal.Repaired, stats.Journal.Repaired, "nor read of them")
		assert.Zero(t, stats.Bus.UnknownCaches)
	}
}

func redisNeighbours(t *testing.T) neighbours {
	server := servers.Redis(t)
	clients := map[string]*redis.Client{}
	client := func(namespace string) *redis.Client {
		if clients[namespace] == nil {
			clients[namespace] = newRedis(t, server.Addr)
		}
		return clients[namespace]
	}
	return neighbours{
		store: func(_ *testing.T, ns string) (driver.Store, error) {
			return redisstore.New(client(ns), redisstore.Options{Namespace: ns})
		},
		transport: func(_ *testing.T, ns string) (bus.Transport, error) {
			return redisbus.New(client(ns), redisbus.Options{Namespace: ns})
		},
		say: func(t *testing.T, name, text string) {
			require.NoError(t, client("").Publish(t.Context(), name, text).Err())
		},
	}
}

func TestNamespaces_Redis(t *testing.T) {
	t.Parallel()
	redisNeighbours(t).isolated(t)
}

// natsNeighbours share Memcached, and a NATS server of their own.
func natsNeighbours(t *testing.T) (neighbours, *nats.Conn) {
	memcached, server := servers.Memcached(t), servers.NATS(t, servers.JetStream)
	conn := natsConnection(t, server.URL)
	return neighbours{
		store: func(t *testing.T, ns string) (driver.Store, error) {
			return memcachestore.New(newMemcache(t, memcached.Addr), memcachestore.Options{Namespace: ns})
		},
		transport: func(_ *testing.T, ns string) (bus.Transport, error) {
			return natsbus.New(conn, natsbus.Options{Namespace: ns})
		},
		say: func(t *testing.T, name, text string) { require.NoError(t, conn.Publish(name, []byte(text))) },
	}, conn
}

func TestNamespaces_MemcachedAndNATS(t *testing.T) {
	t.Parallel()
	n, _ := natsNeighbours(t)
	n.isolated(t)
}

func TestNamespaces_JetStream(t *testing.T) {
	t.Parallel()
	n, conn := natsNeighbours(t)
	n.transport = func(t *testing.T, ns string) (bus.Transport, error) {
		return natsbus.NewStream(t.Context(), conn, natsbus.StreamOptions{Namespace: ns})
	}
	n.isolated(t)
}
