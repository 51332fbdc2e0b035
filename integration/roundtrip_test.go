package integration_test

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
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
)

// roundTrips counts what a client sends and waits for.
type roundTrips struct{ n atomic.Int64 }

// count leaves out what a new connection costs.
func (r *roundTrips) count(cmd redis.Cmder) {
	if name := cmd.Name(); name != "hello" && name != "client" {
		r.n.Add(1)
	}
}

func (r *roundTrips) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (r *roundTrips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		r.count(cmd)
		return next(ctx, cmd)
	}
}

func (r *roundTrips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		r.count(cmds[0])
		return next(ctx, cmds)
	}
}

// asked notes that a client has asked for a key that ends like this.
type asked struct {
	roundTrips
	suffix string
	seen   atomic.Bool
}

func (a *asked) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		for _, arg := range cmd.Args() {
			if key, ok := arg.(string); ok && strings.HasSuffix(key, a.suffix) {
				a.seen.Store(true)
			}
		}
		return err
	}
}

// redisNode is a node whose store and bus are one Redis.
type redisNode struct {
	node   *nearcache.Node
	users  *nearcache.Cache[string]
	client *redis.Client
	trips  roundTrips
}

func newRedisNode(t testing.TB, addr, name string) *redisNode {
	n := &redisNode{client: newRedis(t, addr)}
	tier, err := shared.New(redisStoreOf(t, n.client, name), shared.Options{})
	require.NoError(t, err)
	_, err = tier.Identity(t.Context())
	require.NoError(t, err)
	identity := &asked{suffix: ":!tier"}
	n.client.AddHook(identity)
	transport, err := redisbus.New(n.client, redisbus.Options{Channel: name})
	require.NoError(t, err)
	// Heartbeats and readings of the journal would be counted as well.
	b, err := bus.New(transport, bus.Options{HeartbeatInterval: time.Hour, HeartbeatTimeout: 2 * time.Hour})
	require.NoError(t, err)
	n.node, err = nearcache.NewNode(tier, b, nearcache.NodeOptions{
		JournalInterval: time.Hour, MaxStaleness: 2 * time.Hour, SharedPatience: time.Minute,
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = n.node.Close(ended)
		require.NoError(t, b.Close())
	})
	n.users, err = nearcache.New[string](n.node, "users", nearcache.Options[string]{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return !n.node.Stats().Bus.Cut && n.node.Stats().Journal.Rounds > 1 && identity.seen.Load()
	}, 10*time.Second, time.Millisecond)
	// The first calls learn the server's clock and the cache's, and bring the
	// scripts to the server.
	untilKnown(t, n.client, func() { require.NoError(t, n.users.Set(t.Context(), "warm", "v")) })
	require.NoError(t, n.users.Delete(t.Context(), "warm"))
	_, err = n.users.Fetch(t.Context(), "warm", func(context.Context, string) (string, error) { return "v", nil })
	require.NoError(t, err)
	_, err = n.users.FetchMany(t.Context(), []string{"one", "two"}, func(_ context.Context, keys []string) (map[string]string, error) {
		return map[string]string{keys[0]: "v", keys[1]: "v"}, nil
	})
	require.NoError(t, err)
	require.NoError(t, n.users.Delete(t.Context(), "one", "two"))
	n.client.AddHook(&n.trips)
	return n
}

// TestRoundTrips counts what each operation costs, at the client and at the
// server.
func TestRoundTrips(t *testing.T) {
	addr := servers.Redis(t).Addr // its own, for its commands are counted
	n, other := newRedisNode(t, addr, "fleet"), newRedisNode(t, addr, "fleet")
	load := func(context.Context, string) (string, error) { return "loaded", nil }
	loadMany := func(_ context.Context, keys []string) (map[string]string, error) {
		values := make(map[string]string, len(keys))
		for _, key := range keys[1:] { // the lease of the first is given back, with the fills of the others
			values[key] = "loaded"
		}
		return values, nil
	}
	for _, c := range []struct {
		name  string
		do    func() error
		trips int64
		calls map[string]int
	}{
		{"Set writes and publishes in one", func() error { return n.users.Set(t.Context(), "k", "v") }, 1, map[string]int{"evalsha": 1, "get": 1, "publish": 1, "xadd": 1}},
		{"near hit", func() error { _, err := n.users.Get(t.Context(), "k"); return err }, 0, map[string]int{}},
		{"Delete", func() error { return n.users.Delete(t.Context(), "k") }, 1, map[string]int{"evalsha": 1, "get": 1, "publish": 1, "xadd": 1}},
		{"Delete of many", func() error { return n.users.Delete(t.Context(), "a", "b", "c") }, 2, map[string]int{"evalsha": 1, "get": 1, "publish": 1, "xadd": 3}},
		{"Invalidate", func() error { return n.users.Invalidate(t.Context(), "k") }, 1, map[string]int{"evalsha": 1, "get": 1, "publish": 1, "xadd": 1}},
		{"SetMany", func() error {
			return n.users.SetMany(t.Context(), map[string]string{"a": "v", "b": "v", "c": "v"})
		}, 2, map[string]int{"evalsha": 1, "get": 1, "publish": 1, "xadd": 3}},
		{"load: read, lease, fill", func() error { _, err := n.users.Fetch(t.Context(), "l", load); return err }, 3, map[string]int{"mget": 1, "get": 1, "evalsha": 2}},
		{"load of 100: read, leases, fills", func() error {
			found, err := n.users.FetchMany(t.Context(), new(coldKeys).some(100), loadMany)
			require.Len(t, found, 99)
			return err
		}, 3, map[string]int{"mget": 1, "get": 2, "evalsha": 4}},
	} {
		before := n.trips.n.Load()
		calls := spent(t, n.client, func() { require.NoError(t, c.do()) })
		// What the scripts call inside is counted by the server as well (the GET
		// of a write is of metadata), and so are new connections.
		for _, other := range []string{"time", "getrange", "set", "setrange", "hello", "client|setinfo"} {
			delete(calls, other)
		}
		trips := n.trips.n.Load() - before - 2 // INFO, twice
		assert.Equal(t, c.trips, trips, c.name)
		assert.Equal(t, c.calls, calls, c.name)
	}
	before := other.trips.n.Load()
	v, err := other.users.Fetch(t.Context(), "l", load)
	require.NoError(t, err)
	assert.Equal(t, "loaded", v)
	assert.EqualValues(t, 1, other.trips.n.Load()-before, "a shared hit is one round trip")

	require.NoError(t, n.users.SetMany(t.Context(), map[string]string{"a": "v", "b": "v", "c": "v"}))
	before = other.trips.n.Load()
	calls := spent(t, n.client, func() {
		found, err := other.users.GetMany(t.Context(), []string{"a", "b", "c"})
		require.NoError(t, err)
		require.Len(t, found, 3)
	})
	assert.EqualValues(t, 1, other.trips.n.Load()-before, "shared hits of many are one round trip")
	assert.Equal(t, 1, calls["mget"])
}
