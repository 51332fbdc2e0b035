package servers_test

import (
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
)

func TestRedisCluster_ServesEverySlotAlsoAfterARestart(t *testing.T) {
	t.Parallel()
	cluster := servers.RedisCluster(t, 3)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()})
	defer client.Close()
	writeKeys(t, client)

	cluster.Nodes[1].Kill()
	require.NoError(t, cluster.Nodes[1].Restart(t.Context()))
	require.NoError(t, cluster.WaitReady(t.Context()))

	writeKeys(t, client)
}

// writeKeys writes enough keys to reach every node.
func writeKeys(t *testing.T, client redis.UniversalClient) {
	for i := range 100 {
		require.NoError(t, client.Set(t.Context(), "key:"+strconv.Itoa(i), i, 0).Err())
	}
}

func TestRedisCluster_NeedsAMaster(t *testing.T) {
	t.Parallel()
	_, err := servers.StartRedisCluster(t.Context(), 0)
	assert.ErrorContains(t, err, "0 masters")
}
