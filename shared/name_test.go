package shared_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// TestRecords_Names: what a key of a caller is called in the store. Processes of different
// versions share these names, and those of caches.
func TestRecords_Names(t *testing.T) {
	tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
	require.NoError(t, err)
	names := map[string]string{
		"session-17": "session-17", // as before there was a difference
		"user":       "user", "a b": "a b", "\x00": "\x00", "ünï": "ünï", "k@7": "k@7",
		"user:42": ":user:42", "user!clock": ":user!clock", "!tier": ":!tier", ":": "::", "!": ":!",
		":user:42": "::user:42", "::user:42": ":::user:42",
	}
	for key, name := range names {
		require.NoError(t, tier.Set(t.Context(), key, []byte(key), 0))
		got, err := tier.Records().Get(t.Context(), name)
		require.NoError(t, err, key)
		assert.Equal(t, key, string(got))
		assert.Equal(t, tier.Partition(key), tier.Records().Partition(name))
	}
	for key := range names { // no two have one name
		got, err := tier.Get(t.Context(), key)
		require.NoError(t, err)
		assert.Equal(t, key, string(got))
	}
}

// TestRecords_EveryCall: no call of a caller with a key of its own gets at the record of a
// cache that has this name, nor the other way round.
func TestRecords_EveryCall(t *testing.T) {
	tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
	require.NoError(t, err)
	for name, pair := range map[string][2]*shared.Tier{"own": {tier, tier.Records()}, "records": {tier.Records(), tier}} {
		t.Run(name, func(t *testing.T) {
			one, other := pair[0], pair[1]
			ctx, key := t.Context(), "user:42"
			require.NoError(t, other.Set(ctx, key, []byte("theirs"), time.Hour))
			before, err := other.Read(ctx, []string{key})
			require.NoError(t, err)

			claims := []shared.Claim{{Key: key, Token: 7}}
			got := one.Acquire(ctx, claims)[0]
			require.NoError(t, got.Err)
			require.Equal(t, driver.LeaseGranted, got.Status, "there is nothing under it")
			require.NoError(t, one.Renew(ctx, claims)[0])
			require.NoError(t, one.Release(ctx, claims)[0])
			require.Equal(t, driver.LeaseGranted, one.Acquire(ctx, claims)[0].Status)
			p := shared.Put{Key: key, Record: driver.Record{Kind: driver.KindValue, Nonce: 7, Value: []byte("ours")}}
			require.NoError(t, one.Fill(ctx, []shared.Put{p})[0].Err)
			found, err := one.Read(ctx, []string{"none", key, "other:1", key})
			require.NoError(t, err)
			require.NoError(t, found[1].Err)
			assert.Equal(t, "ours", string(found[3].Value))
			require.NoError(t, one.Write(ctx, []shared.Put{p})[0].Err)
			require.NoError(t, one.Set(ctx, key, []byte("ours"), 0))
			require.NoError(t, one.Delete(ctx, key))

			after, err := other.Read(ctx, []string{key})
			require.NoError(t, err)
			assert.Equal(t, before[0].Header, after[0].Header)
			assert.Equal(t, "theirs", string(after[0].Value))
			require.NoError(t, other.Delete(ctx, key))
		})
	}
}

// TestRecords_MixedFleet: processes of before there was a difference name a record as its
// key. They and those of now have the keys in common that could be no cache's.
func TestRecords_MixedFleet(t *testing.T) {
	tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
	require.NoError(t, err)
	before, now, ctx := tier.Records(), tier, t.Context()
	for _, pair := range [][2]*shared.Tier{{before, now}, {now, before}} {
		one, other := pair[0], pair[1]
		require.NoError(t, one.Set(ctx, "session-17", []byte("v"), 0))
		_, err := other.Get(ctx, "session-17")
		require.NoError(t, err)
		require.NoError(t, other.Delete(ctx, "session-17"))
		_, err = one.Get(ctx, "session-17")
		require.ErrorIs(t, err, shared.ErrNotFound)

		require.NoError(t, one.Set(ctx, "user:42", []byte("v"), 0))
		_, err = other.Get(ctx, "user:42")
		require.ErrorIs(t, err, shared.ErrNotFound, "it is another key to the others")
		require.NoError(t, other.Delete(ctx, "user:42"))
		_, err = one.Get(ctx, "user:42")
		require.NoError(t, err)
		require.NoError(t, one.Delete(ctx, "user:42"))
	}
}

func TestRecords_LongestKey(t *testing.T) {
	tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
	require.NoError(t, err)
	longest := ":" + strings.Repeat("k", shared.MaxKeySize-1)
	require.NoError(t, tier.Records().Set(t.Context(), longest, nil, 0))
	require.NoError(t, tier.Set(t.Context(), longest[1:]+"k", nil, 0), "it is its own name")
	require.NoError(t, tier.Set(t.Context(), longest[1:], nil, 0))
	err = tier.Set(t.Context(), longest, nil, 0)
	require.ErrorIs(t, err, shared.ErrInvalidKey)
	assert.ErrorContains(t, err, "1024 bytes, more than 1023")
	keys := []string{longest[1:], "a:b"}
	_, err = tier.Read(t.Context(), keys)
	require.NoError(t, err)
	assert.Equal(t, "a:b", keys[1], "the caller's")
}

// TestRecords_OneTier: the Tier of records is the same one.
func TestRecords_OneTier(t *testing.T) {
	tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
	require.NoError(t, err)
	records := tier.Records()
	require.NoError(t, records.Close())
	require.ErrorIs(t, tier.Set(t.Context(), "k", nil, 0), shared.ErrClosed)
	require.ErrorIs(t, records.Set(t.Context(), "k", nil, 0), shared.ErrClosed)
	assert.Equal(t, tier.Stats(), records.Stats())
}
