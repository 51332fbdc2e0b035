package integration_test

import (
	"fmt"
	"slices"
	"strconv"
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
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// tagNames returns n tags.
func tagNames(n int) []string {
	tags := make([]string, n)
	for i := range tags {
		tags[i] = fmt.Sprint("org:", i)
	}
	return tags
}

// watermarks returns how many keys of watermarks a server has, and the bytes that it uses.
func watermarks(t *testing.T, client redis.UniversalClient) (keys, bytes int) {
	t.Helper()
	all := client.Scan(t.Context(), 0, "*!tag:*", 10_000).Iterator()
	for all.Next(t.Context()) {
		keys++
	}
	require.NoError(t, all.Err())
	info, err := client.InfoMap(t.Context(), "memory").Result()
	require.NoError(t, err)
	bytes, err = strconv.Atoi(info["Memory"]["used_memory"])
	require.NoError(t, err)
	return keys, bytes
}

// sweepAll takes all watermarks of the cache users away, as nodes do with old ones.
func sweepAll(t *testing.T, store driver.Store) (swept int) {
	t.Helper()
	tier, err := shared.New(store, shared.Options{Timeout: 10 * time.Second})
	require.NoError(t, err)
	require.True(t, tier.Sweeps())
	slots := make([]string, 1<<16)
	for i := range slots {
		slots[i] = fmt.Sprint("users!tag:", i)
	}
	for part := range slices.Chunk(slots, 1024) {
		found, err := tier.Records().Read(t.Context(), part)
		require.NoError(t, err)
		var puts []shared.Put
		for i := range found {
			if found[i].Err == nil && found[i].Kind == driver.KindWatermark {
				puts = append(puts, shared.Put{
					Key: part[i], Record: driver.Record{Kind: driver.KindTombstone}, Expect: found[i].Nonce, TTL: time.Second,
				})
			}
		}
		if len(puts) == 0 {
			continue
		}
		for _, r := range tier.Records().Fill(t.Context(), puts) {
			require.NoError(t, r.Err)
			swept++
		}
	}
	return swept
}

// TestSweep_Redis: after many tags were invalidated, a sweep leaves a key for each partition,
// and what was ended stays ended.
func TestSweep_Redis(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	client := newRedis(t, server.Addr)
	fleet := neighbours{
		store: func(t *testing.T, namespace string) (driver.Store, error) {
			return redisstore.New(newRedis(t, server.Addr), redisstore.Options{Namespace: namespace})
		},
		transport: func(t *testing.T, namespace string) (bus.Transport, error) {
			return redisbus.New(newRedis(t, server.Addr), redisbus.Options{Namespace: namespace})
		},
	}
	here, _ := fleet.join(t, "")
	there, _ := fleet.join(t, "")
	ctx := t.Context()
	require.NoError(t, here.SetEntry(ctx, "ended", nearcache.Entry[string]{Value: "old", Tags: []string{"org:7"}}))
	require.NoError(t, here.InvalidateTags(ctx, "warm"))
	_, empty := watermarks(t, client)
	for part := range slices.Chunk(tagNames(200_000), 1024) {
		require.NoError(t, here.InvalidateTags(ctx, part...))
	}
	keys, full := watermarks(t, client)
	require.Greater(t, keys, 60_000)
	require.Equal(t, keys, sweepAll(t, redisStoreOf(t, client, "nearbus")))
	require.Eventually(t, func() bool { left, _ := watermarks(t, client); return left == 0 }, time.Minute, 100*time.Millisecond)
	_, swept := watermarks(t, client)
	journal, err := client.MemoryUsage(ctx, "nearbus:{0}!journal", 0).Result()
	require.NoError(t, err)
	t.Logf("%d watermarks and %.1f MB, then 0 and %.1f MB, of which the journal has %.1f MB",
		keys, float64(full-empty)/1e6, float64(swept-empty)/1e6, float64(journal)/1e6)
	assert.Less(t, swept-empty, (full-empty)/2)
	for _, c := range []*nearcache.Cache[string]{here, there, fresh(t, fleet)} {
		_, err := c.Get(ctx, "ended")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
	}
	require.NoError(t, there.SetEntry(ctx, "ended", nearcache.Entry[string]{Value: "new", Tags: []string{"org:7"}}))
	for _, c := range []*nearcache.Cache[string]{here, there, fresh(t, fleet)} {
		v, err := c.Get(ctx, "ended")
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	}
}

func fresh(t *testing.T, fleet neighbours) *nearcache.Cache[string] {
	t.Helper()
	c, _ := fleet.join(t, "")
	return c
}

// TestSweep_LateRaise: the InvalidateTags of a node that was paused lands behind a later one
// that was swept. It brings nothing back: on a server, a Cluster and shards.
func TestSweep_LateRaise(t *testing.T) {
	t.Parallel()
	shards := newFarm(t, 2, 0)
	for name, b := range map[string]backend{
		"Redis":   {onRedis, overRedis},
		"Cluster": {onCluster, overCluster},
		"shards": {func(t testing.TB, name string) driver.Store {
			store, err := shards.open(t, name)
			require.NoError(t, err)
			return store
		}, overRedis},
	} {
		t.Run(name, func(t *testing.T) {
			fleet := uniqueName()
			join := func() *nearcache.Cache[string] {
				node, err := joinFleet(t, b, fleet)
				require.NoError(t, err)
				t.Cleanup(func() { _ = node.Close(ended) })
				c, err := nearcache.New(node, "users", nearcache.Options[string]{})
				require.NoError(t, err)
				return c
			}
			require.NoError(t, join().SetEntry(t.Context(), "k", nearcache.Entry[string]{Value: "old", Tags: []string{"T"}}))
			store := b.store(t, fleet)
			tier, err := shared.New(store, shared.Options{})
			require.NoError(t, err)
			found, err := tier.Records().Read(t.Context(), []string{"users:k"})
			require.NoError(t, err)
			require.NoError(t, join().InvalidateTags(t.Context(), "T"))
			require.Equal(t, 1, sweepAll(t, store))
			late := shared.Put{
				Key:    fmt.Sprint("users!tag:", found[0].Slots[0]),
				Record: driver.Record{Kind: driver.KindWatermark, Clock: found[0].TagClock},
			}
			require.NoError(t, tier.Records().Write(t.Context(), []shared.Put{late})[0].Err)
			_, err = join().Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		})
	}
}
