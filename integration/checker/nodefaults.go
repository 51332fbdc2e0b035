package main

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"time"
)

// nodeFaults break processes.
func nodeFaults() []scenario {
	return []scenario{
		{
			name: "node-killed", about: "a process is killed at each step of a write in turn, and at anything else, and starts again",
			bus: "pubsub", answers: true, strike: killAtStep, between: time.Second, peers: true,
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

// killAtStep lets a process die at a step of a write, or kills it wherever it
// is.
func killAtStep(_ context.Context, f *field, i int) (uint64, error) {
	p := f.nodes[i%len(f.nodes)]
	if i %= len(deaths) + 1; i < len(deaths) && slices.Contains([]string{"nearbus", "naive"}, f.plan.subject) {
		_, _ = p.tell("die " + deaths[i]) // may be dead before it can answer
		return 1, errors.Join(p.awaitDeath(), p.start(f.dir))
	}
	return kill(f, p)
}

func kill(f *field, p *process) (uint64, error) {
	if err := p.kill(); err != nil {
		return 0, err
	}
	return 1, p.start(f.dir)
}
