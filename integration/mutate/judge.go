package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// verdict is what became of a mutant.
type verdict string

const (
	notCompiled verdict = "not compiled"
	simulator   verdict = "killed by the simulator"
	tests       verdict = "killed by the tests"
	survived    verdict = "survived"
)

// result is the verdict on one mutant.
type result struct {
	mutant
	Manner  string  `json:"manner"` // how it was judged, see court.manner
	Verdict verdict `json:"verdict"`
	How     string  `json:"how,omitempty"`     // what killed it
	Seconds float64 `json:"seconds,omitempty"` // that it took, without the build
	Runs    int     `json:"runs,omitempty"`    // of the simulator, if those did not kill it
}

// court judges mutants.
type court struct {
	workshop  *workshop
	duration  time.Duration // of simulating one; 0: no simulator
	grace     time.Duration // that a process may take longer than it should
	withTests bool
	quick     bool  // the tests come first, and what they notice is not simulated
	simulate  suite // what simulates
	suites    func(file string) []suite
}

// judge says what becomes of a mutant, or, of nil, of the code as it is with these tests.
func (c *court) judge(ctx context.Context, m *mutant, suites []suite) (*result, error) {
	if m == nil {
		m = &mutant{}
	} else if err := c.workshop.library.compiles(m); err != nil {
		return &result{mutant: *m, Manner: c.manner(), Verdict: notCompiled, How: err.Error()}, nil
	}
	r := &result{mutant: *m, Manner: c.manner(), Verdict: survived}
	dir, err := os.MkdirTemp(c.workshop.dir, "")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	for _, s := range c.stages(suites) {
		built, e, took, err := c.try(ctx, dir, m, &s)
		if err == nil && built && e.failed && !e.hung && s.verdict == tests { // now and then one fails on a machine that is busy
			_, e, _, err = c.try(ctx, dir, m, &s)
		}
		switch {
		case err != nil:
			return nil, err
		case !built:
			r.Verdict, r.How = notCompiled, reason(e)
			return r, nil
		case e.failed:
			r.Verdict, r.How, r.Seconds = s.verdict, reason(e), took.Seconds()
			return r, nil
		case s.verdict == simulator:
			r.Runs = runsOf(e.output)
		}
	}
	return r, nil
}

// manner tells results apart that cannot be counted together.
func (c *court) manner() string {
	text := c.duration.String()
	if c.quick {
		text += ", tests first"
	}
	return text
}

// stage is one program that a mutant has to pass.
type stage struct {
	suite
	verdict verdict // on who does not
	limit   time.Duration
	args    []string
}

// stages returns what a mutant has to pass, in this order.
func (c *court) stages(suites []suite) (all []stage) {
	if c.duration > 0 {
		all = append(all, stage{c.simulate, simulator, c.duration + c.grace, []string{
			"-test.run", "^TestSimulate$", "-test.v", "-test.timeout", "0", "-seed", "1", "-for", c.duration.String(), "-first", "-shapes",
		}})
	}
	if !c.withTests {
		return all
	}
	for _, s := range suites {
		args := []string{"-test.failfast", "-test.short", "-test.timeout", "0"}
		if s.run != "" {
			args = append(args, "-test.run", s.run)
		}
		all = append(all, stage{s, tests, testLimit + c.grace, args})
	}
	if c.quick && c.duration > 0 {
		all = append(all[1:], all[0])
	}
	return all
}

// testLimit is how long the tests of a package may take, many times what they need: a mutant
// that only meets a machine that is slow must not count as one that hangs.
const testLimit = 10 * time.Minute

// try runs the tests of a package with a mutant in it, in the directory of that package.
func (c *court) try(ctx context.Context, dir string, m *mutant, s *stage) (built bool, e ended, took time.Duration, err error) {
	var p *program
	if m.shares() {
		p, err = c.workshop.all(ctx, s.suite)
	} else {
		p, err = c.workshop.alone(ctx, dir, m, s.suite)
	}
	if err != nil {
		return false, e, 0, err
	}
	if p.failed != nil {
		return false, *p.failed, 0, nil
	}
	env := []string{numberName + "=" + strconv.Itoa(m.number), "TMPDIR=" + dir}
	began := time.Now()
	e, err = run(ctx, s.limit, filepath.Join(c.workshop.root, s.module, s.pkg), env, append([]string{p.file}, s.args...)...)
	return true, e, time.Since(began), err
}

// signs are what tells why a process failed, the more telling first.
var signs = []*regexp.Regexp{
	regexp.MustCompile(`breaks \w+`),
	regexp.MustCompile(`(?m)^(?:panic|fatal error|fatal): .*$`),
	regexp.MustCompile(`(?m)^--- FAIL: \S+`),
	regexp.MustCompile(`\w+\.(?:go|lua):\d+:\d+: .*`),
}

// reason says in one line why a process failed.
func reason(e ended) string {
	if e.hung {
		return "it hangs"
	}
	for _, sign := range signs {
		if found := sign.FindString(e.output); found != "" {
			return found[:min(len(found), 120)]
		}
	}
	all := strings.TrimSpace(e.output)
	last := all[strings.LastIndexByte(all, '\n')+1:]
	return last[:min(len(last), 120)]
}

var runsLine = regexp.MustCompile(`(?m)^(\d+) runs, `)

// runsOf returns how many fleets were simulated.
func runsOf(output string) int {
	if found := runsLine.FindStringSubmatch(output); found != nil {
		n, _ := strconv.Atoi(found[1])
		return n
	}
	return 0
}
