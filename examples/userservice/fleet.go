package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/integration/servers"
)

// fleetConfig says what fleet is run and how it is driven.
type fleetConfig struct {
	wiring                    wiring
	processes, workers, users int
	writes                    float64
	duration, bound           time.Duration
}

// downtime is how long the killed process stays away.
const downtime = 500 * time.Millisecond

// process is one process of the service, as seen from outside.
type process struct {
	args []string
	addr atomic.Pointer[string]
	down atomic.Int64 // how often it went down or came up; odd while it is down

	cmd *exec.Cmd
}

// runFleet starts servers and processes, drives them and prints a summary.
func runFleet(ctx context.Context, cfg fleetConfig, out io.Writer) error {
	if cfg.processes < 2 || cfg.workers < 1 || cfg.users < 2 || cfg.duration <= 0 || cfg.bound <= 0 {
		return errors.New("want at least 2 processes, 1 worker, 2 users, and positive times")
	}
	var c closer
	defer func() { c.closeAll() }()
	dir, err := os.MkdirTemp("", "userservice-")
	if err != nil {
		return err
	}
	c.add(func() error { return os.RemoveAll(dir) })
	cfg.wiring.database = filepath.Join(dir, "users.db")
	on, err := cfg.wiring.startServers(ctx, &c)
	if err != nil {
		return err
	}
	db, err := openDatabase(ctx, cfg.wiring.database)
	if err != nil {
		return err
	}
	c.add(db.close)
	if err := db.seed(ctx, cfg.users); err != nil {
		return err
	}
	d := newTraffic(cfg)
	for range cfg.processes {
		p := &process{args: cfg.wiring.args()}
		if err := p.start(ctx); err != nil {
			return err
		}
		c.add(p.kill)
		d.processes = append(d.processes, p)
	}
	fmt.Fprintf(out, "%d processes on %s; %d users in SQLite, %.0f %% of the requests write\n",
		cfg.processes, on, cfg.users, 100*cfg.writes)
	fmt.Fprintf(out, "declared: no answer is older than a write that was acknowledged %v before the request\n\n", cfg.bound)
	if err := d.run(ctx, out); err != nil {
		return err
	}
	return d.report(out)
}

// startServers starts what no flag names.
func (w *wiring) startServers(ctx context.Context, c *closer) (on string, err error) {
	if w.store == "memcached" && w.memcached == "" {
		server, err := servers.StartMemcached(ctx)
		if err != nil {
			return "", err
		}
		c.add(func() error { server.Stop(); return nil })
		w.memcached = server.Addr
	}
	if (w.store == "redis" || w.bus == "redis") && w.redisURL == "" {
		server, err := servers.StartRedis(ctx)
		if err != nil {
			return "", err
		}
		c.add(func() error { server.Stop(); return nil })
		w.redisURL = "redis://" + server.Addr
	}
	if w.bus == "nats" && w.natsURL == "" {
		server, err := servers.StartNATS()
		if err != nil {
			return "", err
		}
		c.add(func() error { server.Stop(); return nil })
		w.natsURL = server.URL
	}
	return w.store + ", with a bus on " + w.bus, nil
}

// args are the flags of a child.
func (w *wiring) args() []string {
	return []string{
		"-child", "-listen", "127.0.0.1:0", "-store", w.store, "-bus", w.bus, "-redis", w.redisURL,
		"-memcached", w.memcached, "-nats", w.natsURL, "-db", w.database, fmt.Sprintf("-write-through=%t", w.writeThrough),
	}
}

// start starts the process and waits until it listens.
func (p *process) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p.cmd = exec.CommandContext(ctx, self, p.args...)
	p.cmd.Env = append(os.Environ(), childEnv+"=1")
	p.cmd.Stderr = os.Stderr
	if _, err := p.cmd.StdinPipe(); err != nil { // its end, with this process, ends the child
		return err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return errors.Join(errors.New("a process of the service did not start"), p.kill())
	}
	addr := strings.TrimSpace(line)
	p.addr.Store(&addr)
	return nil
}

// childEnv tells a test binary that it is to be the service.
const childEnv = "USERSERVICE_CHILD"

// kill ends the process with SIGKILL: it gets to do nothing more.
func (p *process) kill() error {
	if p.cmd == nil || p.cmd.Process == nil {
		return nil
	}
	_ = p.cmd.Process.Kill() // it may have ended by itself
	_ = p.cmd.Wait()         // tells that it was killed; closes the pipes
	p.cmd = nil
	return nil
}

// crash kills the process in the middle of things and starts it again.
func (p *process) crash(ctx context.Context) error {
	p.down.Add(1)
	if err := p.kill(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(downtime):
	}
	if err := p.start(ctx); err != nil {
		return err
	}
	p.down.Add(1)
	return nil
}

// every calls f at this pace until end is closed.
func every(end <-chan struct{}, pace time.Duration, f func()) {
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for {
		select {
		case <-end:
			return
		case <-ticker.C:
			f()
		}
	}
}

// together runs n copies of f and waits for them.
func together(n int, f func()) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(f)
	}
	wg.Wait()
}
