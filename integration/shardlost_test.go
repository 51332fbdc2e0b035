package integration_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/shardstore"
)

// TestShards_Lost: the server of a shard dies, and a rolling deployment takes the shard
// away. What processes of the old map owe to it they deliver under the new one before they
// end, so nobody serves an old value afterwards.
func TestShards_Lost(t *testing.T) {
	for name, c := range map[string]struct{ redis, memcached int }{"three Redis": {3, 0}, "three Memcached": {0, 3}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, prefix := newFarm(t, c.redis, c.memcached), uniqueName()
			open := func(epoch uint64) func(t testing.TB, name string) driver.Store {
				return func(t testing.TB, name string) driver.Store {
					shards, _ := f.shards(t, name)
					opts := shardstore.Options{Epoch: epoch, Handover: handover}
					if epoch > 1 {
						opts.Lost = []string{shards[2].Name}
						shards = shards[:2]
					}
					store, err := shardstore.New(shards, opts)
					require.NoError(t, err)
					require.NoError(t, store.Open(t.Context()))
					return store
				}
			}
			source := &sourceOfKeys{}
			old := versionsOn(t, backend{open(1), overNATS}, prefix)
			for key := range source.versions {
				require.NoError(t, old.write(t, source, key))
			}
			for _, server := range append(f.redis, f.memcached...)[2:] {
				server.Kill()
			}
			now := versionsOn(t, backend{open(2), overNATS}, prefix)
			for key := range source.versions {
				now.read(t, source, key, source.versions[key].Load())
			}
			requireDelivered(t, old, source)
			for _, v := range []*versions{now, versionsOn(t, backend{open(2), overNATS}, prefix)} {
				for key := range source.versions {
					require.Eventually(t, func() bool { return v.ask(t, source, key) == source.versions[key].Load() },
						20*time.Second, 5*time.Millisecond, "key %d", key)
				}
			}
		})
	}
}

// requireDelivered writes all keys, and ends the node as a deployment does.
func requireDelivered(t *testing.T, v *versions, source *sourceOfKeys) {
	t.Helper()
	for key := range source.versions {
		if err := v.write(t, source, key); err != nil {
			require.ErrorIs(t, err, nearcache.ErrOutcomeUnknown)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	require.NoError(t, v.node.Drain(ctx))
	_ = v.node.Close(ended)
}
