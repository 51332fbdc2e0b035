package servers_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

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

func TestRedisCluster_MovesASlotWithItsKeys(t *testing.T) {
	t.Parallel()
	cluster := servers.RedisCluster(t, 3)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()})
	defer client.Close()
	for i := range 25 {
		require.NoError(t, client.Set(t.Context(), fmt.Sprintf("{tag}%d", i), i, 0).Err())
	}
	slot, err := client.ClusterKeySlot(t.Context(), "{tag}").Result()
	require.NoError(t, err)
	before, err := client.MasterForKey(t.Context(), "{tag}")
	require.NoError(t, err)
	moved, err := cluster.MoveSlot(t.Context(), int(slot))
	require.NoError(t, err)
	assert.Equal(t, 25, moved)
	for i := range 25 {
		got, err := client.Get(t.Context(), fmt.Sprintf("{tag}%d", i)).Int()
		require.NoError(t, err)
		assert.Equal(t, i, got)
	}
	count, err := before.ClusterCountKeysInSlot(t.Context(), int(slot)).Result()
	require.NoError(t, err)
	assert.Zero(t, count)
}

func TestRedisCluster_ClocksDiffer(t *testing.T) {
	t.Parallel()
	cluster, err := servers.StartRedisClusterAt(t.Context(), []time.Duration{-time.Hour, time.Hour})
	require.NoError(t, err)
	t.Cleanup(cluster.Stop)
	var clocks []time.Time
	for _, node := range cluster.Nodes {
		client := redis.NewClient(&redis.Options{Addr: node.Addr})
		defer client.Close()
		now, err := client.Time(t.Context()).Result()
		require.NoError(t, err)
		clocks = append(clocks, now)
	}
	assert.InDelta(t, 2*time.Hour, clocks[1].Sub(clocks[0]), float64(time.Hour))
}

func TestRedisCluster_FailsOver(t *testing.T) {
	t.Parallel()
	cluster := servers.RedisCluster(t, 3)
	require.NoError(t, cluster.Replicate(t.Context()))
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()})
	defer client.Close()
	old := cluster.Nodes[1].Addr
	require.NoError(t, cluster.Failover(t.Context(), 1, nil))
	assert.NotEqual(t, old, cluster.Nodes[1].Addr)
	assert.Equal(t, old, cluster.Replicas[1].Addr)
	writeKeys(t, client)
}

func TestRedisCluster_AMasterJoinsAndLeaves(t *testing.T) {
	t.Parallel()
	cluster := servers.RedisCluster(t, 2)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()})
	defer client.Close()
	require.NoError(t, client.Set(t.Context(), "{tag}", "v", 0).Err())
	slot, err := client.ClusterKeySlot(t.Context(), "{tag}").Result()
	require.NoError(t, err)
	require.NoError(t, cluster.AddMaster(t.Context(), []int{int(slot)}))
	added := redis.NewClient(&redis.Options{Addr: cluster.Nodes[2].Addr})
	defer added.Close()
	require.Equal(t, "v", added.Get(t.Context(), "{tag}").Val())
	require.NoError(t, cluster.RemoveMaster(t.Context(), 2))
	require.Len(t, cluster.Nodes, 2)
	stranger := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()}) // that never knew the server which left
	defer stranger.Close()
	v, err := stranger.Get(t.Context(), "{tag}").Result()
	require.NoError(t, err)
	require.Equal(t, "v", v)
}
