package servers

import (
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

// program says how one kind of server is started and recognized.
type program struct {
	name string
	args func(port int, dir string) []string
	env  func(dir string) ([]string, error) // beside that of this process; nil for none
	// request makes the server print a line that begins with pidLabel and
	// goes on with its process id.
	request, pidLabel string
}

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
	if _, err := exec.LookPath(prog.name); err != nil {
		return nil, fmt.Errorf("servers: %s is not installed; run `make deps`: %w", prog.name, err)
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
	if err := p.Restart(ctx); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
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
	if err := p.launchLocked(); err != nil {
		return fmt.Errorf("servers: start %s: %w", p.program.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
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
	cmd := exec.Command(p.program.name, p.program.args(p.port, p.dir)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, log, log
	if p.program.env != nil {
		env, err := p.program.env(p.dir)
		if err != nil {
			return errors.Join(err, log.Close())
		}
		cmd.Env = append(os.Environ(), env...)
	}
	cmd.SysProcAttr = endWithParent()

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
		pid, err := askPID(ctx, p.Addr, p.program)
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
