package integration_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// TestOwnKeys: values that a program keeps in a Tier itself, and the caches over the same
// Tier, leave each other alone, whatever the keys are.
func TestOwnKeys(t *testing.T) {
	t.Parallel()
	memory := memstore.New(memstore.Options{})
	for name, store := range map[string]func(testing.TB, string) driver.Store{
		"memory":    func(testing.TB, string) driver.Store { return memory },
		"redis":     onRedis,
		"memcached": inMemcached,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prefix := uniqueName()
			tier, err := shared.New(store(t, prefix), shared.Options{})
			require.NoError(t, err)
			t.Run("a cache keeps its records", func(t *testing.T) { testCacheKeepsItsRecords(t, tier) })
			t.Run("own values stay", func(t *testing.T) { testOwnValuesStay(t, tier) })
			t.Run("long keys", func(t *testing.T) { testLongOwnKeys(t, tier) })
		})
	}
}

// usersOf returns a cache users of a node of its own.
func usersOf(t *testing.T, tier *shared.Tier) *nearcache.Cache[string] {
	t.Helper()
	node, err := nearcache.NewNode(tier, nil, nearcache.NodeOptions{JournalInterval: 50 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { _ = node.Close(ended) })
	users, err := nearcache.New(node, "users", nearcache.Options[string]{
		TTL: time.Hour, RefreshAhead: time.Minute,
		Tags: func(string, string) []string { return []string{"all"} },
	})
	require.NoError(t, err)
	return users
}

// recordsOf returns the names of all records that the cache users may have.
func recordsOf() []string {
	names := []string{"users:42", "users!clock", "users!tags", "users!refresh:42", "!tier", "!tier1"}
	for slot := range 1 << 16 {
		names = append(names, fmt.Sprint("users!tag:", slot))
	}
	return names
}

// present returns the headers of these records, by name, those left out that are not there.
func present(t *testing.T, tier *shared.Tier, names []string) map[string]string {
	t.Helper()
	headers := map[string]string{}
	for at := 0; at < len(names); at += 1000 {
		part := names[at:min(at+1000, len(names))]
		found, err := tier.Records().Read(t.Context(), part)
		require.NoError(t, err)
		for i := range found {
			if len(found[i].Header) > 0 {
				headers[part[i]] = string(found[i].Header)
			}
		}
	}
	return headers
}

// harm does all that a caller can do to a key.
func harm(t *testing.T, tier *shared.Tier, key string) {
	t.Helper()
	ctx, claims := t.Context(), []shared.Claim{{Key: key, Token: driver.NewNonce()}}
	got := tier.Acquire(ctx, claims)[0]
	require.NoError(t, got.Err)
	require.Equal(t, driver.LeaseGranted, got.Status, key)
	put := shared.Put{Key: key, Record: driver.Record{Kind: driver.KindValue, Nonce: claims[0].Token}, TTL: time.Hour}
	require.NoError(t, tier.Fill(ctx, []shared.Put{put})[0].Err)
	require.NoError(t, tier.Set(ctx, key, []byte("own"), 0))
	require.NoError(t, tier.Delete(ctx, key))
}

func testCacheKeepsItsRecords(t *testing.T, tier *shared.Tier) {
	users := usersOf(t, tier)
	require.NoError(t, users.Clear(t.Context()))
	require.NoError(t, users.InvalidateTags(t.Context(), "another"))
	require.NoError(t, users.Set(t.Context(), "42", "Ada"))
	_, err := tier.Identity(t.Context())
	require.NoError(t, err)
	before := present(t, tier, recordsOf())
	require.GreaterOrEqual(t, len(before), 6, "value, clock, tag clock, watermarks, identity")
	for name := range before {
		harm(t, tier, name)
	}
	harm(t, tier, "users!refresh:42")
	assert.Equal(t, before, present(t, tier, recordsOf()))

	fresh := usersOf(t, tier)
	v, err := fresh.Get(t.Context(), "42")
	require.NoError(t, err)
	assert.Equal(t, "Ada", v)
}

func testOwnValuesStay(t *testing.T, tier *shared.Tier) {
	users := usersOf(t, tier)
	keys := []string{"users:42", "users!clock", "users!tags", "users!refresh:42", "!tier", "users", ":users:42", "session-17"}
	for _, key := range keys {
		require.NoError(t, tier.Set(t.Context(), key, []byte(key), 0))
	}
	ctx := t.Context()
	require.NoError(t, users.Set(ctx, "42", "Ada"))
	require.NoError(t, users.Invalidate(ctx, "42"))
	_, err := users.Fetch(ctx, "42", func(context.Context, string) (string, error) { return "Ada", nil })
	require.NoError(t, err)
	require.NoError(t, users.Delete(ctx, "42"))
	require.NoError(t, users.InvalidateTags(ctx, "all"))
	require.NoError(t, users.Clear(ctx))
	for _, key := range keys {
		got, err := tier.Get(ctx, key)
		require.NoError(t, err, key)
		assert.Equal(t, key, string(got))
	}
}

// testLongOwnKeys: Memcached takes names of 250 bytes, and longer ones hashed.
func testLongOwnKeys(t *testing.T, tier *shared.Tier) {
	users := usersOf(t, tier)
	for n := 200; n <= 260; n++ {
		key := strings.Repeat("k", n)
		require.NoError(t, users.Set(t.Context(), key, "of the cache"))
		require.NoError(t, tier.Set(t.Context(), "users:"+key, []byte("own"), 0))
	}
	fresh := usersOf(t, tier)
	for n := 200; n <= 260; n++ {
		key := strings.Repeat("k", n)
		v, err := fresh.Get(t.Context(), key)
		require.NoError(t, err)
		assert.Equal(t, "of the cache", v)
		own, err := tier.Get(t.Context(), "users:"+key)
		require.NoError(t, err)
		assert.Equal(t, "own", string(own))
	}
}
