package integration_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// tierOver returns a tier that has heard its server once.
func tierOver(t *testing.T, store driver.Store, opts shared.Options) *shared.Tier {
	t.Helper()
	tier, err := shared.New(store, opts)
	require.NoError(t, err)
	require.NoError(t, tier.Delete(t.Context(), "hello"))
	return tier
}

// TestAttempts_AtTheServer counts what a server hears of one write that it
// refuses for the time being: the tier decides how often it is tried, and
// neither driver nor client add to it.
func TestAttempts_AtTheServer(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	client := newRedis(t, server.Addr)
	store := newRedisStore(t, client)
	for attempts, want := range map[int]int{0: 3, 1: 1, 4: 4} {
		tier := tierOver(t, store, shared.Options{Attempts: attempts, Timeout: 20 * time.Second})
		require.NoError(t, client.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err())
		cost := spent(t, client, func() {
			require.ErrorIs(t, tier.Set(t.Context(), "key", nil, 0), shared.ErrUnavailable)
		})
		assert.Equal(t, want, cost["evalsha"], "attempts: %d", attempts)
		require.NoError(t, client.ConfigSet(t.Context(), "min-replicas-to-write", "0").Err())
		require.NoError(t, tier.Set(t.Context(), "key", nil, 0))
	}
}

// hangUp is a server that takes a request and ends the connection. It counts
// them.
func hangUp(t *testing.T) (addr string, requests *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	requests = new(atomic.Int64)
	go func() { // ends with the listener
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if n, _ := conn.Read(make([]byte, 1)); n > 0 {
				requests.Add(1)
			}
			_ = conn.Close()
		}
	}()
	return listener.Addr().String(), requests
}

// TestAttempts_ConnectionThatEnds: likewise, for a server that hangs up.
func TestAttempts_ConnectionThatEnds(t *testing.T) {
	t.Parallel()
	addr, requests := hangUp(t)
	memcached, err := memcachestore.New(newMemcache(t, addr), memcachestore.Options{})
	require.NoError(t, err)
	// Protocol 2 without an identity, so that nothing is asked before the request.
	client := redis.NewClient(&redis.Options{
		Addr: addr, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, Protocol: 2, DisableIdentity: true,
	})
	t.Cleanup(func() { _ = client.Close() })
	overRedis, err := redisstore.New(client, redisstore.Options{})
	require.NoError(t, err)
	for name, store := range map[string]driver.Store{"memcached": memcached, "redis": overRedis} {
		for _, attempts := range []int{1, 3} {
			tier, err := shared.New(store, shared.Options{Attempts: attempts, Timeout: 20 * time.Second})
			require.NoError(t, err)
			requests.Store(0)
			_, err = tier.Get(t.Context(), "key")
			require.Error(t, err)
			assert.EqualValues(t, attempts, requests.Load(), "%s: %v", name, err)
		}
	}
}

// TestAttempts_RestartedServer: the connections in the pool have ended, and
// their users do not notice. It takes no attempt of the Tier.
func TestAttempts_RestartedServer(t *testing.T) {
	t.Parallel()
	server := servers.Memcached(t)
	client := newMemcache(t, server.Addr)
	store := newMemcacheStore(t, client, memcachestore.Options{})
	tier := tierOver(t, store, shared.Options{Attempts: 1, Timeout: 20 * time.Second})
	restart := func() {
		_, err := tier.Get(t.Context(), "warm")
		require.ErrorIs(t, err, shared.ErrNotFound)
		server.Kill()
		require.NoError(t, server.Restart(t.Context()))
	}
	restart()
	require.NoError(t, tier.Set(t.Context(), "key", []byte("v"), 0))
	restart()
	_, err := tier.Get(t.Context(), "key")
	require.ErrorIs(t, err, shared.ErrNotFound, "the server lost it")
	assert.Zero(t, tier.Stats().Retries)
}

// TestBreaker_ServerThatHangs is a server that is suspended: its connections
// stay open. With the breaker only the first calls wait for it.
func TestBreaker_ServerThatHangs(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	tier := tierOver(t, newRedisStore(t, newRedis(t, server.Addr)), shared.Options{
		Timeout: 500 * time.Millisecond, BreakAfter: 2, BreakFor: 100 * time.Millisecond,
	})
	require.NoError(t, server.Pause())
	for range 2 {
		_, err := tier.Get(t.Context(), "key")
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	_, err := tier.Get(t.Context(), "key")
	require.ErrorIs(t, err, shared.ErrOpen)
	require.NoError(t, server.Resume())
	require.Eventually(t, func() bool {
		return tier.Set(t.Context(), "key", nil, 0) == nil
	}, 30*time.Second, 10*time.Millisecond)
	assert.False(t, tier.Stats().Open)
}
