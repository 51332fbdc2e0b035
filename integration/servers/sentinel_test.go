package servers_test

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
)

func TestRedisSentinel_PromotesAReplica(t *testing.T) {
	t.Parallel()
	s := servers.RedisSentinel(t, 2)
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: servers.SentinelName, SentinelAddrs: []string{s.Watcher.Addr}})
	defer client.Close()
	require.NoError(t, client.Set(t.Context(), "key", "v", 0).Err())
	require.NoError(t, client.Do(t.Context(), "WAIT", 2, 5000).Err())
	before, err := s.Primary(t.Context())
	require.NoError(t, err)
	var left []*servers.Process
	after, err := s.Failover(t.Context(), func(replicas []*servers.Process) error {
		left = replicas
		return nil
	})
	require.NoError(t, err)
	assert.NotContains(t, left, before)
	assert.Contains(t, left, after)
	v, err := client.Get(t.Context(), "key").Result()
	require.NoError(t, err)
	assert.Equal(t, "v", v)
}
