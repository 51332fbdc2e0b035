package integration_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// reader reads the only journal of a store.
type reader struct {
	t     *testing.T
	store *redisstore.Store
	at    driver.Position
}

// newReader returns a reader at the end of the journal.
func newReader(t *testing.T, store *redisstore.Store) *reader {
	r := &reader{t: t, store: store}
	require.True(t, r.read().Reset)
	return r
}

func tailOf(t *testing.T, store *redisstore.Store, from driver.Position, limit int) driver.Tail {
	t.Helper()
	tails := store.Tail(t.Context(), []driver.TailRead{{From: from, Limit: limit}})
	require.Len(t, tails, 1)
	return tails[0]
}

func (r *reader) read() driver.Tail {
	r.t.Helper()
	tail := tailOf(r.t, r.store, r.at, 1000)
	require.NoError(r.t, tail.Err)
	r.at = tail.Next
	return tail
}

// goesOn requires that nothing was lost, and that these keys were written.
func (r *reader) goesOn(keys ...string) {
	r.t.Helper()
	tail := r.read()
	require.False(r.t, tail.Reset)
	var told []string
	for _, e := range tail.Entries {
		told = append(told, e.Key)
	}
	require.Equal(r.t, keys, told)
}

// resets requires that continuity is lost, and tells whether the epoch ended.
func (r *reader) resets() (newEpoch bool) {
	r.t.Helper()
	epoch := r.at.Revision.Epoch
	require.True(r.t, r.read().Reset)
	return r.at.Revision.Epoch != epoch
}

func (r *reader) set(keys ...string) {
	r.t.Helper()
	for _, key := range keys {
		require.NoError(r.t, putRecord(r.t.Context(), r.store, key, value(driver.NewNonce(), "v")))
	}
}

func journalOn(t *testing.T, client redis.UniversalClient, opts redisstore.Options) *redisstore.Store {
	if opts.Prefix == "" {
		opts.Prefix = uniqueName()
	}
	store, err := redisstore.New(client, opts)
	require.NoError(t, err)
	return store
}

// TestRedisJournal_NothingLost: what looks like a change of servers and is none.
func TestRedisJournal_NothingLost(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	client := newRedis(t, server.Addr)
	r := newReader(t, journalOn(t, client, redisstore.Options{}))
	r.set("a")
	r.goesOn("a")

	replica := servers.Redis(t)
	host, port, _ := strings.Cut(server.Addr, ":")
	require.NoError(t, newRedis(t, replica.Addr).ReplicaOf(t.Context(), host, port).Err())
	awaitReplica(t, client) // the first replica gives the server another replication id
	r.set("b")
	r.goesOn("b")

	require.NoError(t, client.ConfigSet(t.Context(), "repl-backlog-ttl", "1").Err())
	require.NoError(t, newRedis(t, replica.Addr).ReplicaOf(t.Context(), "no", "one").Err())
	id := replicationID(t, client)
	require.Eventually(t, func() bool { return replicationID(t, client) != id }, 20*time.Second, 50*time.Millisecond)
	r.set("c")
	r.goesOn("c")
	r.goesOn()
}

func replicationID(t *testing.T, client *redis.Client) string {
	info, err := client.Info(t.Context(), "replication").Result()
	require.NoError(t, err)
	_, id, _ := strings.Cut(info, "master_replid:")
	return id[:40]
}

func awaitReplica(t *testing.T, client *redis.Client) {
	require.Eventually(t, func() bool {
		info, err := client.Info(t.Context(), "replication").Result()
		return err == nil && strings.Contains(info, "state=online")
	}, 20*time.Second, 10*time.Millisecond, "the replica is connected")
}

// TestRedisJournal_Failover: the replica that becomes primary begins an epoch,
// once for all readers.
func TestRedisJournal_Failover(t *testing.T) {
	t.Parallel()
	server, replica := servers.Redis(t), servers.Redis(t)
	opts := redisstore.Options{Prefix: uniqueName()}
	client, other := newRedis(t, server.Addr), newRedis(t, replica.Addr)
	first, second := newReader(t, journalOn(t, client, opts)), newReader(t, journalOn(t, client, opts))
	host, port, _ := strings.Cut(server.Addr, ":")
	require.NoError(t, other.ReplicaOf(t.Context(), host, port).Err())
	awaitReplica(t, client)
	first.set("a")
	first.goesOn("a")
	second.goesOn("a")
	require.NoError(t, client.Wait(t.Context(), 1, 10*time.Second).Err())

	on := journalOn(t, other, opts)
	err := tailOf(t, on, first.at, 10).Err
	require.ErrorContains(t, err, "READONLY", "a replica confirms nothing")
	server.Kill()
	require.NoError(t, other.ReplicaOf(t.Context(), "no", "one").Err())
	first.store, second.store = on, on
	lost := first.read()
	assert.True(t, lost.Reset, "a new primary begins an epoch")
	require.ErrorContains(t, lost.Lost, "another one took over")
	assert.True(t, second.resets())
	assert.Equal(t, first.at, second.at, "one epoch, begun once")
	first.set("b")
	first.goesOn("b")
	second.goesOn("b")
}

// TestRedisJournal_Deposed: a primary that was one before, and has become one
// again, has what another left it.
func TestRedisJournal_Deposed(t *testing.T) {
	t.Parallel()
	server, replica := servers.Redis(t), servers.Redis(t)
	client, other := newRedis(t, server.Addr), newRedis(t, replica.Addr)
	r := newReader(t, journalOn(t, client, redisstore.Options{}))
	r.set("a")
	r.goesOn("a")
	follow := func(follower *redis.Client, leader *redis.Client) {
		host, port, _ := strings.Cut(leader.Options().Addr, ":")
		require.NoError(t, follower.ReplicaOf(t.Context(), host, port).Err())
		awaitReplica(t, leader)
		require.NoError(t, leader.Wait(t.Context(), 1, 10*time.Second).Err())
	}
	follow(other, client)
	require.NoError(t, other.ReplicaOf(t.Context(), "no", "one").Err())
	follow(client, other)
	require.NoError(t, client.ReplicaOf(t.Context(), "no", "one").Err())
	assert.True(t, r.resets())
	r.set("b")
	r.goesOn("b")

	id := replicationID(t, client)
	require.NoError(t, client.ConfigSet(t.Context(), "repl-backlog-ttl", "1").Err())
	require.Eventually(t, func() bool { return replicationID(t, client) != id }, 20*time.Second, 50*time.Millisecond)
	r.set("c")
	r.goesOn("c") // its second replication id is zeros again, and nothing was lost
}

func TestRedisJournal_Restart(t *testing.T) {
	t.Run("empty", func(t *testing.T) {
		server := servers.Redis(t)
		r := newReader(t, journalOn(t, newRedis(t, server.Addr), redisstore.Options{}))
		r.set("a")
		r.goesOn("a")
		require.NoError(t, server.Restart(t.Context()))
		assert.True(t, r.resets())
		r.set("b")
		r.goesOn("b")
	})
	t.Run("from disk", func(t *testing.T) {
		server := servers.Redis(t, "--appendonly", "yes", "--appendfsync", "always")
		r := newReader(t, journalOn(t, newRedis(t, server.Addr), redisstore.Options{}))
		r.set("a")
		r.goesOn("a")
		epoch := r.at.Revision.Epoch
		require.NoError(t, server.Restart(t.Context()))
		assert.True(t, r.resets(), "it cannot know what it lost")
		assert.Greater(t, r.at.Revision.Epoch, epoch)
		r.set("b")
		r.goesOn("b")
	})
	t.Run("first written, then read", func(t *testing.T) {
		store := journalOn(t, newRedis(t, sharedRedis(t).Addr), redisstore.Options{})
		require.NoError(t, putRecord(t.Context(), store, "a", value(driver.NewNonce(), "v")))
		images, err := store.Read(t.Context(), []string{"a"})
		require.NoError(t, err)
		written, err := driver.DecodeHeader(images[0])
		require.NoError(t, err)
		r := newReader(t, store)
		assert.Equal(t, written.Revision.Epoch, r.at.Revision.Epoch, "what was written before anybody read the journal lives")
	})
	t.Run("and a write before the first tail", func(t *testing.T) {
		server := servers.Redis(t)
		r := newReader(t, journalOn(t, newRedis(t, server.Addr), redisstore.Options{}))
		require.NoError(t, server.Restart(t.Context()))
		r.set("b")
		assert.True(t, r.resets())
	})
}

// TestRedisJournal_Trimmed: a reader that was away for too long is told so, and
// the epoch goes on.
func TestRedisJournal_Trimmed(t *testing.T) {
	client := newRedis(t, sharedRedis(t).Addr)
	opts := redisstore.Options{Prefix: uniqueName(), JournalLength: 100}
	r := newReader(t, journalOn(t, client, opts))
	for i := range 500 {
		r.set(fmt.Sprint(i))
	}
	n, err := client.XLen(t.Context(), opts.Prefix+":{0}!journal").Result()
	require.NoError(t, err)
	assert.Less(t, n, int64(300), "about 100")
	epoch := r.at.Revision.Epoch
	tail := r.read()
	assert.True(t, tail.Reset)
	assert.Equal(t, epoch, r.at.Revision.Epoch, "nothing was lost but entries of the journal")
	require.NoError(t, tail.Lost, "it was trimmed")
	r.set("a")
	r.goesOn("a")
}

// TestRedisJournal_Lost: a server that evicts, or people, take away what the
// journal stands on. Readers are told, and why, and it heals by itself.
func TestRedisJournal_Lost(t *testing.T) {
	client := newRedis(t, sharedRedis(t).Addr)
	const gone = "the metadata of the journal was evicted, deleted or set back, and its server was not restarted"
	for name, c := range map[string]struct {
		do       func(meta, journal string) error
		newEpoch bool
		why      string
	}{
		"journal":  {func(_, journal string) error { return client.Del(t.Context(), journal).Err() }, false, "the journal was evicted or deleted"},
		"metadata": {func(meta, _ string) error { return client.Del(t.Context(), meta).Err() }, true, gone},
		"both":     {func(meta, journal string) error { return client.Del(t.Context(), meta, journal).Err() }, true, gone},
		"last number": {func(meta, _ string) error {
			return client.Set(t.Context(), meta, "short", 0).Err()
		}, true, gone},
		"entry": {func(_, journal string) error {
			last, err := client.XRevRangeN(t.Context(), journal, "+", "-", 1).Result()
			if err != nil {
				return err
			}
			return client.XDel(t.Context(), journal, last[0].ID).Err()
		}, true, gone}, // it looks as if the server had gone back

	} {
		for _, before := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, tailed before a write: %t", name, before), func(t *testing.T) {
				opts := redisstore.Options{Prefix: uniqueName()}
				r := newReader(t, journalOn(t, client, opts))
				r.set("a")
				r.goesOn("a")
				require.NoError(t, c.do(opts.Prefix+":{0}", opts.Prefix+":{0}!journal"))
				if !before {
					r.set("b")
				}
				from := r.at
				tail := r.read()
				require.True(t, tail.Reset)
				require.ErrorContains(t, tail.Lost, c.why)
				assert.Equal(t, c.newEpoch, from.Revision.Epoch != r.at.Revision.Epoch)
				r.set("c")
				r.goesOn("c")
			})
		}
	}
}

// TestRedisJournal_ClockSetBack: numbers in the journal rise all the same.
func TestRedisJournal_ClockSetBack(t *testing.T) {
	client := newRedis(t, sharedRedis(t).Addr)
	opts := redisstore.Options{Prefix: uniqueName()}
	r := newReader(t, journalOn(t, client, opts))
	now, err := client.Time(t.Context()).Result()
	require.NoError(t, err)
	ahead := now.Add(time.Hour).UnixMicro()
	require.NoError(t, client.SetRange(t.Context(), opts.Prefix+":{0}", 8, string(binary.BigEndian.AppendUint64(nil, uint64(ahead)))).Err())
	r.set("a", "b")
	r.goesOn("a", "b")
	assert.EqualValues(t, ahead+2, r.at.Revision.Number)
}

// TestRedisJournal_HasTheRevisions writes for a second, whose microseconds have one
// to six digits: the journal has what writers were told.
func TestRedisJournal_HasTheRevisions(t *testing.T) {
	t.Parallel()
	store := journalOn(t, newRedis(t, sharedRedis(t).Addr), redisstore.Options{})
	r := newReader(t, store)
	var told, read []uint64
	for len(told) == 0 || told[len(told)-1] < told[0]+1e6 {
		w := driver.Write{Key: "k", Image: value(driver.NewNonce(), "v")}
		receipt := store.Write(t.Context(), []driver.Write{w})[0]
		require.NoError(t, receipt.Err)
		told = append(told, receipt.Revision.Number)
	}
	for more := true; more; {
		tail := r.read()
		require.False(t, tail.Reset)
		for _, e := range tail.Entries {
			read = append(read, e.Revision.Number)
		}
		more = tail.More
	}
	require.Equal(t, told, read)
}

func TestRedisJournal_None(t *testing.T) {
	client := newRedis(t, sharedRedis(t).Addr)
	opts := redisstore.Options{Prefix: uniqueName(), JournalLength: -1}
	store := journalOn(t, client, opts)
	require.NoError(t, putRecord(t.Context(), store, "a", value(1, "v")))
	n, err := client.Exists(t.Context(), opts.Prefix+":{0}!journal").Result()
	require.NoError(t, err)
	assert.Zero(t, n)
	assert.Zero(t, store.Partitions())
	err = tailOf(t, store, driver.Position{}, 1).Err
	require.ErrorIs(t, err, driver.ErrNoJournal)
	tier, err := shared.New(store, shared.Options{})
	require.NoError(t, err)
	assert.Zero(t, tier.Partitions())
}

// TestRedisJournal_AWriteCostsOneCommandMore: the journal adds no round trip.
func TestRedisJournal_AWriteCostsOneCommandMore(t *testing.T) {
	client := newRedis(t, servers.Redis(t).Addr)
	store := journalOn(t, client, redisstore.Options{})
	untilKnown(t, client, func() { require.NoError(t, putRecord(t.Context(), store, "a", value(1, "v"))) })
	cost := spent(t, client, func() {
		require.NoError(t, putRecord(t.Context(), store, "a", value(2, "v")))
	})
	assert.Equal(t, map[string]int{
		"evalsha": 1, "time": 1, "getrange": 1, "get": 1, "setrange": 2, "xadd": 1, "set": 1,
	}, cost)
}

// TestRedisJournal_OneCommand: a round of a journal with few new entries is one command, and one of
// a busy journal two, in one request.
func TestRedisJournal_OneCommand(t *testing.T) {
	client := newRedis(t, servers.Redis(t).Addr)
	r := newReader(t, journalOn(t, client, redisstore.Options{}))
	r.goesOn(nil...)
	for _, c := range []struct {
		what    string
		written int
		want    map[string]int // the script has an XRANGE of its own
	}{
		{"nothing", 0, map[string]int{"evalsha": 1, "xrange": 1}},
		{"a few", 15, map[string]int{"evalsha": 1, "xrange": 1}},
		{"many at once", 40, map[string]int{"evalsha": 2, "xrange": 3}},
		{"many again", 40, map[string]int{"evalsha": 1, "xrange": 2}},
		{"the last of many", 3, map[string]int{"evalsha": 1, "xrange": 2}},
		{"a few again", 3, map[string]int{"evalsha": 1, "xrange": 1}},
	} {
		var keys []string
		for i := range c.written {
			keys = append(keys, fmt.Sprint(c.what, i))
		}
		r.set(keys...)
		calls := spent(t, client, func() { r.goesOn(keys...) })
		got := map[string]int{"evalsha": calls["evalsha"], "xrange": calls["xrange"]}
		assert.Equal(t, c.want, got, c.what)
	}
}

// TestRedisJournal_OneRequestToEachServer: what a node asks a Cluster for when
// nothing happens does not grow with the partitions.
func TestRedisJournal_OneRequestToEachServer(t *testing.T) {
	t.Parallel()
	client := newCluster(t)
	store := redisStoreOf(t, client, uniqueName())
	reads := make([]driver.TailRead, store.Partitions())
	read := func() {
		for i, tail := range store.Tail(t.Context(), reads) {
			require.NoError(t, tail.Err)
			reads[i] = driver.TailRead{Partition: i, From: tail.Next, Limit: 1}
		}
	}
	for i := range reads {
		reads[i] = driver.TailRead{Partition: i, Limit: 1}
	}
	read() // the servers learn the script
	var trips roundTrips
	require.NoError(t, client.ForEachMaster(t.Context(), func(_ context.Context, c *redis.Client) error {
		c.AddHook(&trips)
		return nil
	}))
	read()
	assert.EqualValues(t, clusterMasters, trips.n.Load(), "requests for %d journals", len(reads))
}

// TestRedisJournal_MemoryFull: a write that a full server has no room for is
// refused, and costs nobody the journal, which can be read meanwhile.
func TestRedisJournal_MemoryFull(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t, "--maxmemory-policy", "noeviction")
	client := newRedis(t, server.Addr)
	store := journalOn(t, client, redisstore.Options{})
	r := newReader(t, store)
	r.set("a")
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	require.ErrorContains(t, putRecord(t.Context(), store, "b", value(driver.NewNonce(), "v")), "OOM")
	r.goesOn("a")
	require.NoError(t, client.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err())
	require.ErrorContains(t, tailOf(t, store, r.at, 1).Err, "NOREPLICAS", "full or not")
	require.NoError(t, client.ConfigSet(t.Context(), "min-replicas-to-write", "0").Err())
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "0").Err())
	r.set("c")
	r.goesOn("c")
}

// TestRedis_FullServerTakesValuesAway: what makes values absent needs no room that it
// does not make, with a journal and without.
func TestRedis_FullServerTakesValuesAway(t *testing.T) {
	t.Parallel()
	for name, length := range map[string]int{"journal": 0, "no journal": -1} {
		t.Run(name, func(t *testing.T) {
			server := servers.Redis(t, "--maxmemory-policy", "noeviction")
			client := newRedis(t, server.Addr)
			store := journalOn(t, client, redisstore.Options{JournalLength: length})
			for _, key := range []string{"a", "b", "c", "kept"} {
				require.NoError(t, putRecord(t.Context(), store, key, value(driver.NewNonce(), "v")))
			}
			clock := func(number uint64) []byte {
				r := driver.Record{Kind: driver.KindWatermark, Nonce: driver.NewNonce(), Clock: number}
				return r.Append(nil)
			}
			require.NoError(t, putRecord(t.Context(), store, "clock", clock(7)))
			require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())

			require.NoError(t, putRecord(t.Context(), store, "a", tombstone(driver.NewNonce())))
			keep := driver.Write{Key: "kept", Image: tombstone(driver.NewNonce()), TTL: time.Minute, KeepStale: true}
			require.NoError(t, store.Write(t.Context(), []driver.Write{keep})[0].Err)
			require.NoError(t, putRecord(t.Context(), store, "never there", tombstone(driver.NewNonce())))
			receipts := store.Write(t.Context(), []driver.Write{
				{Key: "b", Image: tombstone(driver.NewNonce()), TTL: time.Minute},
				{Key: "c", Image: value(driver.NewNonce(), "w"), TTL: time.Minute},
				{Key: "clock", Image: clock(6)},
			})
			require.NoError(t, receipts[0].Err)
			require.ErrorContains(t, receipts[1].Err, "OOM")
			require.NoError(t, receipts[2].Err)

			for _, key := range []string{"a", "b", "kept", "never there"} {
				require.Equal(t, driver.KindTombstone, recordOf(t, store, key).Kind, key)
			}
			require.Equal(t, driver.KindValue, recordOf(t, store, "c").Kind)
			require.EqualValues(t, 7, recordOf(t, store, "clock").Clock, "the higher one stays")
		})
	}
}

// TestHazard4_WarnsOfEviction: a server that may evict the journal is named.
func TestHazard4_WarnsOfEviction(t *testing.T) {
	t.Parallel()
	for policy, dangerous := range map[string]bool{
		"allkeys-lru": true, "allkeys-random": true, "volatile-lru": false, "noeviction": false,
	} {
		server := servers.Redis(t, "--maxmemory", "100mb", "--maxmemory-policy", policy)
		tail := tailOf(t, journalOn(t, newRedis(t, server.Addr), redisstore.Options{}), driver.Position{}, 1)
		require.NoError(t, tail.Err)
		if dangerous {
			require.ErrorContains(t, tail.Warning, "maxmemory-policy is "+policy)
		} else {
			require.NoError(t, tail.Warning, policy)
		}
	}
	unbounded := servers.Redis(t, "--maxmemory-policy", "allkeys-lru")
	require.NoError(t, tailOf(t, journalOn(t, newRedis(t, unbounded.Addr), redisstore.Options{}), driver.Position{}, 1).Warning)
}

// TestRedisJournal_WentBack: a server is back where it was before, and is no other run of
// it: its machine was restored with its memory, its keys were restored from a dump, or it
// was restarted and does not say so. Whoever read what is lost begins a new epoch, also
// when others have written since.
func TestRedisJournal_WentBack(t *testing.T) {
	t.Parallel()
	for name, later := range map[string]int{"at once": 0, "after writes": 3} {
		t.Run(name, func(t *testing.T) {
			client, opts := newRedis(t, sharedRedis(t).Addr), redisstore.Options{Prefix: uniqueName()}
			store := journalOn(t, client, opts)
			r, behind := newReader(t, store), newReader(t, store)
			r.set("a", "k")
			r.goesOn("a", "k")
			behind.goesOn("a", "k")
			before := dumpOf(t, client, opts.Prefix)
			r.set("k")
			r.goesOn("k")
			for key, dump := range before {
				require.NoError(t, client.RestoreReplace(t.Context(), key, 0, dump).Err())
			}
			for range later {
				r.set("b")
			}
			lost := recordOf(t, store, "k").Revision.Epoch
			assert.True(t, r.resets(), "what was read is lost")
			assert.Greater(t, r.at.Revision.Epoch, lost, "what is there now is of an earlier epoch")
			assert.True(t, behind.resets())
			assert.Equal(t, r.at.Revision.Epoch, behind.at.Revision.Epoch, "one epoch began")
			r.set("c")
			r.goesOn("c")
		})
	}
}

// dumpOf returns all keys that begin with a prefix, as RESTORE takes them.
func dumpOf(t *testing.T, client *redis.Client, prefix string) map[string]string {
	t.Helper()
	keys, err := client.Keys(t.Context(), prefix+"*").Result()
	require.NoError(t, err)
	require.NotEmpty(t, keys)
	dumps := make(map[string]string)
	for _, key := range keys {
		dumps[key], err = client.Dump(t.Context(), key).Result()
		require.NoError(t, err)
	}
	return dumps
}
