package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// process is a node of a run, as the run sees it.
type process struct {
	settings settings
	program  string   // that runs it; empty: this one
	journals []string // of its lives

	mu      sync.Mutex // serializes commands
	command *exec.Cmd
	input   io.WriteCloser
	output  *bufio.Reader
}

// start begins a new life of the process.
func (p *process) start(dir string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settings.Journal = fmt.Sprintf("%s/%d-%d", dir, p.settings.Node, len(p.journals))
	p.journals = append(p.journals, p.settings.Journal)
	encoded, err := json.Marshal(p.settings)
	if err != nil {
		return err
	}
	program := p.program
	if program == "" {
		if program, err = os.Executable(); err != nil {
			return err
		}
	}
	p.command = exec.Command(program)
	p.command.Env = append(os.Environ(), nodeVariable+"="+string(encoded))
	p.command.Stderr = os.Stderr
	if p.input, err = p.command.StdinPipe(); err != nil {
		return err
	}
	output, err := p.command.StdoutPipe()
	if err != nil {
		return err
	}
	p.output = bufio.NewReader(output)
	return p.command.Start()
}

// tell sends a command and waits until it is carried out.
func (p *process) tell(command string) (answer json.RawMessage, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := io.WriteString(p.input, command+"\n"); err != nil {
		return nil, fmt.Errorf("checker: node %d: %s: %w", p.settings.Node, command, err)
	}
	line, err := p.output.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("checker: node %d: %s: %w", p.settings.Node, command, err)
	}
	return line, nil
}

func (p *process) signal(s syscall.Signal) error { return p.command.Process.Signal(s) }

// kill ends the process at whatever it is doing.
func (p *process) kill() error {
	err := p.command.Process.Kill()
	_ = p.command.Wait() // says that it was killed
	return err
}

// awaitDeath waits until the process has killed itself.
func (p *process) awaitDeath() error {
	done := make(chan struct{})
	go func() { // ends with the process
		_ = p.command.Wait() // says that it was killed
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(endPatience):
		return fmt.Errorf("%w: node %d did not die", errNoFault, p.settings.Node)
	}
}

const endPatience = 20 * time.Second

// end ends the process in peace.
func (p *process) end() error {
	_ = p.input.Close()
	done := make(chan error, 1)
	go func() { done <- p.command.Wait() }() // ends with the process
	select {
	case err := <-done:
		return err
	case <-time.After(endPatience):
		return errors.Join(fmt.Errorf("checker: node %d did not end", p.settings.Node), p.command.Process.Kill(), <-done)
	}
}
