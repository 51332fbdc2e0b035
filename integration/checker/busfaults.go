package main

import (
	"context"
	"time"

	"github.com/nearbus/nearbus/integration/servers"
)

// busFaults break the way of messages. The shared tier answers all the time.
func busFaults() []scenario {
	return []scenario{
		{
			name: "bus-cut", about: "connections to the bus are cut every second", bus: "pubsub", answers: true,
			strike: onRelays(toBus, everyone, 0, (*servers.Relay).Cut), between: time.Second, peers: true,
		},
		{
			name: "messages", about: "1 message of 5 is lost, 1 comes twice, 1 up to 2 s late", bus: "pubsub", answers: true,
			strike: func(ctx context.Context, f *field, _ int) (uint64, error) {
				if err := f.tellAll("harm"); err != nil {
					return 0, err
				}
				pause(ctx, time.Second)
				return 1, f.tellAll("spare")
			},
		},
		{
			name: "slow-consumer", about: "a process does not take messages for 3 s", bus: "nats", answers: true,
			strike: func(ctx context.Context, f *field, i int) (uint64, error) {
				_, err := f.nodes[i%len(f.nodes)].tell("block 3s")
				pause(ctx, 3*time.Second)
				return 1, err
			}, between: time.Second,
		},
		{
			name: "bus-half-open", about: "the bytes between one process and the bus vanish for 3 s, connections stay up", bus: "pubsub", answers: true,
			strike: onRelays(toBus, oneByOne, 3*time.Second, (*servers.Relay).Blackhole), between: 2 * time.Second, peers: true,
		},
		{
			name: "bus-half-open-75s", about: "the same for 75 s", bus: "pubsub", answers: true, long: true,
			strike: onRelays(toBus, oneByOne, 75*time.Second, (*servers.Relay).Blackhole), between: 2 * time.Second, peers: true,
		},
		{
			name: "bus-apart", about: "one process does not reach the bus for 3 s", bus: "nats", answers: true,
			strike: onRelays(toBus, oneByOne, 3*time.Second, (*servers.Relay).Refuse), between: time.Second,
		},
		{
			name: "bus-refused-30s", about: "no process reaches the bus for 30 s", bus: "pubsub", answers: true, long: true,
			strike: onRelays(toBus, everyone, 30*time.Second, (*servers.Relay).Refuse), between: 2 * time.Second, peers: true,
		},
		{
			name: "nats-cut", about: "connections to NATS are cut every 2 s", bus: "nats", answers: true,
			strike: onRelays(toBus, everyone, 0, (*servers.Relay).Cut), between: 2 * time.Second,
		},
		{
			name: "nats-restart", about: "the NATS server is killed and comes back after 500 ms", bus: "nats", answers: true,
			strike: restartNATS, between: 2 * time.Second,
		},
		{
			name: "jetstream-restart", about: "the same with JetStream", bus: "jetstream", answers: true,
			strike: restartNATS, between: 2 * time.Second,
		},
	}
}

func restartNATS(ctx context.Context, f *field, _ int) (uint64, error) {
	f.nats.Kill()
	pause(ctx, 500*time.Millisecond)
	return 1, f.nats.Restart()
}
