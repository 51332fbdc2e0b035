package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Replicate gives every master a replica, which takes over when the master is
// gone for longer than the node timeout of 2 s.
func (c *Cluster) Replicate(ctx context.Context) error {
	for _, master := range c.Nodes {
		replica, err := StartRedis(ctx, c.args...)
		if err != nil {
			return err
		}
		c.Replicas = append(c.Replicas, replica)
		if err := c.follow(ctx, replica, master); err != nil {
			return fmt.Errorf("servers: cluster: %w", err)
		}
	}
	return c.ready(ctx)
}

// ready returns when every replica has what its master has, without which it
// would not take over.
func (c *Cluster) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, replica := range c.Replicas {
		if err := poll(ctx, func() error { return inStep(ctx, replica) }); err != nil {
			return fmt.Errorf("servers: cluster: %w", err)
		}
	}
	return c.WaitReady(ctx)
}

var errBehind = errors.New("servers: replica is not in step")

func inStep(ctx context.Context, replica *Process) error {
	return onNode(replica, func(client *redis.Client) error {
		role, err := client.Do(ctx, "ROLE").Slice()
		if err != nil || len(role) < 4 || role[3] != "connected" {
			return errors.Join(errBehind, err)
		}
		return nil
	})
}

// follow introduces a replica to the cluster and to its master.
func (c *Cluster) follow(ctx context.Context, replica, master *Process) error {
	id, err := idOf(ctx, master)
	if err != nil {
		return err
	}
	return onNode(replica, func(client *redis.Client) error {
		host, port, _ := net.SplitHostPort(master.Addr)
		if err := client.ClusterMeet(ctx, host, port).Err(); err != nil {
			return err
		}
		return poll(ctx, func() error { return client.ClusterReplicate(ctx, id).Err() })
	})
}

// Failover kills a master, waits until its replica has taken over and starts
// the master again, which becomes a replica: the two change places. Between
// the two it calls killed, unless that is nil, with the replica as the master
// left it.
func (c *Cluster) Failover(ctx context.Context, i int, killed func(replica []*Process) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := c.takeOver(ctx, i, killed); err != nil {
		return err
	}
	if err := c.Replicas[i].Restart(ctx); err != nil {
		return err
	}
	return c.ready(ctx)
}

// Lose kills a master, which stays dead, and returns when its replica has taken over:
// the two change places.
func (c *Cluster) Lose(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return c.takeOver(ctx, i, nil)
}

func (c *Cluster) takeOver(ctx context.Context, i int, killed func(replica []*Process) error) error {
	old, heir := c.Nodes[i], c.Replicas[i]
	old.Kill()
	if killed != nil {
		if err := leftBehind(ctx, []*Process{heir}, killed); err != nil {
			return err
		}
	}
	if err := poll(ctx, func() error {
		_, err := replicasOf(ctx, heir)
		return err
	}); err != nil {
		return fmt.Errorf("servers: cluster: %w", err)
	}
	c.Nodes[i], c.Replicas[i] = heir, old
	return nil
}

// MoveSlot moves a slot with its keys to the next master, while clients use it,
// and returns how many keys there were.
func (c *Cluster) MoveSlot(ctx context.Context, slot int) (moved int, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	from, err := c.owner(ctx, slot)
	if err != nil {
		return 0, err
	}
	return c.moveSlot(ctx, slot, c.Nodes[from], c.Nodes[(from+1)%len(c.Nodes)])
}

// moveSlot moves a slot with its keys from one master to another.
func (c *Cluster) moveSlot(ctx context.Context, slot int, source, target *Process) (moved int, err error) {
	sourceID, e1 := idOf(ctx, source)
	targetID, e2 := idOf(ctx, target)
	err = errors.Join(e1, e2)
	for _, step := range []struct {
		node      *Process
		state, id string
	}{{target, "IMPORTING", sourceID}, {source, "MIGRATING", targetID}} {
		if err == nil {
			err = setSlot(ctx, step.node, slot, step.state, step.id)
		}
	}
	if err == nil {
		moved, err = moveKeys(ctx, source, target, slot)
	}
	// The new owner has to know first.
	for _, node := range slices.Concat([]*Process{target, source}, c.Nodes) {
		if err == nil {
			err = setSlot(ctx, node, slot, "NODE", targetID)
		}
	}
	if err != nil {
		return moved, fmt.Errorf("servers: cluster: move slot %d: %w", slot, err)
	}
	return moved, nil
}

func setSlot(ctx context.Context, node *Process, slot int, state, id string) error {
	return onNode(node, func(client *redis.Client) error {
		return client.Do(ctx, "CLUSTER", "SETSLOT", slot, state, id).Err()
	})
}

func moveKeys(ctx context.Context, source, target *Process, slot int) (moved int, err error) {
	host, port, _ := net.SplitHostPort(target.Addr)
	err = onNode(source, func(client *redis.Client) error {
		for {
			keys, err := client.ClusterGetKeysInSlot(ctx, slot, 10).Result()
			if err != nil || len(keys) == 0 {
				return err
			}
			args := []any{"MIGRATE", host, port, "", 0, 5000, "KEYS"}
			for _, key := range keys {
				args = append(args, key)
			}
			if err := client.Do(ctx, args...).Err(); err != nil {
				return err
			}
			moved += len(keys)
		}
	})
	return moved, err
}

// owner returns the place of the master that serves a slot.
func (c *Cluster) owner(ctx context.Context, slot int) (place int, err error) {
	place = -1
	err = onNode(c.Nodes[0], func(client *redis.Client) error {
		shards, err := client.ClusterShards(ctx).Result()
		for _, shard := range shards {
			serves := slices.ContainsFunc(shard.Slots, func(r redis.SlotRange) bool {
				return r.Start <= int64(slot) && int64(slot) <= r.End
			})
			for _, node := range shard.Nodes {
				if serves && node.Role == "master" {
					addr := fmt.Sprintf("%s:%d", node.IP, node.Port)
					place = slices.IndexFunc(c.Nodes, func(p *Process) bool { return p.Addr == addr })
				}
			}
		}
		return err
	})
	if err == nil && place < 0 {
		err = fmt.Errorf("servers: cluster: nobody serves slot %d", slot)
	}
	return place, err
}

func idOf(ctx context.Context, node *Process) (id string, err error) {
	err = onNode(node, func(client *redis.Client) error {
		id, err = client.Do(ctx, "CLUSTER", "MYID").Text()
		return err
	})
	return strings.TrimSpace(id), err
}

// poll calls do until it succeeds or ctx ends.
func poll(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(10 * pollInterval):
		}
	}
}
