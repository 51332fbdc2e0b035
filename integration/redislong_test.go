package integration_test

import (
	"context"
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

// longValue is one that goes around the script of writes.
var longValue = strings.Repeat("0123456789abcdef", 4<<10)

// longStore is a store on a server of its own, and what else uses the server.
type longStore struct {
	*redisstore.Store

	t             *testing.T
	client, admin *redis.Client
}

func newLongStore(t *testing.T) *longStore {
	server := servers.Redis(t)
	client := newRedis(t, server.Addr)
	store, err := redisstore.New(client, redisstore.Options{Prefix: "long"})
	require.NoError(t, err)
	s := &longStore{store, t, client, newRedis(t, server.Addr)}
	untilKnown(t, s.admin, func() { require.NoError(t, s.put(longWrite("warm")).Err) })
	require.NoError(t, s.admin.Del(t.Context(), "long:{0}:warm").Err())
	return s
}

func longWrite(key string) driver.Write {
	return driver.Write{Key: key, Image: value(driver.NewNonce(), longValue), TTL: time.Minute}
}

func (s *longStore) put(w driver.Write) driver.Receipt {
	return s.Write(s.t.Context(), []driver.Write{w})[0]
}

// stored requires that what w wrote is under its key, as r says, and ends.
func (s *longStore) stored(w driver.Write, r driver.Receipt) {
	s.t.Helper()
	require.NoError(s.t, r.Err)
	images, err := s.Read(s.t.Context(), []string{w.Key})
	require.NoError(s.t, err)
	got, err := driver.DecodeRecord(images[0])
	require.NoError(s.t, err)
	assert.Equal(s.t, longValue, string(got.Value))
	assert.Equal(s.t, r.Revision, got.Revision)
	left, err := s.admin.PTTL(s.t.Context(), "long:{0}:"+w.Key).Result()
	require.NoError(s.t, err)
	assert.Greater(s.t, left, time.Duration(0))
	assert.LessOrEqual(s.t, left, time.Minute)
}

// keys requires that the server has the records of these keys and nothing else.
func (s *longStore) keys(records ...string) {
	s.t.Helper()
	want := []string{"long:{0}", "long:{0}!journal"}
	for _, key := range records {
		want = append(want, "long:{0}:"+key)
	}
	have, err := s.admin.Keys(s.t.Context(), "*").Result()
	require.NoError(s.t, err)
	assert.ElementsMatch(s.t, want, have)
}

// TestRedisStore_LongImages: they go around the script, and are otherwise as others are.
func TestRedisStore_LongImages(t *testing.T) {
	t.Parallel()
	s := newLongStore(t)
	w := longWrite("k")
	var r driver.Receipt
	calls := spent(t, s.admin, func() { r = s.put(w) })
	s.stored(w, r)
	assert.Equal(t, []int{1, 1, 1}, []int{calls["set"], calls["rename"], calls["evalsha"]})
	again := s.put(w)
	assert.Equal(t, r.Revision, again.Revision, "it was stored already")
	s.keys("k")

	pair := []driver.Write{longWrite("a"), longWrite("k")}
	for i, r := range s.Write(t.Context(), pair) {
		s.stored(pair[i], r)
	}
	lease := driver.Record{Kind: driver.KindLease, Nonce: driver.NewNonce()}
	grant := s.Acquire(t.Context(), []driver.Lease{{Key: "f", Image: lease.Append(nil), TTL: time.Minute}})[0]
	require.Equal(t, driver.LeaseGranted, grant.Status)
	fill := driver.Write{Key: "f", Image: value(lease.Nonce, longValue), TTL: time.Minute}
	s.stored(fill, s.Fill(t.Context(), []driver.Write{fill})[0])
	require.NoError(t, s.admin.ScriptFlush(t.Context()).Err())
	s.stored(w, s.put(longWrite("k")))
	s.keys("a", "f", "k")
}

// TestRedisStore_LongImagesRefused: what is not stored leaves nothing behind.
func TestRedisStore_LongImagesRefused(t *testing.T) {
	t.Parallel()
	s := newLongStore(t)
	late := longWrite("k")
	late.NotAfter = time.UnixMicro(1)
	require.ErrorIs(t, s.put(late).Err, driver.ErrTooLate)
	s.keys()
	require.ErrorIs(t, s.Fill(t.Context(), []driver.Write{longWrite("k")})[0].Err, driver.ErrLeaseLost)
	s.keys()
	w := longWrite("k")
	require.NoError(t, s.admin.RPush(t.Context(), "long:{0}:k", "a list").Err())
	s.stored(w, s.put(w))
	s.keys("k")
}

// strayed sends the values of plain SETs elsewhere.
type strayed struct{ roundTrips }

func (*strayed) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			if cmd.Name() == "set" {
				cmd.Args()[1] = "stray"
			}
		}
		return next(ctx, cmds)
	}
}

// TestRedisStore_LongImageGone: one that is not there when the script looks for it is sent
// through the script. What nobody comes for ends by itself.
func TestRedisStore_LongImageGone(t *testing.T) {
	t.Parallel()
	s := newLongStore(t)
	s.client.AddHook(&strayed{})
	w := longWrite("k")
	calls := spent(t, s.admin, func() { s.stored(w, s.put(w)) })
	assert.Equal(t, []int{2, 0, 2}, []int{calls["set"], calls["rename"], calls["evalsha"]})
	left, err := s.admin.PTTL(t.Context(), "stray").Result()
	require.NoError(t, err)
	assert.Greater(t, left, time.Duration(0))
}

// TestRights_RedisLongImages: without the right to rename, they go through the script.
func TestRights_RedisLongImages(t *testing.T) {
	t.Parallel()
	s := newLongStore(t)
	allow(t, s.admin, "app", "long", "", together(storeRights, journalRights))
	store, err := redisstore.New(as(t, s.client.Options().Addr, "app", secret, nil), redisstore.Options{Prefix: "long"})
	require.NoError(t, err)
	s.Store = store
	for _, key := range []string{"a", "b"} {
		w := longWrite(key)
		s.stored(w, s.put(w))
	}
	w := longWrite("c")
	calls := spent(t, s.admin, func() { s.stored(w, s.put(w)) })
	assert.Equal(t, 1, calls["set"], "it is not tried again")
	s.keys("a", "b", "c")
}
