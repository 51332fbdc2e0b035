package integration_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// ringOf returns a Ring of two servers that keep their data. Its heartbeat is
// counted.
func ringOf(t *testing.T, up func(context.Context, *redis.Client) bool) (ring *redis.Ring, one *servers.Process, beats *atomic.Int64) {
	one, beats = servers.Redis(t, "--appendonly", "yes", "--appendfsync", "always"), &atomic.Int64{}
	ring = redis.NewRing(&redis.RingOptions{
		Addrs:    map[string]string{"one": one.Addr, "two": servers.Redis(t).Addr},
		PoolSize: 50, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		HeartbeatFrequency: 20 * time.Millisecond,
		HeartbeatFn: func(ctx context.Context, c *redis.Client) bool {
			defer beats.Add(1)
			return up(ctx, c)
		},
	})
	t.Cleanup(func() { _ = ring.Close() })
	return ring, one, beats
}

// keyOn returns a key that the Ring has on this server.
func keyOn(t *testing.T, ring *redis.Ring, server *servers.Process, name func(string) string) string {
	for i := range 1000 {
		key := fmt.Sprint("key-", i)
		client, err := ring.GetShardClientForKey(name(key))
		require.NoError(t, err)
		if client.Options().Addr == server.Addr {
			return key
		}
	}
	t.Fatal("every key is on the other server")
	return ""
}

// TestHazard16_ARingBringsOldValuesBack is why redisstore refuses one that goes
// by the health of its shards: an acknowledged write is undone.
func TestHazard16_ARingBringsOldValuesBack(t *testing.T) {
	t.Parallel()
	ring, one, _ := ringOf(t, func(ctx context.Context, c *redis.Client) bool { return c.Ping(ctx).Err() == nil })
	_, err := redisstore.New(ring, redisstore.Options{})
	require.ErrorContains(t, err, "moves the keys")

	key := keyOn(t, ring, one, func(key string) string { return key })
	require.NoError(t, ring.Set(t.Context(), key, "old", 0).Err())
	one.Kill()
	require.Eventually(t, func() bool { return ring.Set(t.Context(), key, "new", 0).Err() == nil },
		20*time.Second, 10*time.Millisecond, "the key moves to the other shard")
	require.NoError(t, one.Restart(t.Context()))
	require.Eventually(t, func() bool { return ring.Get(t.Context(), key).Val() == "old" },
		20*time.Second, 10*time.Millisecond, "and is back, as it was")
}

// TestHazard16_ARingWhoseShardsAreAlwaysUp: the keys of a shard that is killed
// fail, and stay where they are.
func TestHazard16_ARingWhoseShardsAreAlwaysUp(t *testing.T) {
	t.Parallel()
	ring, one, beats := ringOf(t, redisstore.AlwaysUp)
	prefix := uniqueName()
	store := redisStoreOf(t, ring, prefix)
	on := keyOn(t, ring, one, func(key string) string { return fmt.Sprintf("%s:{%d}", prefix, store.Partition(key)) })
	all := []string{on}
	for i := range 40 {
		all = append(all, fmt.Sprint("other-", i))
	}
	for _, key := range all {
		require.NoError(t, putRecord(t.Context(), store, key, value(driver.NewNonce(), "old")))
	}
	one.Kill()
	failed := map[string]bool{}
	for since := beats.Load(); beats.Load() < since+40; { // ten times what a Ring needs
		for _, key := range all {
			if putRecord(t.Context(), store, key, value(driver.NewNonce(), "new")) != nil {
				failed[key] = true
			} else {
				require.False(t, failed[key], "%s moved", key)
			}
		}
	}
	assert.True(t, failed[on])
	assert.Less(t, len(failed), len(all))
	_, err := store.Read(t.Context(), all)
	var partial *driver.PartialError
	require.ErrorAs(t, err, &partial, "the others are read")
	require.NoError(t, one.Restart(t.Context()))
	for _, key := range all {
		var want string
		require.Eventually(t, func() bool {
			images, err := store.Read(t.Context(), []string{key})
			if err != nil {
				return false
			}
			r, err := driver.DecodeRecord(images[0])
			want = string(r.Value)
			return err == nil
		}, 20*time.Second, 5*time.Millisecond)
		assert.Equal(t, map[bool]string{true: "old", false: "new"}[failed[key]], want, "what was acknowledged is there")
	}
	require.NoError(t, putRecord(t.Context(), store, on, value(driver.NewNonce(), "newer")))
}
