package shared_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// TestTier_KeepsPastItsTTL: a value is live for TTL, then reads as absent and
// is still there for Keep, then it is gone.
func TestTier_KeepsPastItsTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := newTier(t, memstore.New(memstore.Options{}), shared.Options{})
		put := shared.Put{
			Key: "key", TTL: time.Minute, Keep: time.Hour,
			Record: driver.Record{Kind: driver.KindValue, Value: []byte("value")},
		}
		require.NoError(t, tier.Write(t.Context(), []shared.Put{put})[0].Err)
		read := func() shared.Found {
			found, err := tier.Read(t.Context(), []string{"key"})
			require.NoError(t, err)
			return found[0]
		}
		time.Sleep(20 * time.Second)
		f := read()
		require.NoError(t, f.Err)
		assert.False(t, f.Kept)
		assert.InDelta(t, 40*time.Second, f.Left, float64(time.Second), "until it is stale, not until it is gone")

		time.Sleep(41 * time.Second)
		f = read()
		require.ErrorIs(t, f.Err, shared.ErrNotFound)
		assert.True(t, f.Kept)
		assert.Equal(t, "value", string(f.Value))
		_, err := tier.Get(t.Context(), "key")
		require.ErrorIs(t, err, shared.ErrNotFound)

		put.Record = driver.Record{Kind: driver.KindTombstone}
		put.KeepStale = true
		require.NoError(t, tier.Write(t.Context(), []shared.Put{put})[0].Err)
		f = read()
		require.ErrorIs(t, f.Err, shared.ErrNotFound)
		assert.True(t, f.Kept, "an invalidation may keep it")
		assert.Equal(t, driver.KindStale, f.Kind)

		time.Sleep(time.Hour)
		f = read()
		require.ErrorIs(t, f.Err, shared.ErrNotFound)
		assert.False(t, f.Kept)
	})
}

// TestFill_Expects: what was read before the load is replaced, and nothing else.
func TestFill_Expects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := newTier(t, memstore.New(memstore.Options{}), shared.Options{})
		require.NoError(t, tier.Set(t.Context(), "key", []byte("1"), 0))
		found, err := tier.Read(t.Context(), []string{"key"})
		require.NoError(t, err)
		refresh := func(v string) error {
			return fill(t, tier, shared.Put{
				Key: "key", TTL: time.Minute, Expect: found[0].Nonce,
				Record: driver.Record{Kind: driver.KindValue, Value: []byte(v)},
			}).Err
		}
		require.NoError(t, refresh("2"))
		require.ErrorIs(t, refresh("3"), shared.ErrLeaseLost)
		got, err := tier.Get(t.Context(), "key")
		require.NoError(t, err)
		assert.Equal(t, "2", string(got))
	})
}

func TestTier_NotFoundIsNoValue(t *testing.T) {
	tier := newTier(t, memstore.New(memstore.Options{}), shared.Options{})
	put := shared.Put{Key: "key", TTL: time.Minute, Record: driver.Record{Kind: driver.KindNotFound}}
	require.NoError(t, tier.Write(t.Context(), []shared.Put{put})[0].Err)
	found, err := tier.Read(t.Context(), []string{"key"})
	require.NoError(t, err)
	require.NoError(t, found[0].Err)
	assert.Equal(t, driver.KindNotFound, found[0].Kind)
	_, err = tier.Get(t.Context(), "key")
	require.ErrorIs(t, err, shared.ErrNotFound)
}
