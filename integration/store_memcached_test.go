package integration_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
)

func TestMemcachedStore_KeepsForAsLongAsAsked(t *testing.T) {
	store, _, prefix := sharedMemcacheStore(t)
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		ttl  time.Duration
		left int // on the server, in seconds
	}{
		"no expiry":         {0, -1},
		"a day":             {day, 24*60*60 + 1},
		"a day and 0.1s":    {day + 100*time.Millisecond, 24*60*60 + 2},
		"30 days less 1s":   {30*day - time.Second, 30 * 24 * 60 * 60},
		"30 days":           {30 * day, 30*24*60*60 + 1},
		"31 days":           {31 * day, 31*24*60*60 + 1},
		"5 years":           {5 * 365 * day, 5*365*24*60*60 + 1},
		"longer than int32": {200 * 365 * day, -1},
	} {
		t.Run(name, func(t *testing.T) {
			key := strings.ReplaceAll(name, " ", "-")
			before := time.Now()
			r := store.Write(t.Context(), []driver.Write{{Key: key, Image: value(1, "v"), TTL: c.ttl}})[0]
			require.NoError(t, r.Err)
			left := secondsLeft(t, sharedMemcached(t).Addr, prefix+":"+key)
			if c.left < 0 {
				assert.Equal(t, -1, left)
			} else {
				// The server may have counted on meanwhile, and rounds.
				passed := int(time.Since(before)/time.Second) + 2
				assert.LessOrEqual(t, left, c.left+1)
				assert.GreaterOrEqual(t, left, c.left-passed)
			}
			if c.ttl == 0 {
				assert.Zero(t, recordOf(t, store, key).Hard)
			} else {
				assert.WithinRange(t, time.UnixMilli(recordOf(t, store, key).Hard),
					before.Add(c.ttl).Truncate(time.Millisecond), time.Now().Add(c.ttl))
			}
		})
	}
}

// TestMemcachedStore_RecordsExpireBeforeTheirItems: the server counts in
// seconds, records do not.
func TestMemcachedStore_RecordsExpireBeforeTheirItems(t *testing.T) {
	store, client, prefix := sharedMemcacheStore(t)
	plant := func(key string, image []byte) {
		driver.Stamp(image, driver.Revision{}, time.Now().Add(-time.Second), 0, time.Second-time.Millisecond)
		require.NoError(t, client.Set(&memcache.Item{Key: prefix + ":" + key, Value: image}))
		for _, keys := range [][]string{{key}, {key, "none"}} {
			images, err := store.Read(t.Context(), keys)
			require.NoError(t, err)
			require.Nil(t, images[0])
		}
	}
	plant("value", value(1, "v"))
	require.Equal(t, driver.LeaseGranted, acquireLease(t, store, "value", 2))
	plant("repeated", value(1, "v"))
	require.NoError(t, putRecord(t.Context(), store, "repeated", value(1, "v")))
	require.Equal(t, "v", string(recordOf(t, store, "repeated").Value))

	plant("lease", leaseOf("lease", 3, 0).Image)
	require.ErrorIs(t, fillLease(t, store, "lease", value(3, "old")), shared.ErrLeaseLost)
	renewal := leaseOf("lease", 3, time.Minute)
	renewal.Renew = true
	require.ErrorIs(t, store.Acquire(t.Context(), []driver.Lease{renewal})[0].Err, shared.ErrLeaseLost)
	require.Equal(t, driver.LeaseGranted, acquireLease(t, store, "lease", 4))
}

// longestKey needs the longest name that the prefix allows.
func longestKey(prefix string) string { return strings.Repeat("k", 250-len(prefix)-1) }

func sized(nonce uint64, image int) []byte {
	return value(nonce, strings.Repeat("x", image-driver.HeaderSize))
}

func TestMemcachedStore_LargestRecord(t *testing.T) {
	const mega = 1 << 20
	for name, c := range map[string]struct {
		server []string
		item   int
	}{
		"1 MiB": {nil, mega},
		"4 MiB": {[]string{"-I", "4m"}, 4 * mega},
	} {
		t.Run(name, func(t *testing.T) {
			client := newMemcache(t, servers.Memcached(t, c.server...).Addr)
			prefix := uniqueName()
			key := longestKey(prefix)
			store := newMemcacheStore(t, client, memcachestore.Options{Prefix: prefix, MaxItem: c.item})
			for nonce, size := range []int{store.MaxImage() / 2, store.MaxImage()} {
				require.NoError(t, putRecord(t.Context(), store, key, sized(uint64(nonce+1), size)))
				assert.Len(t, recordOf(t, store, key).Value, size-driver.HeaderSize)
			}
			require.ErrorIs(t, putRecord(t.Context(), store, key, sized(3, store.MaxImage()+1)), shared.ErrTooLarge)

			hopeful := newMemcacheStore(t, client, memcachestore.Options{Prefix: prefix, MaxItem: 2 * c.item})
			tooLarge := sized(4, store.MaxImage()+1)
			require.ErrorIs(t, putRecord(t.Context(), hopeful, key, tooLarge), shared.ErrTooLarge, "the server refuses to replace")
			assert.Len(t, recordOf(t, store, key).Value, store.MaxImage()-driver.HeaderSize, "what was there is left")
			other := "K" + key[1:]
			require.ErrorIs(t, putRecord(t.Context(), hopeful, other, tooLarge), shared.ErrTooLarge, "the server refuses to add")
			require.Equal(t, driver.LeaseGranted, acquireLease(t, hopeful, other, 4))
			require.ErrorIs(t, fillLease(t, hopeful, other, tooLarge), shared.ErrTooLarge)
			require.NoError(t, fillLease(t, hopeful, other, value(4, "v")))
		})
	}
}

// TestMemcachedStore_KeysOfAnyKind keeps keys apart that Memcached cannot hold,
// and those that look like their replacements.
func TestMemcachedStore_KeysOfAnyKind(t *testing.T) {
	store, client, prefix := sharedMemcacheStore(t)
	hash := func(key string) string {
		sum := sha256.Sum256([]byte(key))
		return hex.EncodeToString(sum[:])
	}
	longest := longestKey(prefix)
	keys := []string{
		"plain", "a b", "a\tb", "a\r\nb", "a\x00b", "a\x7fb", "käse", "\xff\xfe", " ", "  ", "\r\n", "\x00", "a:b", "a!b",
		hash("a b"), "!" + hash("a b"), prefix + "!" + hash("a b"), prefix + ":plain",
		longest, longest + "k", longest + "l", strings.Repeat("k", shared.MaxKeySize), strings.Repeat("\x00", shared.MaxKeySize),
		"get x\r\nflush_all\r\n",
	}
	for b := range 256 {
		keys = append(keys, "byte"+string([]byte{byte(b)}))
	}
	writes := make([]driver.Write, len(keys))
	for i, key := range keys {
		writes[i] = driver.Write{Key: key, Image: value(uint64(i+1), key), TTL: time.Minute}
	}
	for i, r := range store.Write(t.Context(), writes) {
		require.NoError(t, r.Err, "%q", keys[i])
	}
	images, err := store.Read(t.Context(), keys)
	require.NoError(t, err)
	for i, key := range keys {
		r, err := driver.DecodeRecord(images[i])
		require.NoError(t, err, "%q", key)
		require.Equal(t, key, string(r.Value))
		require.Equal(t, key, string(recordOf(t, store, key).Value))
	}
	for key, name := range map[string]string{"plain": ":plain", "a b": "!" + hash("a b"), longest: ":" + longest} {
		_, err := client.Get(prefix + name)
		require.NoError(t, err, "%q", key)
	}
}

// TestMemcachedStore_PrefixesAreApart also where the keys are hashed.
func TestMemcachedStore_PrefixesAreApart(t *testing.T) {
	one, client, _ := sharedMemcacheStore(t)
	two := newMemcacheStore(t, client, memcachestore.Options{})
	for _, key := range []string{"k", "k k"} {
		require.NoError(t, putRecord(t.Context(), one, key, value(1, "one")))
		images, err := two.Read(t.Context(), []string{key})
		require.NoError(t, err)
		assert.Nil(t, images[0])
	}
}

func TestMemcachedStore_ManyReadsAreOneRequest(t *testing.T) {
	requests := 0
	client := tapped(t, sharedMemcached(t).Addr, "gets", func(conn net.Conn, p []byte) (int, error) {
		requests++
		return conn.Write(p)
	})
	store := newMemcacheStore(t, client, memcachestore.Options{})
	keys := make([]string, 3000)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s-%d", strings.Repeat("k", 200), i/2) // each is asked for twice
	}
	require.NoError(t, putRecord(t.Context(), store, keys[2], value(1, "v")))
	requests = 0
	images, err := store.Read(t.Context(), keys)
	require.NoError(t, err)
	assert.Equal(t, 1, requests)
	require.Len(t, images, len(keys))
	assert.Nil(t, images[0])
	require.Equal(t, images[2], images[3])
	images[2][0]++
	assert.NotEqual(t, images[2], images[3], "each is the caller's own")
}

// TestMemcachedStore_Revisions: readers learn a number that is the write's own.
func TestMemcachedStore_Revisions(t *testing.T) {
	store, _, _ := sharedMemcacheStore(t)
	last := driver.Revision{}
	for nonce := range uint64(5) {
		r := store.Write(t.Context(), []driver.Write{{Key: "k", Image: value(nonce+1, "v")}})[0]
		require.NoError(t, r.Err)
		require.Zero(t, r.Revision, "the protocol does not tell")
		revision := recordOf(t, store, "k").Revision
		require.Zero(t, revision.Epoch)
		require.Greater(t, revision.Number, last.Number)
		require.Equal(t, revision, recordOf(t, store, "k").Revision)

		require.NoError(t, putRecord(t.Context(), store, "k", value(nonce+1, "repeated")))
		require.Equal(t, "v", string(recordOf(t, store, "k").Value))
		require.Equal(t, revision, recordOf(t, store, "k").Revision, "a repeated write is none")
		last = revision
	}
	images, err := store.Read(t.Context(), []string{"k", "none"})
	require.NoError(t, err)
	r, err := driver.DecodeRecord(images[0])
	require.NoError(t, err)
	assert.Equal(t, last, r.Revision, "read together with others")
}

func TestMemcachedStore_Watermarks(t *testing.T) {
	store, _, _ := sharedMemcacheStore(t)
	raise := func(nonce, floor uint64) driver.Revision {
		r := driver.Record{Kind: driver.KindWatermark, Nonce: nonce}
		receipt := store.Write(t.Context(), []driver.Write{{Key: "clock", Image: r.Append(nil), Floor: floor}})[0]
		require.NoError(t, receipt.Err)
		require.Equal(t, receipt.Revision, recordOf(t, store, "clock").Revision)
		return receipt.Revision
	}
	before := uint64(time.Now().UnixMicro())
	first := raise(1, 0)
	assert.Zero(t, first.Epoch)
	assert.GreaterOrEqual(t, first.Number, before)
	assert.Equal(t, first, raise(1, 0), "repeated")
	assert.Greater(t, raise(2, 0).Number, first.Number)
	ahead := uint64(time.Now().Add(time.Hour).UnixMicro())
	assert.Equal(t, ahead, raise(3, ahead).Number, "not below the floor")
	assert.Equal(t, ahead+1, raise(4, 0).Number, "above the previous one, although that is ahead of the clock")
	assert.Equal(t, ahead+2, raise(5, math.MaxUint64).Number, "a floor that nobody can have been given is none")

	lease := leaseOf("clock", 9, time.Minute)
	lease.MinClock = ahead * 2
	grant := store.Acquire(t.Context(), []driver.Lease{lease})[0]
	require.NoError(t, grant.Err)
	assert.Equal(t, driver.LeasePresent, grant.Status)
}

func TestMemcachedStore_Leases(t *testing.T) {
	store, client, prefix := sharedMemcacheStore(t)
	require.Equal(t, driver.LeaseGranted, acquireLease(t, store, "k", 1))
	require.Equal(t, driver.LeaseHeld, acquireLease(t, store, "k", 2))
	require.ErrorIs(t, fillLease(t, store, "k", value(2, "other")), shared.ErrLeaseLost)
	renewal := leaseOf("k", 1, time.Hour)
	renewal.Renew = true
	require.NoError(t, store.Acquire(t.Context(), []driver.Lease{renewal})[0].Err)
	require.Greater(t, secondsLeft(t, sharedMemcached(t).Addr, prefix+":k"), 120)
	require.NoError(t, fillLease(t, store, "k", value(1, "loaded")))
	require.NoError(t, fillLease(t, store, "k", value(1, "repeated")))
	require.Equal(t, "loaded", string(recordOf(t, store, "k").Value))

	// The caller read the record and could not use it.
	images, err := store.Read(t.Context(), []string{"k"})
	require.NoError(t, err)
	grant := store.Acquire(t.Context(), []driver.Lease{leaseOf("k", 3, time.Minute)})[0]
	require.NoError(t, grant.Err)
	require.Equal(t, driver.LeasePresent, grant.Status)
	require.Equal(t, images[0], grant.Image)
	again := leaseOf("k", 3, time.Minute)
	again.Discard = images[0][:driver.HeaderSize]
	grant = store.Acquire(t.Context(), []driver.Lease{again})[0]
	require.NoError(t, grant.Err)
	require.Equal(t, driver.LeaseGranted, grant.Status)
	require.Equal(t, leaseOf("k", 3, time.Minute).Image, again.Image, "the caller's image is left alone")
	require.NoError(t, putRecord(t.Context(), store, "k", value(4, "written")))
	grant = store.Acquire(t.Context(), []driver.Lease{again})[0]
	require.NoError(t, grant.Err)
	require.Equal(t, driver.LeasePresent, grant.Status, "another record is there by now")
	require.ErrorIs(t, fillLease(t, store, "k", value(3, "stale")), shared.ErrLeaseLost)
	require.NoError(t, putRecord(t.Context(), store, "k", tombstone(5)))
	require.Equal(t, driver.LeaseGranted, acquireLease(t, store, "k", 6))

	again.MinClock = 7
	grant = store.Acquire(t.Context(), []driver.Lease{again})[0]
	require.NoError(t, grant.Err)
	require.Equal(t, driver.LeaseGranted, grant.Status, "a lease of an earlier clock is none")

	newer := value(1, "v")
	newer[2] = driver.RecordVersion + 1
	for name, foreign := range map[string][]byte{"foreign": []byte("not ours"), "empty": {}, "newer": newer} {
		require.NoError(t, client.Set(&memcache.Item{Key: prefix + ":" + name, Value: foreign}))
		images, err := store.Read(t.Context(), []string{name})
		require.NoError(t, err)
		require.Equal(t, foreign, images[0], name)
		require.Equal(t, driver.LeaseUnusable, acquireLease(t, store, name, 1), name)
		discard := leaseOf(name, 1, time.Minute)
		discard.Discard = foreign
		grant := store.Acquire(t.Context(), []driver.Lease{discard})[0]
		require.NoError(t, grant.Err)
		require.Equal(t, name == "foreign", grant.Status == driver.LeaseGranted, name)
		require.NoError(t, putRecord(t.Context(), store, name, value(2, "v")), "a write replaces anything")
	}
}

// TestMemcachedStore_RefusesServersWithoutCas: there a cas always succeeds.
func TestMemcachedStore_RefusesServersWithoutCas(t *testing.T) {
	store := newMemcacheStore(t, newMemcache(t, servers.Memcached(t, "-C").Addr), memcachestore.Options{})
	require.NoError(t, putRecord(t.Context(), store, "k", value(1, "v")))
	require.ErrorContains(t, putRecord(t.Context(), store, "k", value(2, "v")), "start it without -C")
	for _, keys := range [][]string{{"k"}, {"k", "l"}} {
		_, err := store.Read(t.Context(), keys)
		require.ErrorContains(t, err, "start it without -C")
	}
}

// TestMemcachedStore_SeveralServers spreads keys over two of them.
func TestMemcachedStore_SeveralServers(t *testing.T) {
	one, two := servers.Memcached(t), servers.Memcached(t)
	client := memcache.New(one.Addr, two.Addr)
	client.Timeout, client.MaxIdleConns = 10*time.Second, memcachedPool
	defer client.Close()
	store := newMemcacheStore(t, client, memcachestore.Options{})
	keys := make([]string, 64)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
		require.NoError(t, putRecord(t.Context(), store, keys[i], value(1, keys[i])))
	}
	images, err := store.Read(t.Context(), keys)
	require.NoError(t, err)
	for i, key := range keys {
		r, err := driver.DecodeRecord(images[i])
		require.NoError(t, err)
		assert.Equal(t, key, string(r.Value))
	}
	assert.Positive(t, memcachedStat(t, one.Addr, "curr_items"))
	assert.Positive(t, memcachedStat(t, two.Addr, "curr_items"))
	two.Stop()
	_, err = store.Read(t.Context(), keys)
	require.Error(t, err, "keys do not move to the server that is left")
}

// TestMemcachedStore_UnderATier is what callers see.
func TestMemcachedStore_UnderATier(t *testing.T) {
	store, _, _ := sharedMemcacheStore(t)
	tier, err := shared.New(store, shared.Options{})
	require.NoError(t, err)
	ctx := t.Context()
	large := bytes.Repeat([]byte("x"), tier.MaxValue())
	require.NoError(t, tier.Set(ctx, "large", large, 40*24*time.Hour))
	got, err := tier.Get(ctx, "large")
	require.NoError(t, err)
	assert.Len(t, got, len(large))
	require.ErrorIs(t, tier.Set(ctx, "large", append(large, 'x'), 0), shared.ErrTooLarge)
	require.NoError(t, tier.Delete(ctx, "large", "a b"))
	_, err = tier.Get(ctx, "large")
	require.ErrorIs(t, err, shared.ErrNotFound)

	claim := []shared.Claim{{Key: "k", Token: 7}}
	claimed := tier.Acquire(ctx, claim)[0]
	require.NoError(t, claimed.Err)
	require.Equal(t, driver.LeaseGranted, claimed.Status)
	require.NoError(t, tier.Renew(ctx, claim)[0])
	require.NoError(t, tier.Release(ctx, claim)[0])
	require.ErrorIs(t, tier.Renew(ctx, claim)[0], shared.ErrLeaseLost)
}
