package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
)

// childEnv tells a test binary that it is to be the program.
const childEnv = "CDC_CHILD"

// readers keeps one process of a reader up, as a supervisor does: when the process dies, the
// next one starts at once.
type readers struct {
	reader
	current atomic.Pointer[process]
	deaths  atomic.Int64
	ended   chan error
	stop    context.CancelFunc
}

// process is a reader that runs.
type process struct {
	cmd *exec.Cmd
	in  io.Closer // its end ends the process
	out *bufio.Reader
}

// startReaders returns once the first reader is ready. Only that one dies by itself.
func startReaders(ctx context.Context, r reader) (*readers, error) {
	ctx, stop := context.WithCancel(ctx)
	rs := &readers{reader: r, ended: make(chan error, 1), stop: stop}
	p, err := r.start()
	if err != nil {
		stop()
		return nil, err
	}
	rs.current.Store(p)
	go func() { rs.ended <- rs.supervise(ctx) }()
	return rs, nil
}

func (rs *readers) supervise(ctx context.Context) error {
	for {
		p := rs.current.Load()
		err := p.cmd.Wait()
		if ctx.Err() != nil {
			return nil //nolint:nilerr // end has closed its input
		}
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Exited() {
			return fmt.Errorf("a reader ended by itself: %w", err)
		}
		rs.deaths.Add(1)
		rs.dieAfter = 0
		if p, err = rs.start(); err != nil {
			return err
		}
		rs.current.Store(p)
	}
}

// end ends the readers, and returns how many keys the last process told of.
func (rs *readers) end() (told int, err error) {
	rs.stop()
	p := rs.current.Load()
	_ = p.in.Close()
	line, err := p.out.ReadString('\n')
	if err == nil {
		told, err = strconv.Atoi(strings.TrimSpace(line))
	}
	return told, errors.Join(err, <-rs.ended)
}

// start starts the process, and waits until it is ready.
func (r reader) start() (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-reader", r.way, "-postgres", r.databaseURL, "-redis", r.redisAddr, "-die-after", strconv.Itoa(r.dieAfter))
	cmd.Env, cmd.Stderr = append(os.Environ(), childEnv+"=1"), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	// Not a StdoutPipe, which Wait closes before the last line is read.
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = write
	err = cmd.Start()
	_ = write.Close()
	if err != nil {
		return nil, err
	}
	p := &process{cmd, in, bufio.NewReader(read)}
	if line, err := p.out.ReadString('\n'); err != nil || line != "ready\n" {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it is of no interest any more
		return nil, fmt.Errorf("a reader did not start: %q", line)
	}
	return p, nil
}

// untilEOF returns a context that ends with the other end of a pipe: a child never outlives its
// parent.
func untilEOF(ctx context.Context, pipe io.Reader) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, pipe)
		cancel()
	}()
	return ctx
}
