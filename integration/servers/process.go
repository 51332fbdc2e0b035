package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 2 * time.Minute
	stopTimeout  = 10 * time.Second
	pollInterval = 5 * time.Millisecond
)

// ErrStopped is returned by methods that need a running server when there is
// none.
var ErrStopped = errors.New("servers: process is not running")

// Process is a server that runs as a child process. Its methods may be called
// from many goroutines.
type Process struct {
	// Addr is the host and port that the server listens on, the same for the
	// whole life of the Process.
	Addr string

	program program
	port    int
	dir     string

	mu    sync.Mutex // serializes the methods, guards child
	child *child
}

// child is one run of the program.
type child struct {
	process *os.Process
	exited  chan struct{} // closed by the goroutine that waits for the process
}

// startProcess runs the program on a free port and returns when it answers.
func startProcess(ctx context.Context, prog program) (*Process, error) {
	if _, err := prog.find(prog.name); err != nil {
		return nil, err
	}
	return onFreePorts(ctx, func() (*Process, error) { return tryProcess(ctx, prog) })
}

func tryProcess(ctx context.Context, prog program) (*Process, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "nearbus-"+prog.name+"-")
	if err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	p := &Process{Addr: loopback(port), program: prog, port: port, dir: dir}
	err = p.prepare(ctx)
	if err == nil {
		err = p.Restart(ctx)
	}
	if err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// prepare makes what the program needs before its first start.
func (p *Process) prepare(ctx context.Context) error {
	if p.program.prepare == nil {
		return nil
	}
	if err := giveTo(p.program.user, p.dir); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return p.program.prepare(ctx, runner{program: p.program, dir: p.dir})
}

// inTest stops the server when the test ends.
func inTest[S interface{ Stop() }](t testing.TB, server S, err error) S {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

// Restart ends the server as an operator would, if it still runs, and starts it
// again on the same port, with the same arguments and directory. It returns
// when the server answers.
func (p *Process) Restart(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.terminateLocked()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := p.startLocked(ctx)
		if err == nil || p.program.lingers == "" || !bytes.Contains(p.log(), []byte(p.program.lingers)) || ctx.Err() != nil {
			return err
		}
		time.Sleep(pollInterval)
	}
}

// startLocked starts the server and waits until it answers.
func (p *Process) startLocked(ctx context.Context) error {
	if err := p.launchLocked(); err != nil {
		return fmt.Errorf("servers: start %s: %w", p.program.name, err)
	}
	if err := p.answersLocked(ctx); err != nil {
		p.killLocked()
		return fmt.Errorf("servers: start %s: %w\n%s", p.program.name, err, p.log())
	}
	return nil
}

// Kill ends the server at once, as a crash would. Restart brings it back.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killLocked()
}

// Stop ends the server for good and removes its directory. It may be called
// more than once.
func (p *Process) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killLocked()
	_ = os.RemoveAll(p.dir) // A leftover in the system's temporary directory harms nobody.
}

// Pause suspends the server: its connections stay open and nothing answers. It
// returns when the server stands still.
func (p *Process) Pause() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.signalLocked(syscall.SIGSTOP); err != nil {
		return err
	}
	for !suspended(p.child.process.Pid) {
		time.Sleep(pollInterval)
	}
	return nil
}

// Resume lets a paused server go on.
func (p *Process) Resume() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.signalLocked(syscall.SIGCONT)
}

func (p *Process) signalLocked(sig os.Signal) error {
	if p.child == nil {
		return ErrStopped
	}
	if err := p.child.process.Signal(sig); err != nil {
		return fmt.Errorf("%w: %w", ErrStopped, err)
	}
	return nil
}

// killLocked ignores the signal's error: the process may have ended on its own,
// and the wait shows that it is gone.
func (p *Process) killLocked() {
	if p.child == nil {
		return
	}
	_ = p.child.process.Kill()
	<-p.child.exited
	p.child = nil
}

// terminateLocked asks the server to end and kills it when it does not. A
// paused server has to be resumed first to hear of it.
func (p *Process) terminateLocked() {
	if p.child == nil {
		return
	}
	_ = p.child.process.Signal(syscall.SIGCONT)
	_ = p.child.process.Signal(syscall.SIGTERM)
	select {
	case <-p.child.exited:
	case <-time.After(stopTimeout):
	}
	p.killLocked()
}

// launchLocked starts the program. The system ends the child with the thread
// that started it, so that thread is kept until the child is gone.
func (p *Process) launchLocked() error {
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	path, err := p.program.find(p.program.name)
	if err != nil {
		return errors.Join(err, log.Close())
	}
	cmd := exec.Command(path, p.program.args(p.port, p.dir)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, log, log
	if p.program.env != nil {
		env, err := p.program.env(p.dir)
		if err != nil {
			return errors.Join(err, log.Close())
		}
		cmd.Env = append(os.Environ(), env...)
	}
	if cmd.SysProcAttr, err = p.program.attributes(); err != nil {
		return errors.Join(err, log.Close())
	}

	started, exited := make(chan error), make(chan struct{})
	// Ends when the child does; killLocked waits for it.
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer log.Close()
		defer close(exited)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // How the child ended is of no interest, only that it did.
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	p.child = &child{process: cmd.Process, exited: exited}
	return nil
}

// answersLocked waits until the server answers with the id of the child. Any
// other id means that somebody else has the port.
func (p *Process) answersLocked(ctx context.Context) error {
	for {
		pid, err := p.askPID(ctx)
		if err == nil && pid == p.child.process.Pid {
			return nil
		}
		select {
		case <-p.child.exited:
			return errors.New("process ended")
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(pollInterval):
		}
	}
}

func (p *Process) askPID(ctx context.Context) (int, error) {
	if p.program.pid != nil {
		return p.program.pid(p.Addr, p.dir, p.child.process.Pid)
	}
	return askPID(ctx, p.Addr, p.program)
}

func (p *Process) logPath() string { return filepath.Join(p.dir, "server.log") }

// log returns the end of what the server printed.
func (p *Process) log() []byte {
	const size = 2000
	text, err := os.ReadFile(p.logPath())
	if err != nil {
		return []byte(err.Error())
	}
	return text[max(0, len(text)-size):]
}

// PID returns the process id of the server, 0 if it is not running.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child == nil {
		return 0
	}
	return p.child.process.Pid
}
