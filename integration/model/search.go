package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of one search. One that meets them is a failure, not a result.
const (
	maxMemory = 5000    // MiB
	maxDepth  = 5000000 // steps
	maxTime   = 20 * time.Minute
)

// search is one run of SPIN over a model: of sizes, with a rule left out or none.
type search struct {
	m     *model
	sizes string
	off   string // empty: all rules are in force
	live  bool   // searches for what never comes, and not for broken promises
	quick bool   // finds something, and not by the shortest way
	long  bool   // is worth the time of a compiler that optimizes, and of states that are kept small

	expect bool // something is to be found
}

// result is what a search found.
type result struct {
	search
	states, depth int
	took          time.Duration
	found         bool     // a promise is broken
	steps         []string // how, in words
	unreached     []place
}

// place is a state of a process that was never reached.
type place struct {
	process     string
	state, line int
	text        string
}

// run searches. The error says that it could not, or not to the end.
func (s search) run(ctx context.Context) (*result, error) {
	for _, tool := range []string{"spin", "cc"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is not installed: run 'make deps', as root on Debian or Ubuntu", tool)
		}
	}
	dir, err := os.MkdirTemp("", "model")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	r, err := s.runIn(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s, err)
	}
	return r, nil
}

func (s search) runIn(ctx context.Context, dir string) (*result, error) {
	if err := os.WriteFile(filepath.Join(dir, s.m.file), []byte(s.m.source), 0o600); err != nil {
		return nil, err
	}
	began := time.Now()
	if out, err := command(ctx, dir, "spin", append(s.defines(), "-a", s.m.file)...); err != nil {
		return nil, fmt.Errorf("spin -a: %w: %s", err, out)
	}
	if out, err := command(ctx, dir, "cc", s.compilation()...); err != nil {
		return nil, fmt.Errorf("cc: %w: %s", err, out)
	}
	out, err := command(ctx, dir, "./pan", s.flags()...)
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		return nil, errors.Join(err, ctx.Err())
	}
	r, err := s.read(out)
	if err != nil {
		return nil, err
	}
	r.took = time.Since(began)
	if r.found {
		r.steps, err = s.replay(ctx, dir)
	}
	return r, err
}

func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// defines are the sizes, and each rule as 1, or 0 for the one that is left out.
func (s search) defines() (all []string) {
	for size := range strings.FieldsSeq(s.sizes) {
		all = append(all, "-D"+size)
	}
	for _, r := range s.m.rules {
		on := "1"
		if r.name == s.off {
			on = "0"
		}
		all = append(all, "-D"+r.name+"="+on)
	}
	return all
}

// broad reports whether the search goes by breadth: what it finds first is what takes the
// fewest steps, but it needs more memory.
func (s search) broad() bool { return s.expect && !s.live && !s.quick }

func (s search) compilation() []string {
	optimize := []string{"-O0"}
	if s.long {
		optimize = []string{"-O2", "-DCOLLAPSE"}
	}
	args := append(optimize, "-w", "-o", "pan", "-DMEMLIM="+strconv.Itoa(maxMemory))
	switch {
	case s.live:
		args = append(args, "-DNFAIR=3")
	case s.broad():
		args = append(args, "-DSAFETY", "-DBFS", "-DNOCLAIM")
	default:
		args = append(args, "-DSAFETY", "-DNOCLAIM")
	}
	return append(args, "pan.c")
}

// flags are those of the search. Fairness is the weak one: who can always take a step
// takes one in the end.
func (s search) flags() []string {
	table, depth := "-w20", 100_000
	if s.long {
		table, depth = "-w24", maxDepth
	}
	args := []string{table, "-m" + strconv.Itoa(depth)}
	if s.live {
		args = append(args, "-a", "-f", "-N", s.m.progress)
	}
	return args
}

var (
	errorsLine    = regexp.MustCompile(`depth reached (\d+).*errors: (\d+)`)
	statesLine    = regexp.MustCompile(`(?m)^\s*(\d+) states, stored`)
	processLine   = regexp.MustCompile(`^unreached in (?:proctype )?(\S+)`)
	unreachedLine = regexp.MustCompile(`^\s+(?:\S*:)?(\d+), state (\d+), "(.*)"$`)
)

// cut are what a search prints that did not come to its end.
var cut = []string{
	"max search depth too small", "out of memory", "reached -DMEMLIM bound", "VECTORSZ", "hash-table is full",
	"aborting", "not enough memory", "invalid array index",
}

// read reads what a search printed.
func (s search) read(out string) (*result, error) {
	for _, sign := range cut {
		if strings.Contains(out, sign) {
			return nil, fmt.Errorf("the search did not come to its end: %s", excerpt(out))
		}
	}
	ends, stored := errorsLine.FindStringSubmatch(out), statesLine.FindStringSubmatch(out)
	if ends == nil || stored == nil {
		return nil, fmt.Errorf("the search does not say how it ended: %s", excerpt(out))
	}
	r := &result{search: s, found: ends[2] != "0"}
	r.depth, _ = strconv.Atoi(ends[1])
	r.states, _ = strconv.Atoi(stored[1])
	if !r.found && strings.Contains(out, "Search not completed") {
		return nil, fmt.Errorf("the search did not come to its end: %s", excerpt(out))
	}
	if strings.Contains(out, "invalid end state (at") {
		return nil, fmt.Errorf("the model gets stuck, which is no broken promise: %s", excerpt(out))
	}
	process := ""
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		if p := processLine.FindStringSubmatch(line); p != nil {
			process = p[1]
		} else if u := unreachedLine.FindStringSubmatch(line); u != nil && process != "claim" {
			at := place{process: process, text: u[3]}
			at.line, _ = strconv.Atoi(u[1])
			at.state, _ = strconv.Atoi(u[2])
			r.unreached = append(r.unreached, at)
		}
	}
	return r, nil
}

// excerpt is the beginning of what a tool printed.
func excerpt(out string) string { return out[:min(len(out), 400)] }

// replay returns the steps of what was found, in the words of the model.
func (s search) replay(ctx context.Context, dir string) ([]string, error) {
	out, err := command(ctx, dir, "spin", slices.Concat(s.defines(), []string{"-t", "-T", s.m.file})...)
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return nil, fmt.Errorf("spin -t: %w: %s", err, excerpt(out))
	}
	steps := readSteps(out)
	if len(steps) == 0 {
		return nil, fmt.Errorf("spin -t shows no steps: %s", excerpt(out))
	}
	return steps, nil
}

// readSteps reads what SPIN prints when it follows a trail: what the model prints, up to
// the end of the trail.
func readSteps(out string) (steps []string) {
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "spin: trail ends"), strings.HasPrefix(line, "#processes"):
			return steps
		case strings.HasPrefix(line, "<<<<<START OF CYCLE"):
			steps = append(steps, "from here on, again and again:")
		case line == "", strings.HasPrefix(line, "spin:"), strings.HasPrefix(line, "Never claim"), strings.HasPrefix(line, "never claim"),
			strings.HasPrefix(line, "ltl "), strings.HasPrefix(line, "using statement merging"), strings.HasPrefix(line, "starting claim"):
		default:
			steps = append(steps, line)
		}
	}
	return steps
}

// rules says what is in force.
func (s search) rules() string {
	switch {
	case s.off != "":
		return "without " + s.off
	case s.live:
		return "all rules, progress"
	}
	return "all rules"
}

func (s search) String() string { return fmt.Sprintf("%s, %s, %s", s.m.name, s.rules(), s.sizes) }
