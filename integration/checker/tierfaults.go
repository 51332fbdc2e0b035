package main

import (
	"context"
	"errors"
	"time"

	"github.com/nearbus/nearbus/integration/servers"
)

// tierFaults break the shared tier, or the way to it.
func tierFaults() []scenario {
	return []scenario{
		{
			name: "chunks-held", about: "2 % of what servers send comes 5-50 ms late", bus: "redis", answers: true,
			strike: onRelays(toTier, everyone, time.Second, func(r *servers.Relay) {
				r.Hold(0.02, 5*time.Millisecond, 50*time.Millisecond)
			}), peers: true,
		},
		{
			name: "redis-refused", about: "connections to Redis are cut and refused for 500 ms every 2.5 s", bus: "redis",
			strike: onRelays(toTier, everyone, 500*time.Millisecond, (*servers.Relay).Refuse), between: 2 * time.Second, peers: true,
		},
		{
			name: "redis-half-open", about: "bytes of Redis, bus included, vanish for 3 s", bus: "redis",
			strike: onRelays(toTier, everyone, 3*time.Second, (*servers.Relay).Blackhole), between: 2 * time.Second, peers: true,
		},
		{
			name: "redis-apart", about: "one process hears the bus and does not reach Redis for 3 s", bus: "nats",
			strike: onRelays(toTier, oneByOne, 3*time.Second, (*servers.Relay).Refuse), between: time.Second,
		},
		{
			name: "readers-stall", about: "bytes between all processes but the first and Redis, bus included, vanish for 3 s of 5 s", bus: "redis",
			strike: onRelays(toTier, allButFirst, 3*time.Second, (*servers.Relay).Blackhole), between: 2 * time.Second, peers: true,
		},
		{
			name: "readers-refused", about: "connections of all processes but the first to Redis are refused for 500 ms of 2.5 s", bus: "redis",
			strike: onRelays(toTier, allButFirst, 500*time.Millisecond, (*servers.Relay).Refuse), between: 2 * time.Second, peers: true,
		},
		{
			name: "redis-stops", about: "redis-server is stopped for 500 ms every 2 s", bus: "redis", peers: true,
			strike: pauseRedis(500 * time.Millisecond), between: 1500 * time.Millisecond,
		},
		{
			name: "redis-paused", about: "redis-server is stopped for 5 s", bus: "redis", peers: true,
			strike: pauseRedis(5 * time.Second), between: 2 * time.Second,
		},
		{
			name: "redis-empty", about: "redis-server is killed and starts empty", bus: "redis", peers: true,
			strike: restartRedis, between: 2 * time.Second,
		},
		{
			name: "redis-disk", about: "redis-server is killed and starts from a snapshot some seconds old", bus: "redis", peers: true,
			redis:  []string{"--save", "1 1"},
			strike: restartRedis, between: 2 * time.Second,
		},
	}
}

// pauseRedis stops redis-server for some time.
func pauseRedis(takes time.Duration) func(context.Context, *field, int) (uint64, error) {
	return func(ctx context.Context, f *field, _ int) (uint64, error) {
		if err := f.redis.Pause(); err != nil {
			return 0, err
		}
		pause(ctx, takes)
		return 1, f.redis.Resume()
	}
}

func restartRedis(ctx context.Context, f *field, _ int) (uint64, error) {
	return f.restart(ctx, f.redis, f.toRedis, 300*time.Millisecond)
}

// restart kills a server, which comes back after some time. It lets nobody reach
// the server before it is known what was lost.
func (f *field) restart(ctx context.Context, server *servers.Process, ways []*servers.Relay, gone time.Duration) (uint64, error) {
	return 1, f.lose(ctx, func(killed func([]*servers.Process) error) (*servers.Process, error) {
		for _, r := range ways {
			r.Refuse()
		}
		server.Kill()
		pause(ctx, gone)
		err := server.Restart(ctx)
		if err == nil {
			err = killed([]*servers.Process{server})
		}
		for _, r := range ways {
			err = errors.Join(err, r.Resume())
		}
		return server, err
	})
}
