package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"sync"
	"time"
)

// ended is how a process ended.
type ended struct {
	output string
	failed bool
	hung   bool // it did not end in time, and was killed with its children
}

// maxMemory bounds the address space of a process, in KiB: a mutant may allocate for ever.
const maxMemory = "6000000"

// run runs a command with one processor, and kills it with its children if it takes
// longer than limit, or ctx ends.
func run(ctx context.Context, limit time.Duration, dir string, env []string, command ...string) (ended, error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(limited, "sh", append([]string{"-c", `ulimit -v ` + maxMemory + `; exec "$@"`, "sh"}, command...)...)
	var out transcript
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = dir, &out, &out, time.Second
	cmd.Env = append(append(os.Environ(), "GOMAXPROCS=1", "GOWORK=off"), env...)
	inGroup(cmd)
	err := cmd.Run()
	if ctx.Err() != nil {
		return ended{}, ctx.Err()
	}
	e := ended{output: out.String(), failed: err != nil, hung: limited.Err() != nil}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) && !e.hung && !errors.Is(err, exec.ErrWaitDelay) {
		return e, err
	}
	return e, nil
}

// transcript keeps the beginning and the end of what is written.
type transcript struct {
	mu         sync.Mutex // protects the fields below
	head, tail []byte
}

const transcriptPart = 64 << 10

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	room := min(len(p), transcriptPart-len(t.head))
	t.head = append(t.head, p[:room]...)
	t.tail = append(t.tail, p[room:]...)
	if len(t.tail) > 2*transcriptPart {
		t.tail = append([]byte(nil), t.tail[len(t.tail)-transcriptPart:]...)
	}
	return len(p), nil
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.head) + string(t.tail)
}
