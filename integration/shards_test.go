package integration_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearcachetest"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
	"github.com/nearbus/nearbus/shared/shardstore"
	"github.com/nearbus/nearbus/shared/storetest"
)

// handover keeps tests from waiting a second for each new store.
const handover = 100 * time.Millisecond

// farm is some servers of their own.
type farm struct {
	redis     []*servers.Process
	memcached []*servers.Process
}

func newFarm(t *testing.T, redis, memcached int) *farm {
	f := &farm{}
	for range redis {
		f.redis = append(f.redis, servers.Redis(t))
	}
	for range memcached {
		f.memcached = append(f.memcached, servers.Memcached(t))
	}
	return f
}

// sharded is a store over a farm, and how to plant in each shard.
type sharded struct {
	*shardstore.Store
	plants map[string]func(ctx context.Context, name string, data []byte) error
}

func (s sharded) planted(ctx context.Context, key string, data []byte) error {
	shard, name, err := s.Locate(ctx, key)
	if err != nil {
		return err
	}
	return s.plants[shard](ctx, name, data)
}

// shards returns the shards of a farm, with this prefix on each.
func (f *farm) shards(t testing.TB, prefix string) ([]shardstore.Shard, sharded) {
	var shards []shardstore.Shard
	s := sharded{plants: map[string]func(context.Context, string, []byte) error{}}
	for i, server := range f.redis {
		client := newRedis(t, server.Addr)
		store := redisStoreOf(t, client, prefix)
		name := fmt.Sprint("redis-", i)
		shards = append(shards, shardstore.Shard{Name: name, Store: store})
		s.plants[name] = func(ctx context.Context, key string, data []byte) error {
			if err := putRecord(ctx, store, key, value(driver.NewNonce(), "v")); err != nil {
				return err
			}
			return replaceInRedis(ctx, client, prefix, key, data)
		}
	}
	for i, server := range f.memcached {
		client := newMemcache(t, server.Addr)
		name := fmt.Sprint("memcached-", i)
		shards = append(shards, shardstore.Shard{
			Name: name, Store: newMemcacheStore(t, client, memcachestore.Options{Prefix: prefix}),
		})
		s.plants[name] = func(_ context.Context, key string, data []byte) error {
			return client.Set(&memcache.Item{Key: prefix + ":" + key, Value: data})
		}
	}
	return shards, s
}

// open returns a store over all shards of the farm.
func (f *farm) open(t testing.TB, prefix string) (sharded, error) {
	shards, s := f.shards(t, prefix)
	var err error
	if s.Store, err = shardstore.New(shards, shardstore.Options{Handover: handover}); err != nil {
		return s, err
	}
	return s, s.Open(context.Background())
}

func TestStore_Shards(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ redis, memcached int }{
		"three Redis": {3, 0}, "three Memcached": {0, 3}, "two Redis and a Memcached": {2, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFarm(t, c.redis, c.memcached)
			storetest.Run(t, storetest.Harness{
				New:         func() (driver.Store, error) { return f.open(t, uniqueName()) },
				Plant:       plant,
				NoRevisions: c.memcached > 0,
				NoJournal:   c.memcached > 0,
			}, false)
		})
	}
}

// TestCoherence_Shards runs the guarantees over shards.
func TestCoherence_Shards(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ redis, memcached int }{
		"three Redis": {3, 0}, "three Memcached": {0, 3}, "two Redis and a Memcached": {2, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFarm(t, c.redis, c.memcached)
			nearcachetest.Run(t, fleetOf(t, backend{f.store, overNATS}))
		})
	}
}

func (f *farm) store(t testing.TB, name string) driver.Store {
	s, err := f.open(t, name)
	require.NoError(t, err)
	return s.Store
}

// TestShards_KilledAndBack: a shard is killed under load. Its keys come from the
// source, those of the others from the shared tier; no node ever answers with
// less than it wrote or answered, and when the shard is back, empty or with what
// it had, all agree.
func TestShards_KilledAndBack(t *testing.T) {
	for name, args := range map[string][]string{
		"empty": nil, "with what it had": {"--appendonly", "yes", "--appendfsync", "always"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFarm(t, 2, 0)
			victim := servers.Redis(t, args...)
			f.redis = append(f.redis, victim)
			prefix := uniqueName()
			b := backend{f.store, overNATS}
			first, second := versionsOn(t, b, prefix), versionsOn(t, b, prefix)
			source := &sourceOfKeys{}
			for key := range source.versions {
				require.NoError(t, first.write(t, source, key))
			}
			victim.Kill()
			failed, stored := 0, 0
			for range 3 {
				for key := range source.versions {
					if err := first.write(t, source, key); err != nil {
						require.ErrorIs(t, err, nearcache.ErrOutcomeUnknown)
						failed++
					} else {
						stored++
					}
					first.read(t, source, key, source.versions[key].Load())
					second.read(t, source, key, 0)
				}
			}
			assert.Positive(t, failed)
			assert.Positive(t, stored, "two of three shards are there")
			require.NoError(t, victim.Restart(t.Context()))
			require.Eventually(t, func() bool { return first.node.Health().PendingInvalidations == 0 }, 20*time.Second, 10*time.Millisecond)
			for _, v := range []*versions{first, second} {
				require.Eventually(t, func() bool {
					for key := range source.versions {
						if v.ask(t, source, key) != source.versions[key].Load() {
							return false
						}
					}
					return true
				}, 20*time.Second, 10*time.Millisecond)
			}
			for key := range source.versions {
				require.NoError(t, first.write(t, source, key))
			}
		})
	}
}

// sourceOfKeys has a version for each of 30 keys.
type sourceOfKeys struct{ versions [30]atomic.Int64 }

// versions is a node that reads and writes them.
type versions struct {
	node  *nearcache.Node
	cache *nearcache.Cache[int64]
	least [30]int64 // what it wrote or answered
}

func versionsOn(t *testing.T, b backend, prefix string) *versions {
	node, err := joinFleet(t, b, prefix)
	require.NoError(t, err)
	t.Cleanup(func() { _ = node.Close(ended) })
	cache, err := nearcache.New[int64](node, "versions", nearcache.Options[int64]{})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return !node.Stats().Bus.Cut }, 20*time.Second, 5*time.Millisecond)
	return &versions{node: node, cache: cache}
}

func (v *versions) write(t *testing.T, s *sourceOfKeys, key int) error {
	v.least[key] = s.versions[key].Add(1)
	return v.cache.Set(t.Context(), fmt.Sprint(key), v.least[key])
}

func (v *versions) ask(t *testing.T, s *sourceOfKeys, key int) int64 {
	got, err := v.cache.Fetch(t.Context(), fmt.Sprint(key), func(context.Context, string) (int64, error) {
		return s.versions[key].Load(), nil
	})
	require.NoError(t, err)
	return got
}

// read requires an answer that is not below what it was, and not below least.
func (v *versions) read(t *testing.T, s *sourceOfKeys, key int, least int64) {
	got := v.ask(t, s, key)
	require.GreaterOrEqual(t, got, max(least, v.least[key]), "key %d", key)
	v.least[key] = got
}

// TestShards_JoinsAndLeaves: the map changes under running nodes, on real
// servers, and changes back.
func TestShards_JoinsAndLeaves(t *testing.T) {
	t.Parallel()
	f := newFarm(t, 3, 0)
	prefix := uniqueName()
	open := func(epoch uint64, idle bool) func(t testing.TB, name string) driver.Store {
		return func(t testing.TB, name string) driver.Store {
			shards, _ := f.shards(t, name)
			shards[2].Idle = idle
			store, err := shardstore.New(shards, shardstore.Options{Epoch: epoch, Handover: handover})
			require.NoError(t, err)
			require.NoError(t, store.Open(t.Context()))
			return store
		}
	}
	source := &sourceOfKeys{}
	nodes := []*versions{versionsOn(t, backend{open(1, true), overNATS}, prefix)}
	for epoch := uint64(1); epoch <= 4; epoch++ {
		nodes = append(nodes, versionsOn(t, backend{open(epoch, epoch%2 == 1), overNATS}, prefix))
		for round := range 3 {
			for key := range source.versions {
				writer := nodes[(key+round)%len(nodes)]
				require.NoError(t, eventuallyDone(t, func() error { return writer.write(t, source, key) }))
				writer.read(t, source, key, source.versions[key].Load())
				for _, node := range nodes {
					node.read(t, source, key, 0)
				}
			}
		}
		for key := range source.versions {
			for _, node := range nodes {
				require.Eventually(t, func() bool { return node.ask(t, source, key) == source.versions[key].Load() },
					20*time.Second, 5*time.Millisecond)
			}
		}
	}
}

// eventuallyDone repeats a write whose outcome is unknown, as it is while a map
// is handed over.
func eventuallyDone(t *testing.T, write func() error) error {
	for end := time.Now().Add(20 * time.Second); ; {
		err := write()
		if err == nil || !errors.Is(err, nearcache.ErrOutcomeUnknown) || time.Now().After(end) || t.Context().Err() != nil {
			return err
		}
	}
}

// TestShards_ClocksApart: on servers whose clocks are ten minutes apart, writes
// are not late, and what is stored lives as long as it should.
func TestShards_ClocksApart(t *testing.T) {
	t.Parallel()
	var shards []shardstore.Shard
	prefix := uniqueName()
	for i, ahead := range []time.Duration{-10 * time.Minute, 0, 10 * time.Minute} {
		server, err := servers.StartRedisAt(t.Context(), ahead)
		require.NoError(t, err)
		t.Cleanup(server.Stop)
		shards = append(shards, shardstore.Shard{Name: fmt.Sprint(i), Store: redisStoreOf(t, newRedis(t, server.Addr), prefix)})
	}
	store, err := shardstore.New(shards, shardstore.Options{Handover: handover})
	require.NoError(t, err)
	require.NoError(t, store.Open(t.Context()))
	tier, err := shared.New(store, shared.Options{})
	require.NoError(t, err)
	for i := range 60 {
		key := fmt.Sprint("key-", i)
		require.NoError(t, tier.Set(t.Context(), key, []byte("v"), time.Minute))
		found, err := tier.Read(t.Context(), []string{key})
		require.NoError(t, err)
		require.NoError(t, found[0].Err)
		assert.InDelta(t, time.Minute, found[0].Left, float64(5*time.Second))
	}
	assert.Zero(t, tier.Stats().TooLate)
	late := driver.Write{Key: "late", Image: value(1, "v"), NotAfter: time.Now().Add(-2 * time.Second)}
	require.ErrorIs(t, store.Write(t.Context(), []driver.Write{late})[0].Err, shared.ErrTooLate)
}
