package integration_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// TestTier_LongestLifetimes: real servers take the longest lifetimes that a tier does,
// added up.
func TestTier_LongestLifetimes(t *testing.T) {
	redis, err := redisstore.New(newRedis(t, sharedRedis(t).Addr), redisstore.Options{Prefix: uniqueName()})
	require.NoError(t, err)
	memcached, _, _ := sharedMemcacheStore(t)
	for name, store := range map[string]driver.Store{"redis": redis, "memcached": memcached} {
		tier, err := shared.New(store, shared.Options{TombstoneTTL: shared.MaxDuration, LeaseTTL: shared.MaxDuration})
		require.NoError(t, err)
		put := shared.Put{Key: "k", TTL: shared.MaxDuration, Keep: shared.MaxDuration, Record: driver.Record{Kind: driver.KindValue}}
		require.NoError(t, tier.Write(t.Context(), []shared.Put{put})[0].Err, name)
		found, err := tier.Read(t.Context(), []string{"k"})
		require.NoError(t, err)
		require.NoError(t, found[0].Err, name)
		assert.Positive(t, found[0].Left, name)
		assert.Equal(t, driver.LeaseGranted, acquire(t, tier, "leased"), name)
		require.NoError(t, tier.Delete(t.Context(), "k"), name)
	}
}

func acquire(t *testing.T, tier *shared.Tier, key string) driver.GrantStatus {
	t.Helper()
	got := tier.Acquire(t.Context(), []shared.Claim{{Key: key, Token: 1}})[0]
	require.NoError(t, got.Err)
	return got.Status
}
