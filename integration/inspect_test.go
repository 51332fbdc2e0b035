package integration_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
)

// TestInspect_OnServers: one server writes, another one asks. The record is that of the write,
// and the newest entry of the journal as well, if the store has a journal.
func TestInspect_OnServers(t *testing.T) {
	t.Parallel()
	onRedis, cluster, farm := servers.Redis(t), servers.RedisCluster(t, 3), newFarm(t, 3, 0)
	onMemcached := servers.Memcached(t)
	for name, c := range map[string]struct {
		store   func(t *testing.T, name string) driver.Store
		journal bool
	}{
		"Redis": {func(t *testing.T, name string) driver.Store { return redisStoreOf(t, newRedis(t, onRedis.Addr), name) }, true},
		"Cluster": {func(t *testing.T, name string) driver.Store {
			client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs(), ContextTimeoutEnabled: true, MaxRetries: -1})
			t.Cleanup(func() { _ = client.Close() })
			return redisStoreOf(t, client, name)
		}, true},
		"shards": {func(t *testing.T, name string) driver.Store { return farm.store(t, name) }, true},
		"Memcached": {func(t *testing.T, name string) driver.Store {
			store, err := memcachestore.New(newMemcache(t, onMemcached.Addr), memcachestore.Options{Prefix: name})
			require.NoError(t, err)
			return store
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub, name := membus.NewHub(), uniqueName()
			open := func() *nearcache.Cache[string] {
				node, err := nearcache.Open(t.Context(), c.store(t, name), hub.Join(), nearcache.OpenOptions{WaitReady: 30 * time.Second})
				require.NoError(t, err)
				t.Cleanup(func() { _ = node.Close(context.Background()) })
				users, err := nearcache.New(node, "users", nearcache.Options[string]{})
				require.NoError(t, err)
				return users
			}
			here, there := open(), open()
			for _, key := range []string{"41", "42", "43"} {
				require.NoError(t, there.SetEntry(t.Context(), key, nearcache.Entry[string]{Value: "Ada", Tags: []string{"team:7"}}))
			}
			ask := func() nearcache.Inspection {
				i, err := here.Inspect(t.Context(), "42", nearcache.InspectOptions{Tags: []string{"team:7"}})
				require.NoError(t, err)
				return i
			}
			i := ask()
			assert.Equal(t, nearcache.OutcomeSharedHit, i.Outcome, i)
			assert.Equal(t, "team:7", i.Shared.Tags[0].Name)
			assert.Equal(t, c.journal, i.Shared.Journal.Found, i)
			if c.journal {
				assert.Equal(t, i.Shared.Revision, i.Shared.Journal.Revision)
				assert.InDelta(t, 0, time.Since(i.Shared.Written).Seconds(), 60)
			} else {
				assert.Contains(t, i.Shared.Journal.Error, "no journal")
			}
			tier, err := shared.New(c.store(t, name), shared.Options{})
			require.NoError(t, err)
			s, err := nearcache.InspectShared(t.Context(), tier, "users", "42", nearcache.InspectOptions{})
			require.NoError(t, err)
			assert.Equal(t, i.Shared.Revision, s.Revision)
			assert.Equal(t, i.Shared.Journal.Revision, s.Journal.Revision)

			require.NoError(t, there.InvalidateTags(t.Context(), "team:7"))
			assert.Equal(t, nearcache.OutcomeMiss, ask().Outcome)
			_, err = here.Get(t.Context(), "42")
			require.ErrorIs(t, err, nearcache.ErrTagInvalidated)
			require.NoError(t, there.Delete(t.Context(), "42"))
			_, err = here.Get(t.Context(), "42")
			require.ErrorIs(t, err, nearcache.ErrDeleted)
		})
	}
}

// TestInspect_ServerGone: a server that is away is part of the answer.
func TestInspect_ServerGone(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	node, err := nearcache.Open(t.Context(), redisStoreOf(t, newRedis(t, server.Addr), uniqueName()), membus.NewHub().Join(),
		nearcache.OpenOptions{WaitReady: 30 * time.Second})
	require.NoError(t, err)
	defer node.Close(t.Context())
	users, err := nearcache.New(node, "users", nearcache.Options[string]{})
	require.NoError(t, err)
	server.Kill()
	i, err := users.Inspect(t.Context(), "42", nearcache.InspectOptions{})
	require.NoError(t, err)
	assert.Equal(t, nearcache.OutcomeRefused, i.Outcome)
	assert.Contains(t, i.Why, "cannot be read")
}
