package integration_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// TestG4_ANameThatMoves: the name of a Redis moves to a server that was promoted. The one
// that was the primary becomes a replica whose link is broken, and keeps the connections
// that it has: reads over them are answered, with what was there before.
func TestG4_ANameThatMoves(t *testing.T) {
	t.Parallel()
	first, second := servers.Redis(t), servers.Redis(t)
	one, two := newRedis(t, first.Addr), newRedis(t, second.Addr)
	var address atomic.Value
	address.Store(first.Addr)
	hub := membus.NewHub()
	join := func() (*nearcache.Cache[string], *nearcache.Node, *redis.Client) {
		client := redis.NewClient(&redis.Options{
			Addr: "redis.example:6379", PoolSize: 16, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
			Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, address.Load().(string))
			},
		})
		t.Cleanup(func() { _ = client.Close() })
		store, err := redisstore.New(client, redisstore.Options{})
		require.NoError(t, err)
		tier, err := shared.New(store, shared.Options{Timeout: 5 * time.Second})
		require.NoError(t, err)
		b, err := bus.New(hub.Join(), bus.Options{})
		require.NoError(t, err)
		node, err := nearcache.NewNode(tier, b, nearcache.NodeOptions{JournalInterval: 100 * time.Millisecond})
		require.NoError(t, err)
		t.Cleanup(func() { _ = node.Close(ended); assert.NoError(t, b.Close()) })
		c, err := nearcache.New(node, "users", nearcache.Options[string]{})
		require.NoError(t, err)
		require.Eventually(t, func() bool { return node.Health().Trusted }, 30*time.Second, time.Millisecond)
		return c, node, client
	}
	a, _, _ := join()
	b, reader, pool := join()
	var source atomic.Value
	source.Store("old")
	load := func(context.Context, string) (string, error) { return source.Load().(string), nil } //nolint:unparam // it is a loader
	readAll := func(check func(v string, err error)) {
		var all sync.WaitGroup
		for range 12 {
			all.Go(func() {
				got, err := b.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nearcache.ValueLoader(load))
				check(got.Value, err)
			})
		}
		all.Wait()
	}
	require.NoError(t, a.Set(t.Context(), "k", "old"))
	readAll(func(v string, err error) { assert.NoError(t, err); assert.Equal(t, "old", v) })
	kept := make([]*redis.Conn, pool.Options().PoolSize)
	for i := range kept {
		kept[i] = pool.Conn()
		require.NoError(t, kept[i].Ping(t.Context()).Err())
	}
	for _, conn := range kept {
		require.NoError(t, conn.Close()) // back to the pool
	}
	host, port, err := net.SplitHostPort(first.Addr)
	require.NoError(t, err)
	require.NoError(t, two.ReplicaOf(t.Context(), host, port).Err())
	require.Eventually(t, func() bool {
		v, err := two.Get(t.Context(), "nearbus:{0}:users:k").Bytes()
		return err == nil && len(v) > 0
	}, 30*time.Second, time.Millisecond)

	require.NoError(t, two.ReplicaOf(t.Context(), "NO", "ONE").Err())
	require.NoError(t, one.ReplicaOf(t.Context(), "127.0.0.1", "1").Err()) // where nobody is
	address.Store(second.Addr)
	source.Store("new")
	applied := reader.Stats().Bus.Applied
	require.Eventually(t, func() bool { return a.Set(t.Context(), "k", "new") == nil }, 30*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return reader.Stats().Bus.Applied > applied }, 30*time.Second, time.Microsecond)
	for range 20 {
		readAll(func(v string, err error) {
			if err == nil {
				assert.Equal(t, "new", v)
			}
		})
	}
	v, err := b.Fetch(t.Context(), "k", load)
	require.NoError(t, err)
	require.Equal(t, "new", v)
}
