package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/integration/servers"
)

// inStep makes a primary that has lost its replicas refuse writes, which keeps
// a deposed one from answering.
var inStep = []string{"--min-replicas-to-write", "1", "--min-replicas-max-lag", "2"}

// fleetFaults move the shared tier from one server to another.
func fleetFaults() []scenario {
	return []scenario{
		{
			name: "sentinel-failover", about: "the primary is killed, Sentinel promotes a replica, the old one comes back",
			bus: "redis", tier: "sentinel", redis: inStep,
			strike: func(ctx context.Context, f *field, _ int) (uint64, error) {
				return 1, f.lose(ctx, func(killed func([]*servers.Process) error) (*servers.Process, error) {
					return f.sentinel.Failover(ctx, killed)
				})
			}, between: 2 * time.Second,
		},
		{
			name: "cluster-failover", about: "a master of a Cluster is killed, its replica takes over, the old one comes back",
			bus: "nats", tier: "replicated cluster",
			strike: func(ctx context.Context, f *field, i int) (uint64, error) {
				i %= len(f.cluster.Nodes)
				return 1, f.lose(ctx, func(killed func([]*servers.Process) error) (*servers.Process, error) {
					heir := f.cluster.Replicas[i]
					return heir, f.cluster.Failover(ctx, i, killed)
				})
			}, between: 2 * time.Second,
		},
		{
			name: "slot-moves", about: "the keys of 1 partition of 16 move to another master of a Cluster, every second",
			bus: "redis", tier: "cluster", answers: true,
			strike: moveSlot, between: time.Second,
		},
		{
			name: "clocks-apart", about: "the same, between masters whose clocks are 600 ms apart",
			bus: "redis", tier: "cluster", answers: true, clocks: []time.Duration{-300 * time.Millisecond, 0, 300 * time.Millisecond},
			strike: func(ctx context.Context, f *field, i int) (uint64, error) {
				if err := clocksDiffer(ctx, f.cluster.Nodes); err != nil {
					return 0, err
				}
				return moveSlot(ctx, f, i)
			}, between: time.Second,
		},
		{
			name: "shard-killed", about: "one of three shards is killed and starts after 2 s from a snapshot some seconds old",
			bus: "pubsub", tier: "shards", redis: []string{"--save", "1 1"},
			strike: func(ctx context.Context, f *field, i int) (uint64, error) {
				i %= len(f.shards)
				return f.restart(ctx, f.shards[i], f.toShards[i], 2*time.Second)
			}, between: 2 * time.Second,
		},
	}
}

// moveSlot moves a partition that has keys of this run.
func moveSlot(ctx context.Context, f *field, i int) (uint64, error) {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: f.cluster.Addrs()})
	defer client.Close()
	slot, err := client.ClusterKeySlot(ctx, "nearbus:{"+strconv.Itoa(i%16)+"}").Result()
	if err != nil {
		return 0, err
	}
	moved, err := f.cluster.MoveSlot(ctx, int(slot))
	return uint64(min(moved, 1)), err
}

// clocksDiffer requires that servers do not agree about the time.
func clocksDiffer(ctx context.Context, nodes []*servers.Process) error {
	least, most := time.Duration(math.MaxInt64), time.Duration(math.MinInt64)
	for _, p := range nodes {
		client := redis.NewClient(&redis.Options{Addr: p.Addr})
		now, err := client.Time(ctx).Result()
		_ = client.Close()
		if err != nil {
			return err
		}
		least, most = min(least, time.Until(now)), max(most, time.Until(now))
	}
	if most-least < 500*time.Millisecond {
		return fmt.Errorf("%w: clocks are %v apart", errNoFault, most-least)
	}
	return nil
}
