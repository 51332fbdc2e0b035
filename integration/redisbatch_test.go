package integration_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// outcomes says in a line each what became of writes: what they were told, and what is there,
// without what differs from run to run.
func outcomes(t *testing.T, store *redisstore.Store, keys []string, receipts []driver.Receipt) (lines []string) {
	t.Helper()
	images, err := store.Read(t.Context(), keys)
	require.NoError(t, err)
	for i, key := range keys {
		r, err := driver.DecodeRecord(images[i])
		told := "stored"
		switch {
		case errors.Is(receipts[i].Err, driver.ErrTooLate):
			told = "late"
		case errors.Is(receipts[i].Err, driver.ErrLeaseLost):
			told = "lease lost"
		case receipts[i].Err != nil:
			told = receipts[i].Err.Error()
		}
		lines = append(lines, fmt.Sprint(key, ": ", told, "; ", r.Kind, " ", r.Nonce, " ", string(r.Value), " ", r.Hard > 0, " ", err))
	}
	return lines
}

// TestRedisBatch_LikeAlone: writes and fills that share a call do what each does alone, for
// all kinds of them, and leases as well. The others do not notice what becomes of one.
func TestRedisBatch_LikeAlone(t *testing.T) {
	t.Parallel()
	client := newRedis(t, servers.Redis(t).Addr)
	long := strings.Repeat("x", 8<<10)
	var results [2][]string
	for way := range results {
		opts := redisstore.Options{Prefix: uniqueName()}
		store := journalOn(t, client, opts)
		r := newReader(t, store)
		r.set("replaced", "kept", "known", "expected", "other", "told")
		r.goesOn("replaced", "kept", "known", "expected", "other", "told")
		for i, key := range []string{"known", "expected", "other", "told"} {
			require.NoError(t, putRecord(t.Context(), store, key, value(uint64(1000+i), "v")))
		}
		require.NoError(t, putRecord(t.Context(), store, "long", value(1, long)))
		require.NoError(t, client.LPush(t.Context(), opts.Prefix+":{0}:list", "x").Err())
		r.read()

		leases := []driver.Lease{
			leaseOf("filled", 20, time.Minute), leaseOf("a", 21, time.Minute), leaseOf("a", 22, time.Minute), leaseOf("kept", 23, time.Minute), leaseOf("long", 24, time.Minute),
			leaseOf("list", 25, time.Minute), leaseOf("late", 26, time.Minute), leaseOf("filled", 20, time.Minute),
		}
		leases[6].NotAfter = time.Now().Add(-time.Hour)
		lost := leaseOf("b", 27, time.Minute)
		lost.Renew = true
		over := leaseOf("kept", 28, time.Minute)
		over.MinClock = 1
		leases = append(leases, lost, over)
		var grants []driver.Grant
		inTurnOrAtOnce(t, client, way, func(n int) {
			for i := 0; i < len(leases); i += n {
				grants = append(grants, store.Acquire(t.Context(), leases[i:min(i+n, len(leases))])...)
			}
		}, len(leases))
		var lines []string
		for _, g := range grants {
			lines = append(lines, fmt.Sprint(g.Status, len(g.Image), g.Revision.Number > 0, g.Err))
		}

		var told []string
		for _, fill := range []bool{false, true} {
			writes := []driver.Write{
				{Key: "new", Image: value(10, "new"), TTL: time.Minute},
				{Key: "replaced", Image: tombstone(11), TTL: time.Minute},
				{Key: "known", Image: value(1000, "v"), TTL: time.Minute},
				{Key: "late", Image: value(12, "v"), NotAfter: time.Now().Add(-time.Hour)},
				{Key: "list", Image: value(13, "v")},
				{Key: "twice", Image: value(14, "1"), TTL: time.Minute},
				{Key: "twice", Image: value(15, "2"), TTL: 2 * time.Minute},
				{Key: "large", Image: value(16, long), TTL: time.Minute},
				{Key: "kept", Image: tombstone(17), TTL: time.Minute, KeepStale: true},
				{Key: "absent", Image: tombstone(18), TTL: time.Minute, KeepStale: true},
				{Key: "clock", Image: (&driver.Record{Kind: driver.KindWatermark, Nonce: 19, Clock: 7}).Append(nil)},
			}
			if fill {
				writes = []driver.Write{
					{Key: "filled", Image: value(20, "v"), TTL: time.Minute},
					{Key: "a", Image: value(22, "lost"), TTL: time.Minute},
					{Key: "a", Image: value(21, "v"), TTL: time.Minute},
					{Key: "expected", Image: value(30, "v"), Expect: 1001, TTL: time.Minute},
					{Key: "other", Image: value(31, "v"), Expect: 99, TTL: time.Minute},
					{Key: "told", Image: value(32, "v"), Expect: 1003, Journal: true, TTL: time.Minute},
				}
			}
			do, keys := store.Write, []string{}
			if fill {
				do = store.Fill
			}
			for _, w := range writes {
				keys = append(keys, w.Key)
			}
			var receipts []driver.Receipt
			inTurnOrAtOnce(t, client, way, func(n int) {
				for i := 0; i < len(writes); i += n {
					receipts = append(receipts, do(t.Context(), writes[i:min(i+n, len(writes))])...)
				}
			}, len(writes))
			lines = append(lines, outcomes(t, store, keys, receipts)...)
			tail := r.read()
			require.False(t, tail.Reset)
			for _, e := range tail.Entries {
				told = append(told, e.Key)
			}
		}
		slices.Sort(told) // a long image goes by itself
		results[way] = append(lines, told...)
	}
	assert.Equal(t, results[0], results[1])
}

// inTurnOrAtOnce has something done one by one, or all at once, which takes fewer calls of scripts.
func inTurnOrAtOnce(t *testing.T, client *redis.Client, way int, do func(n int), all int) {
	t.Helper()
	n := 1
	if way == 1 {
		n = all
	}
	calls := spent(t, client, func() { do(n) })
	if way == 1 {
		assert.Less(t, calls["evalsha"]+calls["eval"], all)
	}
}

// batchOf returns so many writes of values.
func batchOf(n int) (writes []driver.Write, keys []string) {
	for i := range n {
		keys = append(keys, "k"+strconv.Itoa(i))
		writes = append(writes, driver.Write{Key: keys[i], Image: value(driver.NewNonce(), "v"), TTL: time.Minute})
	}
	return writes, keys
}

// TestRedisBatch_Numbers: each write of a call has a revision of its own, which is its place in
// the journal, and what comes after the call has a higher one.
func TestRedisBatch_Numbers(t *testing.T) {
	t.Parallel()
	store := newRedisStore(t, newRedis(t, sharedRedis(t).Addr))
	r := newReader(t, store)
	last := uint64(0)
	for range 3 {
		writes, keys := batchOf(150)
		for i, receipt := range store.Write(t.Context(), writes) {
			require.NoError(t, receipt.Err)
			require.Greater(t, receipt.Revision.Number, last)
			require.Equal(t, receipt.Revision, recordOf(t, store, keys[i]).Revision)
			last = receipt.Revision.Number
		}
		_, heads, err := store.ReadProven(t.Context(), keys[:1])
		require.NoError(t, err)
		require.GreaterOrEqual(t, heads[0].Number, last, "the server is known to have it")
		r.goesOn(keys...)
	}
}

// TestRedisBatch_OneFails: what the server refuses of one write, in the middle of a call, is
// the answer to that one.
func TestRedisBatch_OneFails(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	opts := redisstore.Options{Prefix: uniqueName()}
	r := newReader(t, journalOn(t, newRedis(t, server.Addr), opts))
	r.set("first")
	r.goesOn("first")
	poor := journalOn(t, asOnAnother(t, server, `
		local key = ...
		if name == 'SET' and string.find(key, ':broken', 1, true) then return {err = 'ERR broken'} end`), opts)
	writes := []driver.Write{
		{Key: "a", Image: value(1, "v")}, {Key: "broken", Image: value(2, "v")}, {Key: "b", Image: value(3, "v")},
	}
	leases := []driver.Lease{leaseOf("l", 1, time.Minute), leaseOf("broken", 2, time.Minute), leaseOf("m", 3, time.Minute)}
	for range 2 {
		for i, receipt := range poor.Write(t.Context(), writes) {
			if i == 1 {
				assert.ErrorContains(t, receipt.Err, "broken")
				continue
			}
			assert.NoError(t, receipt.Err)
		}
		for i, grant := range poor.Acquire(t.Context(), leases) {
			if i == 1 {
				assert.ErrorContains(t, grant.Err, "broken")
				continue
			}
			assert.NoError(t, grant.Err)
			assert.Equal(t, driver.LeaseGranted, grant.Status)
		}
	}
	r.goesOn("a", "broken", "b", "broken")
}

// TestRedisBatch_NoneStored: where all writes of a call fail after the journal has them, the
// journal stays.
func TestRedisBatch_NoneStored(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	opts := redisstore.Options{Prefix: uniqueName()}
	r := newReader(t, journalOn(t, newRedis(t, server.Addr), opts))
	r.set("first")
	r.goesOn("first")
	poor := journalOn(t, asOnAnother(t, server, `if name == 'SETRANGE' then return {err = 'ERR broken'} end`), opts)
	writes, keys := batchOf(3)
	for _, receipt := range poor.Write(t.Context(), writes) {
		assert.ErrorContains(t, receipt.Err, "broken")
	}
	r.goesOn(keys...)
	images, err := r.store.Read(t.Context(), keys)
	require.NoError(t, err)
	assert.Equal(t, make([][]byte, 3), images, "metadata comes before the values")
}

// TestRedisBatch_FullServer: a full server refuses values beside what makes values absent.
func TestRedisBatch_FullServer(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t, "--maxmemory-policy", "noeviction")
	client := newRedis(t, server.Addr)
	r := newReader(t, newRedisStore(t, client))
	r.set("a", "b")
	r.goesOn("a", "b")
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	receipts := r.store.Write(t.Context(), []driver.Write{
		{Key: "a", Image: tombstone(1), TTL: time.Minute},
		{Key: "v", Image: value(2, "v")},
		{Key: "b", Image: tombstone(3), TTL: time.Minute},
		{Key: "w", Image: value(4, "v")},
	})
	for i, receipt := range receipts {
		if i%2 == 1 {
			assert.ErrorIs(t, receipt.Err, driver.ErrFull)
			continue
		}
		assert.NoError(t, receipt.Err)
	}
	images, err := r.store.Read(t.Context(), []string{"v", "w"})
	require.NoError(t, err)
	assert.Equal(t, make([][]byte, 2), images)
	assert.Equal(t, driver.KindTombstone, recordOf(t, r.store, "a").Kind)
	assert.Equal(t, driver.KindTombstone, recordOf(t, r.store, "b").Kind)
	for _, grant := range r.store.Acquire(t.Context(), []driver.Lease{leaseOf("x", 1, time.Minute), leaseOf("y", 2, time.Minute)}) {
		assert.ErrorIs(t, grant.Err, driver.ErrFull)
	}
	r.goesOn("a", "b")
}

// TestRedisBatch_NewRun: the first write of a call on a server that was started since begins a
// new epoch, once, and what began before is fenced.
func TestRedisBatch_NewRun(t *testing.T) {
	t.Parallel()
	client := newRedis(t, servers.Redis(t).Addr)
	opts := redisstore.Options{Prefix: uniqueName()}
	store := journalOn(t, client, opts)
	grants := store.Acquire(t.Context(), []driver.Lease{leaseOf("x", 1, time.Minute), leaseOf("y", 2, time.Minute)})
	before := store.Write(t.Context(), []driver.Write{{Key: "a", Image: value(3, "v")}})[0]
	grants = append(grants, store.Acquire(t.Context(), []driver.Lease{leaseOf("z", 4, time.Minute)})...)
	require.NoError(t, client.SetRange(t.Context(), opts.Prefix+":{0}", 16, strings.Repeat("f", 40)).Err())
	require.NoError(t, client.ScriptFlush(t.Context()).Err())

	writes, _ := batchOf(3)
	epoch := uint64(0)
	for i, receipt := range journalOn(t, client, opts).Write(t.Context(), writes) {
		require.NoError(t, receipt.Err)
		if i == 0 {
			epoch = receipt.Revision.Epoch
		}
		assert.Equal(t, epoch, receipt.Revision.Epoch)
	}
	assert.Greater(t, epoch, before.Revision.Epoch)
	fills := []driver.Write{{Key: "x", Image: value(1, "v")}, {Key: "z", Image: value(4, "v"), Born: grants[2].Revision}}
	receipts := store.Fill(t.Context(), fills)
	assert.NoError(t, receipts[0].Err, "nothing is known of its lease")
	assert.ErrorIs(t, receipts[1].Err, driver.ErrLeaseLost)
}

// TestRedisBatch_Cluster: keys of several partitions take a call for each of them, and a slot on
// its way to another server keeps only those waiting whose record is not there.
func TestRedisBatch_Cluster(t *testing.T) {
	t.Parallel()
	cluster := servers.RedisCluster(t, clusterMasters)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs(), MaxRedirects: 1, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = client.Close() })
	store := newRedisStore(t, client)
	writes, keys := batchOf(200)
	for _, receipt := range store.Write(t.Context(), writes) {
		require.NoError(t, receipt.Err)
	}
	images, err := store.Read(t.Context(), keys)
	require.NoError(t, err)
	for i := range images {
		_, err := driver.DecodeRecord(images[i])
		require.NoError(t, err)
	}

	var there, absent []string // of one partition
	for i := 0; len(absent) < 2 || len(there) < 2; i++ {
		if key := "k" + strconv.Itoa(i); store.Partition(key) == 0 {
			if i < len(keys) {
				there = append(there, key)
			} else {
				absent = append(absent, key)
			}
		}
	}
	moveAway(t, client)
	writes = nil
	for _, key := range []string{there[0], absent[0], there[1], absent[1]} {
		writes = append(writes, driver.Write{Key: key, Image: value(driver.NewNonce(), "new"), TTL: time.Minute})
	}
	for i, receipt := range store.Write(t.Context(), writes) {
		if i%2 == 1 {
			assert.ErrorIs(t, receipt.Err, driver.ErrUnavailable)
			continue
		}
		assert.NoError(t, receipt.Err)
	}
}

// moveAway begins to move partition 0 to another server of a Cluster: its keys are not moved.
func moveAway(t *testing.T, client *redis.ClusterClient) {
	t.Helper()
	tag := "{0}"
	slot, err := client.ClusterKeySlot(t.Context(), tag).Result()
	require.NoError(t, err)
	from, err := client.MasterForKey(t.Context(), tag)
	require.NoError(t, err)
	source, err := from.Do(t.Context(), "CLUSTER", "MYID").Text()
	require.NoError(t, err)
	var mu sync.Mutex
	var to *redis.Client
	require.NoError(t, client.ForEachMaster(t.Context(), func(_ context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		if c.Options().Addr != from.Options().Addr {
			to = c
		}
		return nil
	}))
	target, err := to.Do(t.Context(), "CLUSTER", "MYID").Text()
	require.NoError(t, err)
	require.NoError(t, to.Do(t.Context(), "CLUSTER", "SETSLOT", slot, "IMPORTING", source).Err())
	require.NoError(t, from.Do(t.Context(), "CLUSTER", "SETSLOT", slot, "MIGRATING", target).Err())
}
