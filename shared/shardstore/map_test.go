package shardstore_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/shardstore"
)

// keys returns some that look like those of caches.
func keys(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprint("users:", i)
	}
	return all
}

// movers returns keys that the second store has on another shard, and keys
// that it has on the same.
func movers(t *testing.T, before, after *shardstore.Store) (moved, stay []string) {
	t.Helper()
	for _, key := range keys(60) {
		if homeOf(t, before, key) != homeOf(t, after, key) {
			moved = append(moved, key)
		} else {
			stay = append(stay, key)
		}
	}
	require.NotEmpty(t, moved)
	require.NotEmpty(t, stay)
	return moved, stay
}

// TestHazard16_AShardJoinsAndLeaves: what a shard that left still has never
// comes back, and neither does what was left on the others when it joined.
func TestHazard16_AShardJoinsAndLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPark("a", "b", "c")
		one := p.open(t, 1, "a", "b", "-c")
		for _, key := range keys(60) {
			require.NoError(t, put(t.Context(), one, key, "first"))
		}
		two := p.open(t, 2, "a", "b", "c")
		moved, stay := movers(t, newPark2(t, "a", "b"), two)
		for _, key := range stay {
			has(t, two, key, "first")
		}
		for _, key := range moved {
			require.Equal(t, "c", homeOf(t, two, key), "keys move to the new shard only")
			has(t, two, key, "")
			require.NoError(t, put(t.Context(), two, key, "second"))
		}
		three := p.open(t, 3, "a", "b", "-c")
		for _, key := range moved {
			has(t, three, key, "")
		}
		for _, key := range stay {
			has(t, three, key, "first")
		}
		four := p.open(t, 4, "a", "b", "c")
		for _, key := range moved {
			has(t, four, key, "")
		}
	})
}

// newPark2 returns a store over servers of its own with these shards.
func newPark2(t *testing.T, names ...string) *shardstore.Store {
	t.Helper()
	return newPark(names...).open(t, 1, names...)
}

// TestHazard16_TwoMapsAtATime: a process with the old map answers nothing any
// more when one with the new map begins to, and both never at once.
func TestHazard16_TwoMapsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPark("a", "b", "c")
		old := p.open(t, 1, "a", "b")
		require.NoError(t, put(t.Context(), old, "k", "first"))
		var wg sync.WaitGroup
		var stopped time.Time // when the old one answered for the last time
		wg.Go(func() {
			for {
				if put(t.Context(), old, "k", "old") != nil {
					return
				}
				stopped = time.Now()
				time.Sleep(time.Millisecond)
			}
		})
		time.Sleep(300 * time.Millisecond)
		next := p.open(t, 2, "a", "b", "c")
		began := time.Now()
		wg.Wait()
		assert.True(t, stopped.Before(began), "the old map was used until %v after the new one took effect", stopped.Sub(began))
		for _, key := range keys(5) {
			require.ErrorIs(t, put(t.Context(), old, key, "old"), shardstore.ErrMap, "it does not know c")
			_, err := get(t.Context(), old, key)
			require.ErrorIs(t, err, shardstore.ErrMap)
			require.NoError(t, put(t.Context(), next, key, "new"))
			has(t, next, key, "new")
		}
		for _, tail := range old.Tail(t.Context(), []driver.TailRead{{Partition: 0, Limit: 1}}) {
			require.ErrorIs(t, tail.Err, shardstore.ErrMap, "it confirms nothing")
		}
	})
}

// TestHazard16_RollingDeploy: processes that know the new shard follow, also
// those that are started with the old number, and none fails for longer than
// the handover.
func TestHazard16_RollingDeploy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPark("a", "b", "c")
		old := []*shardstore.Store{p.open(t, 1, "a", "b", "-c"), p.open(t, 1, "a", "b", "-c")}
		next := p.epoch(t, 2, "a", "b", "c")
		began := time.Now()
		require.NoError(t, next.Open(t.Context()))
		late := p.open(t, 1, "a", "b", "-c")
		for i, key := range keys(30) {
			require.NoError(t, put(t.Context(), old[i%2], key, "value"))
			has(t, next, key, "value")
			has(t, late, key, "value")
			assert.Equal(t, homeOf(t, next, key), homeOf(t, late, key))
		}
		assert.Less(t, time.Since(began), 2500*time.Millisecond)
	})
}

// TestHazard16_LateWrite: a write that the old map's process gave up lands on a
// home that nobody reads any more.
func TestHazard16_LateWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPark("a", "b", "c")
		old := p.open(t, 1, "a", "b", "-c")
		moved, _ := movers(t, old, newPark2(t, "a", "b", "c"))
		key := moved[0]
		home, name, err := old.Locate(t.Context(), key)
		require.NoError(t, err)
		next := p.open(t, 2, "a", "b", "c")
		require.NoError(t, put(t.Context(), next, key, "new"))
		require.NoError(t, put(t.Context(), p[home], name, "late"))
		has(t, next, key, "new")
		has(t, p.open(t, 3, "a", "b", "-c"), key, "")
	})
}

// TestG5_LeaseOfAnEarlierHome: a load that began before the home changed is
// stored nowhere when the key is back.
func TestG5_LeaseOfAnEarlierHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPark("a", "b", "c")
		old := p.open(t, 1, "a", "b", "-c")
		moved, _ := movers(t, old, newPark2(t, "a", "b", "c"))
		key := moved[0]
		lease := driver.Record{Kind: driver.KindLease, Nonce: 7}
		grant := old.Acquire(t.Context(), []driver.Lease{{Key: key, Image: lease.Append(nil), TTL: time.Hour}})[0]
		require.NoError(t, grant.Err)
		require.Equal(t, driver.LeaseGranted, grant.Status)
		p.open(t, 2, "a", "b", "c")
		p.open(t, 3, "a", "b", "-c")
		loaded := driver.Record{Kind: driver.KindValue, Nonce: 7, Value: []byte("loaded long ago")}
		r := old.Fill(t.Context(), []driver.Write{{Key: key, Image: loaded.Append(nil)}})[0]
		require.ErrorIs(t, r.Err, driver.ErrLeaseLost)
		has(t, old, key, "")
	})
}

func TestMap_Refused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPark("a", "b", "c")
		p.open(t, 5, "a", "b")
		open := func(opts shardstore.Options, names ...string) error {
			return newStore(t, p.shards(names...), opts).Open(t.Context())
		}
		err := open(shardstore.Options{Epoch: 5}, "a", "b", "c")
		require.ErrorIs(t, err, shardstore.ErrMap)
		require.ErrorContains(t, err, "another one has epoch 5: raise Options.Epoch")
		err = open(shardstore.Options{}, "a", "c")
		require.ErrorContains(t, err, `that of epoch 5 has shard "b", which this process does not know`)
		err = open(shardstore.Options{Epoch: 6}, "a", "c")
		require.ErrorContains(t, err, `shard "b" had keys in epoch 5: make it Idle first, or name it in Options.Lost`)
		swapped := []shardstore.Shard{{Name: "a", Store: p["b"]}, {Name: "b", Store: p["a"]}}
		err = newStore(t, swapped, shardstore.Options{Epoch: 5}).Open(t.Context())
		require.ErrorContains(t, err, "its registry says that it is")
		require.NoError(t, open(shardstore.Options{}, "b", "a"), "the order does not matter")
		heavy := p.shards("a", "b")
		heavy[1].Weight = 2
		require.ErrorContains(t, newStore(t, heavy, shardstore.Options{Epoch: 5}).Open(t.Context()), "another one has epoch 5")
		require.NoError(t, newStore(t, heavy, shardstore.Options{Epoch: 6}).Open(t.Context()))
	})
}

// TestMap_LostShard: nobody can know what clocks it had, so every key begins
// anew. An idle one that had keys in an epoch that has expired is not missed.
func TestMap_LostShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPark("a", "b", "c")
		one := p.open(t, 1, "a", "b", "c")
		var on []string // keys on a
		for _, key := range keys(60) {
			require.NoError(t, put(t.Context(), one, key, "first"))
			if homeOf(t, one, key) == "a" {
				on = append(on, key)
			}
		}
		lost := newStore(t, p.shards("a", "b"), shardstore.Options{Epoch: 2, Lost: []string{"c"}})
		require.NoError(t, lost.Open(t.Context()))
		has(t, lost, on[0], "")
		require.NoError(t, put(t.Context(), lost, on[0], "second"))
		p.open(t, 3, "a", "-b")
		gone := newStore(t, p.shards("a"), shardstore.Options{Epoch: 4, Expired: 2})
		require.NoError(t, gone.Open(t.Context()))
		has(t, gone, on[0], "second")
		require.NoError(t, newStore(t, p.shards("a"), shardstore.Options{Epoch: 5}).Open(t.Context()))
		has(t, gone, on[0], "")
	})
}

// TestMap_ManyBeginAtOnce: a fleet that starts all at once agrees.
func TestMap_ManyBeginAtOnce(t *testing.T) {
	for _, maps := range [][]string{{"a", "b", "c"}, {"a", "b", "-c"}} {
		synctest.Test(t, func(t *testing.T) {
			p := newPark("a", "b", "c")
			if maps[2] == "-c" {
				p.open(t, 1, "a", "b", "c")
			}
			var wg sync.WaitGroup
			stores := make([]*shardstore.Store, 20)
			for i := range stores {
				stores[i] = p.epoch(t, 2, maps...)
				wg.Go(func() { assert.NoError(t, stores[i].Open(t.Context())) })
			}
			wg.Wait()
			for i, key := range keys(20) {
				require.NoError(t, put(t.Context(), stores[i], key, "value"))
				has(t, stores[(i+7)%20], key, "value")
			}
		})
	}
}

// TestMap_BeginsWhenEveryShardIsThere: it cannot be told otherwise.
func TestMap_BeginsWhenEveryShardIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPark("a", "b", "c")
		p["b"].down.Store(true)
		s := p.epoch(t, 1, "a", "b", "-c")
		err := s.Open(t.Context())
		require.ErrorIs(t, err, errDown)
		require.ErrorContains(t, err, `every shard is there: shardstore: shard "b"`)
		p["b"].down.Store(false)
		require.NoError(t, s.Open(t.Context()))
		p["a"].down.Store(true)
		require.ErrorIs(t, p.epoch(t, 2, "a", "b", "c").Open(t.Context()), errDown)
		require.NoError(t, p.epoch(t, 1, "a", "b", "-c").Open(t.Context()), "one that has begun can be joined")
	})
}

// TestMap_BeginnerDies: somebody told one shard of a new map and is no more.
// Whoever comes next completes it.
func TestMap_BeginnerDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPark("a", "b", "c")
		old := p.open(t, 1, "a", "b", "-c")
		require.NoError(t, put(t.Context(), old, "k", "first"))
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		require.ErrorIs(t, p.epoch(t, 2, "a", "b", "c").Open(ctx), context.DeadlineExceeded)
		cancel()
		for _, key := range keys(20) {
			require.NoError(t, put(t.Context(), old, key, "value"))
			assert.Equal(t, homeOf(t, old, key), homeOf(t, p.open(t, 2, "a", "b", "c"), key))
		}
	})
}

// TestMap_ADeadlineDoesNotBeginAnew: callers with little time each take the
// wait a bit further.
func TestMap_ADeadlineDoesNotBeginAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPark("a", "b").epoch(t, 1, "a", "b")
		began := time.Now()
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			_, err := get(ctx, s, "k")
			cancel()
			if err == nil {
				break
			}
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		assert.Less(t, time.Since(began), 1500*time.Millisecond)
	})
}

// TestMap_ShardsThatLoseTheirRegistry: it is restored from the others, or from
// what a process knows.
func TestMap_ShardsThatLoseTheirRegistry(t *testing.T) {
	for name, lost := range map[string][]string{"one": {"b"}, "all": {"a", "b", "c"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPark("a", "b", "c")
				p.open(t, 1, "a", "b", "-c")
				s := p.open(t, 2, "a", "b", "c")
				for _, key := range keys(30) {
					require.NoError(t, put(t.Context(), s, key, "value"))
				}
				for _, name := range lost {
					p.replace(name)
				}
				time.Sleep(2 * time.Second)
				for _, key := range keys(30) {
					want := "value"
					if len(lost) == 3 || homeOf(t, s, key) == "b" {
						want = ""
					}
					has(t, s, key, want)
				}
				other := p.open(t, 2, "a", "b", "c")
				for _, key := range keys(30) {
					require.NoError(t, put(t.Context(), s, key, "again"))
					has(t, other, key, "again")
				}
			})
		})
	}
}

// TestMap_StrangersInTheRegistry: bytes that are none of ours are replaced.
func TestMap_StrangersInTheRegistry(t *testing.T) {
	record := driver.Record{Kind: driver.KindValue, Value: []byte(`{"maps":[]}`)}
	for name, data := range map[string][]byte{"bytes": []byte("hello"), "a record": record.Append(nil)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPark("a", "b")
				p["a"].Plant("shards!map", data)
				s := p.open(t, 1, "a", "b")
				require.NoError(t, put(t.Context(), s, "k", "v"))
				p["a"].Plant("shards!map", data)
				time.Sleep(2 * time.Second)
				for _, key := range keys(20) {
					require.NoError(t, put(t.Context(), s, key, "v"))
				}
			})
		})
	}
}
