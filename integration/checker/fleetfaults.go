package main

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
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
				return 1, f.sentinel.Failover(ctx)
			}, between: 2 * time.Second,
		},
		{
			name: "cluster-failover", about: "a master of a Cluster is killed, its replica takes over, the old one comes back",
			bus: "nats", tier: "replicated cluster",
			strike: func(ctx context.Context, f *field, i int) (uint64, error) {
				return 1, f.cluster.Failover(ctx, i%len(f.cluster.Nodes))
			}, between: 2 * time.Second,
		},
		{
			name: "slot-moves", about: "the keys of 1 partition of 64 move to another master of a Cluster, every second",
			bus: "redis", tier: "cluster", answers: true,
			strike: moveSlot, between: time.Second,
		},
	}
}

// moveSlot moves a partition that has keys of this run.
func moveSlot(ctx context.Context, f *field, i int) (uint64, error) {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: f.cluster.Addrs()})
	defer client.Close()
	slot, err := client.ClusterKeySlot(ctx, "nearbus:{"+strconv.Itoa(i%64)+"}").Result()
	if err != nil {
		return 0, err
	}
	moved, err := f.cluster.MoveSlot(ctx, int(slot))
	return uint64(min(moved, 1)), err
}
