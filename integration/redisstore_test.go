package integration_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// newRedis returns a client of the shared server, set up as the documentation
// says.
func newRedis(t testing.TB, addr string) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: addr, PoolSize: 50, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func newRedisStore(t testing.TB, client redis.UniversalClient) *redisstore.Store {
	store, err := redisstore.New(client, redisstore.Options{Prefix: uniqueName()})
	require.NoError(t, err)
	return store
}

func value(nonce uint64, v string) []byte {
	r := driver.Record{Kind: driver.KindValue, Nonce: nonce, Value: []byte(v)}
	return r.Append(nil)
}

func tombstone(nonce uint64) []byte {
	r := driver.Record{Kind: driver.KindTombstone, Nonce: nonce}
	return r.Append(nil)
}

// commands returns how often the server has carried out each command.
func commands(t testing.TB, client *redis.Client) map[string]int {
	info, err := client.Info(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	calls := map[string]int{}
	for line := range strings.Lines(info) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		if !ok {
			continue
		}
		n, _, _ := strings.Cut(rest, ",")
		calls[name], err = strconv.Atoi(n)
		require.NoError(t, err)
	}
	return calls
}

// spent returns what f cost the server, in commands.
func spent(t testing.TB, client *redis.Client, f func()) map[string]int {
	before := commands(t, client)
	f()
	after := commands(t, client)
	for name, n := range before {
		if after[name] -= n; after[name] == 0 {
			delete(after, name)
		}
	}
	delete(after, "info")
	return after
}

func TestRedisStore_OneScriptForEachWrite(t *testing.T) {
	client := newRedis(t, servers.Redis(t).Addr)
	store := newRedisStore(t, client)
	write := func(key string) {
		r := store.Write(t.Context(), []driver.Write{{Key: key, Image: value(driver.NewNonce(), "v"), TTL: time.Minute}})
		require.NoError(t, r[0].Err)
	}
	untilKnown(t, client, func() { write("warm") })
	calls := spent(t, client, func() { write("k") })
	assert.Equal(t, 1, calls["evalsha"])
	assert.Zero(t, calls["eval"])
	calls = spent(t, client, func() {
		_, err := store.Read(t.Context(), []string{"k"})
		require.NoError(t, err)
	})
	assert.Equal(t, map[string]int{"mget": 1}, calls)
	calls = spent(t, client, func() {
		_, err := store.Read(t.Context(), []string{"k", "warm", "none"})
		require.NoError(t, err)
	})
	assert.Equal(t, map[string]int{"mget": 1}, calls)
}

func TestRedisStore_ScriptsFlushed(t *testing.T) {
	client := newRedis(t, servers.Redis(t).Addr)
	store := newRedisStore(t, client)
	for range 3 {
		require.NoError(t, client.ScriptFlush(t.Context()).Err())
		writes := []driver.Write{{Key: "a", Image: value(1, "a")}, {Key: "b", Image: value(2, "b")}}
		for _, r := range store.Write(t.Context(), writes) {
			require.NoError(t, r.Err)
		}
		require.NoError(t, client.ScriptFlush(t.Context()).Err())
		for _, r := range store.Write(t.Context(), []driver.Write{{Key: "c", Image: value(3, "c")}}) {
			require.NoError(t, r.Err)
		}
		lease := driver.Record{Kind: driver.KindLease, Nonce: 9}
		require.NoError(t, client.ScriptFlush(t.Context()).Err())
		leases := []driver.Lease{
			{Key: "d", Image: lease.Append(nil), TTL: time.Second}, {Key: "e", Image: lease.Append(nil), TTL: time.Second},
		}
		require.NoError(t, store.Acquire(t.Context(), leases[:1])[0].Err)
		require.NoError(t, client.ScriptFlush(t.Context()).Err())
		for _, g := range store.Acquire(t.Context(), leases) {
			require.NoError(t, g.Err)
		}
	}
}

func TestRedisStore_Announces(t *testing.T) {
	client := newRedis(t, sharedRedis(t).Addr)
	store := newRedisStore(t, client)
	require.Same(t, client, store.Endpoint())
	channel := uniqueName()
	sub := client.Subscribe(t.Context(), channel)
	defer sub.Close()
	_, err := sub.Receive(t.Context())
	require.NoError(t, err)

	payload := []byte("head" + strings.Repeat("\x00", 16) + "\x00\xfftail")
	r := store.Write(t.Context(), []driver.Write{{
		Key: "k", Image: value(1, "v"),
		Announce: &driver.Announcement{Channel: channel, Payload: payload, RevisionAt: 4},
	}})[0]
	require.NoError(t, r.Err)
	msg, err := sub.ReceiveMessage(t.Context())
	require.NoError(t, err)
	require.Len(t, msg.Payload, len(payload))
	got := []byte(msg.Payload)
	assert.Equal(t, "head", string(got[:4]))
	assert.Equal(t, r.Revision.Epoch, binary.BigEndian.Uint64(got[4:]))
	assert.Equal(t, r.Revision.Number, binary.BigEndian.Uint64(got[12:]))
	assert.Equal(t, "\x00\xfftail", string(got[20:]))
}

// TestRedisStore_Hostile plants what is not ours where the store keeps its own.
func TestRedisStore_Hostile(t *testing.T) {
	client := newRedis(t, sharedRedis(t).Addr)
	prefix := uniqueName()
	store, err := redisstore.New(client, redisstore.Options{Prefix: prefix})
	require.NoError(t, err)
	name := func(key string) string { return fmt.Sprintf("%s:{0}:%s", prefix, key) }
	write := func(key string) driver.Receipt {
		return store.Write(t.Context(), []driver.Write{{Key: key, Image: value(driver.NewNonce(), "v")}})[0]
	}
	lease := func(key string) driver.GrantStatus {
		r := driver.Record{Kind: driver.KindLease, Nonce: 5}
		grant := store.Acquire(t.Context(), []driver.Lease{{Key: key, Image: r.Append(nil), TTL: time.Second}})[0]
		require.NoError(t, grant.Err)
		return grant.Status
	}

	t.Run("a list", func(t *testing.T) {
		require.NoError(t, client.LPush(t.Context(), name("list"), "x").Err())
		images, err := store.Read(t.Context(), []string{"list"})
		require.NoError(t, err)
		assert.Equal(t, [][]byte{nil}, images)
		assert.Equal(t, driver.LeaseUnusable, lease("list"))
		require.NoError(t, write("list").Err)
	})
	t.Run("a revision from far ahead", func(t *testing.T) {
		image := value(1, "v")
		driver.StampRevision(image, driver.Revision{Epoch: 1, Number: 1 << 62})
		require.NoError(t, client.Set(t.Context(), name("ahead"), image, 0).Err())
		r := write("ahead")
		require.NoError(t, r.Err)
		assert.InDelta(t, time.Now().UnixMicro(), r.Revision.Number, 1e9)
	})
	t.Run("metadata that is no number", func(t *testing.T) {
		require.NoError(t, client.Set(t.Context(), prefix+":{0}", "nonsense", 0).Err())
		r := write("k")
		require.NoError(t, r.Err)
		assert.NotZero(t, r.Revision.Epoch)
	})
	t.Run("metadata that is evicted starts an epoch", func(t *testing.T) {
		first := write("k").Revision
		require.NoError(t, client.Del(t.Context(), prefix+":{0}").Err())
		second := write("k").Revision
		assert.NotEqual(t, first.Epoch, second.Epoch)
		assert.Greater(t, second.Number, first.Number, "the record still says where it was")
	})
	t.Run("metadata that is evicted while the clock is behind a record", func(t *testing.T) {
		ahead := uint64(time.Now().Add(time.Hour).UnixMicro())
		image := value(1, "v")
		driver.StampRevision(image, driver.Revision{Epoch: 1, Number: ahead})
		require.NoError(t, client.Set(t.Context(), name("behind"), image, 0).Err())
		require.NoError(t, client.Del(t.Context(), prefix+":{0}", prefix+":{0}!journal").Err())
		assert.EqualValues(t, ahead+1, write("behind").Revision.Number)
	})
	t.Run("metadata of another type is an error", func(t *testing.T) {
		require.NoError(t, client.Del(t.Context(), prefix+":{0}").Err())
		require.NoError(t, client.LPush(t.Context(), prefix+":{0}", "x").Err())
		require.ErrorContains(t, write("k").Err, "WRONGTYPE")
		require.NoError(t, client.Del(t.Context(), prefix+":{0}").Err())
	})
}

// TestRedisStore_RevisionsOfOneMicrosecond: many writes in one microsecond get
// numbers of their own, also in one pipeline.
func TestRedisStore_RevisionsOfOneMicrosecond(t *testing.T) {
	store := newRedisStore(t, newRedis(t, sharedRedis(t).Addr))
	writes := make([]driver.Write, 2000)
	for i := range writes {
		writes[i] = driver.Write{Key: "k" + strconv.Itoa(i%3), Image: value(driver.NewNonce(), "v")}
	}
	// With the scripts there: what a server without them refused is sent once more.
	for _, r := range store.Write(t.Context(), writes[:2]) {
		require.NoError(t, r.Err)
	}
	last := uint64(0)
	for _, r := range store.Write(t.Context(), writes) {
		require.NoError(t, r.Err)
		require.Greater(t, r.Revision.Number, last)
		last = r.Revision.Number
	}
}

func TestRedisStore_ServerDown(t *testing.T) {
	server := servers.Redis(t)
	store := newRedisStore(t, newRedis(t, server.Addr))
	server.Stop()
	_, err := store.Read(t.Context(), []string{"k"})
	require.ErrorContains(t, err, "redisstore: read")
	for _, n := range []int{1, 2} {
		writes := make([]driver.Write, n)
		for i := range writes {
			writes[i] = driver.Write{Key: "k", Image: tombstone(1)}
		}
		for _, r := range store.Write(t.Context(), writes) {
			require.ErrorContains(t, r.Err, "redisstore: write")
		}
	}
}

func TestRedisStore_ServerHangs(t *testing.T) {
	server := servers.Redis(t)
	store := newRedisStore(t, newRedis(t, server.Addr))
	_, err := store.Time(t.Context())
	require.NoError(t, err)
	require.NoError(t, server.Pause())
	defer func() { require.NoError(t, server.Resume()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = store.Read(ctx, []string{"k"})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	r := store.Write(ctx, []driver.Write{{Key: "k", Image: value(1, "v")}})[0]
	require.ErrorIs(t, r.Err, context.DeadlineExceeded)
}

func TestRedisStore_Cluster(t *testing.T) {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: sharedCluster(t).Addrs(), MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true})
	defer client.Close()
	store := newRedisStore(t, client)
	assert.Nil(t, store.Endpoint())
	keys := make([]string, 500)
	writes := make([]driver.Write, len(keys))
	for i := range keys {
		keys[i] = "key" + strconv.Itoa(i)
		writes[i] = driver.Write{Key: keys[i], Image: value(driver.NewNonce(), keys[i])}
	}
	for _, r := range store.Write(t.Context(), writes) {
		require.NoError(t, r.Err)
	}
	images, err := store.Read(t.Context(), append(keys, "none"))
	require.NoError(t, err)
	for i, key := range keys {
		r, err := driver.DecodeRecord(images[i])
		require.NoError(t, err)
		assert.Equal(t, key, string(r.Value))
	}
	assert.Nil(t, images[len(keys)])
}
