package integration_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared/driver"
)

// whileUsed runs during while each node reads all keys and writes its own. No
// node may answer with less than it wrote or answered, except when during lets
// servers lose writes; in the end, all agree with the source.
func whileUsed(t *testing.T, nodes []*versions, source *sourceOfKeys, loses bool, during func() error) {
	stop := make(chan struct{}) // closed when during is through
	var wg sync.WaitGroup
	for n, v := range nodes {
		wg.Go(func() {
			for {
				for key := range source.versions {
					select {
					case <-stop:
						return
					default:
					}
					if err := v.use(t.Context(), source, key, key%len(nodes) == n, loses); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	err := during()
	close(stop)
	wg.Wait()
	require.NoError(t, err)
	for _, v := range nodes {
		require.Eventually(t, func() bool {
			for key := range source.versions {
				if v.ask(t, source, key) != source.versions[key].Load() {
					return false
				}
			}
			return true
		}, 30*time.Second, 20*time.Millisecond, "a node does not agree with the source")
	}
}

// use writes a key, if asked to, and reads it.
func (v *versions) use(ctx context.Context, s *sourceOfKeys, key int, write, loses bool) error {
	if write {
		v.least[key] = s.versions[key].Add(1)
		err := v.cache.Set(ctx, fmt.Sprint(key), v.least[key])
		if err != nil && !errors.Is(err, nearcache.ErrOutcomeUnknown) {
			return err
		}
	}
	got, err := v.cache.Fetch(ctx, fmt.Sprint(key), func(context.Context, string) (int64, error) {
		return s.versions[key].Load(), nil
	})
	if err == nil && got < v.least[key] && !loses {
		err = fmt.Errorf("key %d: version %d after %d", key, got, v.least[key])
	}
	v.least[key] = got
	return err
}

// onClusterOf makes stores on a cluster of the test's own.
func onClusterOf(cluster *servers.Cluster) func(t testing.TB, name string) driver.Store {
	return func(t testing.TB, name string) driver.Store {
		client := redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: cluster.Addrs(), PoolSize: 50, MaxRedirects: 3, ContextTimeoutEnabled: true,
		})
		t.Cleanup(func() { _ = client.Close() })
		return redisStoreOf(t, client, name)
	}
}

// TestCluster_MasterJoinsAndLeaves: half of all partitions move to a new master
// and back, with their journals and epochs, under nodes that go on.
func TestCluster_MasterJoinsAndLeaves(t *testing.T) {
	t.Parallel()
	cluster := servers.RedisCluster(t, 3)
	b, prefix := backend{onClusterOf(cluster), overNATS}, uniqueName()
	nodes := []*versions{versionsOn(t, b, prefix), versionsOn(t, b, prefix)}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()})
	defer client.Close()
	var slots []int
	for p := range 8 { // of 16
		slot, err := client.ClusterKeySlot(t.Context(), fmt.Sprintf("{%d}", p)).Result()
		require.NoError(t, err)
		slots = append(slots, int(slot))
	}
	source := &sourceOfKeys{}
	whileUsed(t, nodes, source, false, func() error { return cluster.AddMaster(t.Context(), slots) })
	require.Len(t, cluster.Nodes, 4)
	nodes = append(nodes, versionsOn(t, b, prefix)) // its client knows the new master from the beginning
	whileUsed(t, nodes, source, false, func() error { return cluster.RemoveMaster(t.Context(), 3) })
	require.Len(t, cluster.Nodes, 3)
}

// TestCluster_FailsOver: a master is killed and its replica takes over.
func TestCluster_FailsOver(t *testing.T) {
	t.Parallel()
	cluster := servers.RedisCluster(t, 3)
	require.NoError(t, cluster.Replicate(t.Context()))
	b, prefix := backend{onClusterOf(cluster), overNATS}, uniqueName()
	nodes := []*versions{versionsOn(t, b, prefix), versionsOn(t, b, prefix)}
	whileUsed(t, nodes, &sourceOfKeys{}, true, func() error { return cluster.Failover(t.Context(), 1, nil) })
}

// TestCluster_MasterStaysDead: nobody answers MOVED, by which go-redis learns of another
// master. The bus is elsewhere, and asks for nothing either.
func TestCluster_MasterStaysDead(t *testing.T) {
	t.Parallel()
	cluster := servers.RedisCluster(t, 3)
	require.NoError(t, cluster.Replicate(t.Context()))
	v := versionsOn(t, backend{onClusterOf(cluster), overNATS}, uniqueName())
	source := &sourceOfKeys{}
	stored := func() error {
		for key := range source.versions {
			if err := v.write(t, source, key); err != nil {
				return err
			}
		}
		return nil
	}
	require.NoError(t, stored())
	require.NoError(t, cluster.Lose(t.Context(), 1))
	promoted := time.Now()
	require.Eventually(t, func() bool {
		h := v.node.Health()
		return h.Trusted && h.Journal == nil && stored() == nil
	}, 20*time.Second, 10*time.Millisecond, "go-redis by itself looks after 60 s")
	t.Log("all is well after", time.Since(promoted))
}

// TestSentinel_FailsOver: the primary is killed and Sentinel promotes a replica.
func TestSentinel_FailsOver(t *testing.T) {
	t.Parallel()
	sentinel := servers.RedisSentinel(t, 2, "--min-replicas-to-write", "1", "--min-replicas-max-lag", "2")
	b, prefix := behindSentinel(sentinel), uniqueName()
	nodes := []*versions{versionsOn(t, b, prefix), versionsOn(t, b, prefix)}
	whileUsed(t, nodes, &sourceOfKeys{}, true, func() error {
		_, err := sentinel.Failover(t.Context(), nil)
		return err
	})
}

// behindSentinel makes stores on the primary of a Sentinel.
func behindSentinel(sentinel *servers.Sentinel) backend {
	return backend{func(t testing.TB, name string) driver.Store {
		client := redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: servers.SentinelName, SentinelAddrs: []string{sentinel.Watcher.Addr},
			PoolSize: 50, MaxRetries: -1, ContextTimeoutEnabled: true,
		})
		t.Cleanup(func() { _ = client.Close() })
		return redisStoreOf(t, client, name)
	}, overNATS}
}

// TestSentinel_ChangesOver: Sentinel promotes replicas as it is told to, under nodes that go
// on. No call of theirs has to fail for that. Nodes do not miss what they wrote, and do not
// go back behind what they answered, although the old primary takes writes that are lost.
func TestSentinel_ChangesOver(t *testing.T) {
	t.Parallel()
	sentinel := servers.RedisSentinel(t, 2)
	b, prefix := behindSentinel(sentinel), uniqueName()
	nodes := []*versions{versionsOn(t, b, prefix), versionsOn(t, b, prefix), versionsOn(t, b, prefix)}
	whileUsed(t, nodes, &sourceOfKeys{}, false, func() error {
		for range 3 {
			if _, err := sentinel.ChangeOver(t.Context()); err != nil {
				return err
			}
		}
		return nil
	})
}
