package main

import (
	"context"
	"syscall"
	"time"
)

// nodeFaults break processes.
func nodeFaults() []scenario {
	return []scenario{
		{
			name: "node-killed", about: "a process is killed at whatever it is doing and starts again", bus: "pubsub", answers: true,
			strike: func(_ context.Context, f *field, i int) (uint64, error) {
				p := f.nodes[i%len(f.nodes)]
				if err := p.kill(); err != nil {
					return 0, err
				}
				return 1, p.start(f.dir)
			}, between: time.Second, peers: true,
		},
		{
			name: "node-paused", about: "a process is stopped for 10 s", bus: "redis", answers: true, long: true,
			strike: func(ctx context.Context, f *field, i int) (uint64, error) {
				p := f.nodes[i%len(f.nodes)]
				if err := p.signal(syscall.SIGSTOP); err != nil {
					return 0, err
				}
				pause(ctx, 10*time.Second)
				return 1, p.signal(syscall.SIGCONT)
			}, between: 2 * time.Second, peers: true,
		},
	}
}
