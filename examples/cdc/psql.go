package main

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// psql is the program of that name, as somebody types into it.
type psql struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startPSQL(databaseURL string) (*psql, error) {
	cmd := exec.Command("psql", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", databaseURL)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("psql: %w", err)
	}
	return &psql{cmd, in, bufio.NewReader(out)}, nil
}

// run types a statement, and returns once psql says what it did: "UPDATE 1". The transaction is
// committed then.
func (p *psql) run(statement string) error {
	if _, err := fmt.Fprintln(p.in, statement+";"); err != nil {
		return fmt.Errorf("psql: %w", err)
	}
	said, err := p.out.ReadString('\n')
	if err != nil {
		return fmt.Errorf("psql: %s: %w", said, err)
	}
	if verb, _, _ := strings.Cut(statement, " "); !strings.HasPrefix(said, verb) {
		return fmt.Errorf("psql: %s: %s", statement, said)
	}
	return nil
}

func (p *psql) close() {
	_ = p.in.Close()
	_ = p.cmd.Wait() // how it ended is of no interest
}
