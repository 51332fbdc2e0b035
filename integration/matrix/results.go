package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// build compiles the tests of the package integration.
func build(ctx context.Context, binary string) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, ".")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("matrix: build the tests: %w", err)
	}
	return nil
}

// result is what became of the cases of a suite. A case is a test without parts, or a part
// without parts.
type result struct {
	passed, cases int
	failed        []string // tests, by their names without those of parts
}

func (r result) String() string {
	if r.passed == r.cases {
		return fmt.Sprint(r.cases)
	}
	return fmt.Sprintf("%d of %d", r.passed, r.cases)
}

var errNoTests = errors.New("no test ran")

// runSuite runs the tests of a suite with a variable in their environment. That some fail is no
// error.
func runSuite(ctx context.Context, binary string, s suite, variable string) (result, error) {
	cmd := exec.CommandContext(ctx, "go", "tool", "test2json", binary,
		"-test.v=test2json", "-test.run", s.tests, "-test.parallel", "2", "-test.timeout", "20m")
	cmd.Env, cmd.Stderr = append(os.Environ(), variable), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return result{}, fmt.Errorf("matrix: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return result{}, fmt.Errorf("matrix: %w", err)
	}
	r, err := read(out)
	if ended := cmd.Wait(); err == nil && ctx.Err() == nil && len(r.failed) == 0 {
		err = ended // of a program that ended before, or after its tests
	}
	if err == nil && r.cases == 0 {
		err = errNoTests
	}
	if err = errors.Join(err, ctx.Err()); err != nil {
		return result{}, fmt.Errorf("matrix: suite %s: %w", s.name, err)
	}
	return r, nil
}

// event is one line of test2json.
type event struct{ Action, Test, Output string }

// cases is what is known of the tests and parts of a run.
type cases struct {
	names   []string // in the order of their starts
	outcome map[string]string
	output  map[string]*bytes.Buffer
	parent  map[string]bool // those with parts
}

func (c *cases) add(e event) {
	switch {
	case e.Test == "":
	case e.Action == "run":
		c.names, c.output[e.Test] = append(c.names, e.Test), &bytes.Buffer{}
		if i := strings.LastIndexByte(e.Test, '/'); i > 0 {
			c.parent[e.Test[:i]] = true
		}
	case e.Action == "output" && c.output[e.Test] != nil:
		c.output[e.Test].WriteString(e.Output)
	case e.Action == "pass" || e.Action == "fail" || e.Action == "skip":
		c.outcome[e.Test] = e.Action
	}
}

// read counts the cases of a run, and prints what failing ones printed. A case that was skipped
// or did not end has failed.
func read(events io.Reader) (result, error) {
	all := cases{outcome: make(map[string]string), output: make(map[string]*bytes.Buffer), parent: make(map[string]bool)}
	decoder := json.NewDecoder(bufio.NewReader(events))
	for {
		var e event
		if err := decoder.Decode(&e); errors.Is(err, io.EOF) {
			return all.result(), nil
		} else if err != nil {
			return result{}, fmt.Errorf("read events: %w", err)
		}
		all.add(e)
	}
}

func (c *cases) result() (r result) {
	for _, name := range c.names {
		passed := c.outcome[name] == "pass"
		if !c.parent[name] {
			r.cases++
			if passed {
				r.passed++
			}
		}
		if passed {
			continue
		}
		fmt.Print(c.output[name])
		if test, _, _ := strings.Cut(name, "/"); !slices.Contains(r.failed, test) {
			r.failed = append(r.failed, test)
		}
	}
	return r
}
