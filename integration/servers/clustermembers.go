package servers

import (
	"context"
	"fmt"
	"net"
	"slices"

	"github.com/redis/go-redis/v9"
)

// AddMaster starts another master, introduces it and moves these slots to it,
// with their keys, while clients use the cluster.
func (c *Cluster) AddMaster(ctx context.Context, slots []int) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	node, err := StartRedis(ctx, c.args...)
	if err != nil {
		return err
	}
	old := slices.Clone(c.Nodes)
	c.Nodes = append(c.Nodes, node) // to be stopped, whatever comes
	err = onNode(node, func(client *redis.Client) error {
		host, port, _ := net.SplitHostPort(old[0].Addr)
		return client.ClusterMeet(ctx, host, port).Err()
	})
	if err != nil {
		return fmt.Errorf("servers: cluster: meet: %w", err)
	}
	// A master that is new takes no keys until it has seen the cluster for a while.
	for _, n := range c.Nodes {
		if err := onNode(n, func(client *redis.Client) error {
			return awaitCluster(ctx, client, len(c.Nodes)+len(c.Replicas), len(old))
		}); err != nil {
			return fmt.Errorf("servers: cluster: meet: %w", err)
		}
	}
	for _, slot := range slots {
		from, err := c.owner(ctx, slot)
		if err != nil {
			return err
		}
		if _, err := c.moveSlot(ctx, slot, c.Nodes[from], node); err != nil {
			return err
		}
	}
	return c.WaitReady(ctx)
}

// RemoveMaster moves all slots of a master to the one before it, while clients
// use the cluster, makes the others forget it and stops it.
func (c *Cluster) RemoveMaster(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	leaving, heir := c.Nodes[i], c.Nodes[(i+len(c.Nodes)-1)%len(c.Nodes)]
	slots, err := slotsOf(ctx, leaving)
	if err != nil {
		return fmt.Errorf("servers: cluster: %w", err)
	}
	for _, slot := range slots {
		if _, err := c.moveSlot(ctx, slot, leaving, heir); err != nil {
			return err
		}
	}
	id, err := idOf(ctx, leaving)
	if err != nil {
		return fmt.Errorf("servers: cluster: %w", err)
	}
	c.Nodes = slices.Delete(c.Nodes, i, i+1)
	for _, node := range append(slices.Clone(c.Nodes), c.Replicas...) {
		if err := onNode(node, func(client *redis.Client) error { return client.ClusterForget(ctx, id).Err() }); err != nil {
			return fmt.Errorf("servers: cluster: forget: %w", err)
		}
	}
	leaving.Stop()
	return c.WaitReady(ctx)
}

// slotsOf returns the slots that a master serves.
func slotsOf(ctx context.Context, node *Process) (slots []int, err error) {
	id, err := idOf(ctx, node)
	if err != nil {
		return nil, err
	}
	err = onNode(node, func(client *redis.Client) error {
		shards, err := client.ClusterShards(ctx).Result()
		for _, shard := range shards {
			if !slices.ContainsFunc(shard.Nodes, func(n redis.Node) bool { return n.ID == id }) {
				continue
			}
			for _, r := range shard.Slots {
				for slot := r.Start; slot <= r.End; slot++ {
					slots = append(slots, int(slot))
				}
			}
		}
		return err
	})
	return slots, err
}
