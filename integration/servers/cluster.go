package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const clusterSlots = 16384

// Cluster is a Redis Cluster. Its masters have no replicas until Replicate.
type Cluster struct {
	// Nodes are the masters. At first each serves an equal range of slots, in
	// order.
	Nodes []*Process

	// Replicas are those of the masters, in the same order.
	Replicas []*Process

	args []string // of each server
}

// RedisCluster starts a Redis Cluster for the test; see [StartRedisCluster].
func RedisCluster(t testing.TB, masters int, args ...string) *Cluster {
	t.Helper()
	cluster, err := StartRedisCluster(t.Context(), masters, args...)
	return inTest(t, cluster, err)
}

// StartRedisCluster starts a Redis Cluster and returns when all its nodes say
// that the cluster serves every slot. Further arguments are those of each
// redis-server.
func StartRedisCluster(ctx context.Context, masters int, args ...string) (*Cluster, error) {
	return StartRedisClusterAt(ctx, make([]time.Duration, masters), args...)
}

// StartRedisClusterAt is StartRedisCluster with masters whose clocks are ahead
// by so much.
func StartRedisClusterAt(ctx context.Context, ahead []time.Duration, args ...string) (*Cluster, error) {
	cluster := &Cluster{}
	if err := cluster.start(ctx, ahead, args); err != nil {
		cluster.Stop()
		return nil, err
	}
	return cluster, nil
}

// Addrs returns the addresses of the nodes.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, 0, len(c.Nodes))
	for _, node := range c.Nodes {
		addrs = append(addrs, node.Addr)
	}
	return addrs
}

// Stop ends all nodes for good.
func (c *Cluster) Stop() {
	for _, node := range append(c.Nodes, c.Replicas...) {
		node.Stop()
	}
}

// WaitReady returns when every node says that the cluster serves every slot. It
// is needed after a node was killed and restarted.
func (c *Cluster) WaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	all := append(slices.Clone(c.Nodes), c.Replicas...)
	for _, node := range all {
		if err := onNode(node, func(client *redis.Client) error {
			return awaitCluster(ctx, client, len(all), len(c.Nodes))
		}); err != nil {
			return fmt.Errorf("servers: cluster: %w", err)
		}
	}
	return nil
}

func (c *Cluster) start(ctx context.Context, ahead []time.Duration, args []string) error {
	if len(ahead) == 0 {
		return errors.New("servers: cluster: 0 masters")
	}
	// Without replica migration, a master that gives its last slot away stays one.
	c.args = append([]string{
		"--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-allow-replica-migration", "no",
		"--repl-diskless-sync-delay", "0",
	}, args...)
	for _, d := range ahead {
		node, err := StartRedisAt(ctx, d, c.args...)
		if err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, node)
	}
	for i := range c.Nodes {
		if err := c.join(ctx, i); err != nil {
			return fmt.Errorf("servers: cluster: %w", err)
		}
	}
	return c.WaitReady(ctx)
}

// join gives the node its epoch and its slots and introduces it to the nodes
// before it.
func (c *Cluster) join(ctx context.Context, i int) error {
	return onNode(c.Nodes[i], func(client *redis.Client) error {
		first := i * clusterSlots / len(c.Nodes)
		last := (i+1)*clusterSlots/len(c.Nodes) - 1
		failures := []error{
			client.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(),
			client.ClusterAddSlotsRange(ctx, first, last).Err(),
		}
		for _, peer := range c.Nodes[:i] {
			host, port, _ := net.SplitHostPort(peer.Addr)
			failures = append(failures, client.ClusterMeet(ctx, host, port).Err())
		}
		return errors.Join(failures...)
	})
}

func awaitCluster(ctx context.Context, client *redis.Client, nodes, masters int) error {
	for {
		info, err := client.ClusterInfo(ctx).Result()
		if err == nil && clusterComplete(info, nodes, masters) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(pollInterval):
		}
	}
}

func clusterComplete(info string, nodes, masters int) bool {
	return strings.Contains(info, "cluster_state:ok") &&
		strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d\r", nodes)) &&
		strings.Contains(info, fmt.Sprintf("cluster_size:%d\r", masters)) &&
		strings.Contains(info, fmt.Sprintf("cluster_slots_ok:%d\r", clusterSlots))
}

func onNode(node *Process, do func(*redis.Client) error) error {
	client := redis.NewClient(&redis.Options{Addr: node.Addr})
	defer client.Close()
	return do(client)
}
