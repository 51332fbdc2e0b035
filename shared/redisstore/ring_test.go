package redisstore_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/redisstore"
)

type heartbeat = func(context.Context, *redis.Client) bool

func ring(t *testing.T, f heartbeat) *redis.Ring {
	return closing(t, redis.NewRing(&redis.RingOptions{
		Addrs: map[string]string{"one": "127.0.0.1:1", "two": "127.0.0.1:2"}, HeartbeatFn: f,
		ContextTimeoutEnabled: true,
	}))
}

// TestHazard16_RefusesARingThatMovesKeys: by what it does with a shard that is
// down, however that was set up.
func TestHazard16_RefusesARingThatMovesKeys(t *testing.T) {
	for name, f := range map[string]heartbeat{
		"by itself": nil,
		"by a ping": func(ctx context.Context, c *redis.Client) bool { return c.Ping(ctx).Err() == nil },
		"always":    func(context.Context, *redis.Client) bool { return false },
		"panicking": func(context.Context, *redis.Client) bool { panic("no") },
	} {
		_, err := redisstore.New(ring(t, f), redisstore.Options{})
		require.ErrorContains(t, err, "moves the keys of a shard that is down: set HeartbeatFn to redisstore.AlwaysUp", name)
	}
	for _, f := range []heartbeat{redisstore.AlwaysUp, func(context.Context, *redis.Client) bool { return true }} {
		_, err := redisstore.New(ring(t, f), redisstore.Options{})
		require.NoError(t, err)
	}
}

// TestHazard16_ARingOfOtherShards: keys have moved, so nothing is done.
func TestHazard16_ARingOfOtherShards(t *testing.T) {
	client := ring(t, redisstore.AlwaysUp)
	store, err := redisstore.New(client, redisstore.Options{})
	require.NoError(t, err)
	client.SetAddrs(map[string]string{"one": "127.0.0.1:1"})
	const want = "the Ring has 1 shards, not 2: keys have moved"
	_, err = store.Read(t.Context(), []string{"a"})
	require.ErrorContains(t, err, want)
	r := driver.Record{Kind: driver.KindValue, Nonce: 1}
	w := driver.Write{Key: "a", Image: r.Append(nil)}
	l := driver.Lease{Key: "a", Image: w.Image}
	for n := 1; n <= 2; n++ {
		writes := []driver.Write{w, w}[:n]
		for _, r := range append(store.Write(t.Context(), writes), store.Fill(t.Context(), writes)...) {
			require.ErrorContains(t, r.Err, want)
		}
		for _, g := range store.Acquire(t.Context(), []driver.Lease{l, l}[:n]) {
			require.ErrorContains(t, g.Err, want)
		}
	}
	require.ErrorContains(t, store.Tail(t.Context(), []driver.TailRead{{Limit: 1}})[0].Err, want)
}
