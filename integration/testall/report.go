package main

import (
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// event is one line of go test -json.
type event struct {
	Action     string
	Package    string
	ImportPath string // of a package that does not build
	Test       string // empty for the package as a whole
	Output     string
	Elapsed    float64
}

// report counts results and keeps what tests print until they pass.
type report struct {
	out                     io.Writer
	passed, failed, skipped int
	pending                 map[string]*packageRun
	builds                  map[string]*strings.Builder // output of failed builds

	times []string // a line for each argument

	givenUp []string // packages to be tested again
	lastTry bool     // there is no further time
}

// accusations are how lines begin that report a failure of a test which is still
// running: if the race detector gives up after that, the test has no result.
var accusations = []string{"WARNING: DATA RACE", "panic: ", "fatal error: "}

// detectorFailed is what a program prints whose race detector found itself in a
// state that cannot be. With bubbles of testing/synctest it now and then does,
// https://go.dev/issue/78156, and says nothing of the tests.
const detectorFailed = "ThreadSanitizer: CHECK failed"

// runtimeFailed is how a crash of the runtime itself begins, which comes of the same: a
// fault in Go code without cgo and unsafe is a panic, and is reported as one.
const runtimeFailed = "SIGSEGV: segmentation violation"

// packageRun is what is known of a package whose tests still run.
type packageRun struct {
	passed, failed int
	givenUp        bool                        // by the race detector
	accused        bool                        // something else was reported before, of a test that may never end
	output         map[string]*strings.Builder // by test, "" for the package
}

// read takes in a line that the package printed.
func (p *packageRun) read(line string) {
	begins := func(with string) bool { return strings.HasPrefix(line, with) }
	p.accused = p.accused || !p.givenUp && slices.ContainsFunc(accusations, begins)
	p.givenUp = p.givenUp || begins(detectorFailed) || begins(runtimeFailed)
}

func newReport(out io.Writer) *report {
	return &report{
		out:     out,
		pending: make(map[string]*packageRun),
		builds:  make(map[string]*strings.Builder),
	}
}

func (r *report) add(e event) {
	switch {
	case e.Action == "build-output":
		appendTo(r.builds, e.ImportPath, e.Output)
	case e.Action == "build-fail":
		r.print(r.builds, e.ImportPath)
	case e.Action == "output":
		r.run(e.Package).read(e.Output)
		if !chatter(e.Output) {
			appendTo(r.run(e.Package).output, e.Test, e.Output)
		}
	case e.Test != "":
		r.endTest(e)
	default:
		r.endPackage(e)
	}
}

func (r *report) endTest(e event) {
	run := r.run(e.Package)
	switch e.Action {
	case "pass":
		r.passed++
		run.passed++
		delete(run.output, e.Test)
	case "skip":
		r.skipped++
		r.print(run.output, e.Test)
	case "fail":
		r.failed++
		run.failed++
		r.print(run.output, e.Test)
	}
}

// endPackage takes a package that failed although none of its tests did as one
// failed test, and shows what it and its unfinished tests printed: also where the
// package is tested again, since one of them may have complained before.
func (r *report) endPackage(e event) {
	run := r.run(e.Package)
	switch e.Action {
	case "pass":
		fmt.Fprintf(r.out, "ok    %-60s %6.1fs\n", e.Package, e.Elapsed)
	case "fail":
		for _, test := range slices.Sorted(maps.Keys(run.output)) {
			r.print(run.output, test)
		}
		if run.givenUp && !run.accused && run.failed == 0 && !r.lastTry {
			r.passed -= run.passed
			r.givenUp = append(r.givenUp, e.Package)
			fmt.Fprintf(r.out, "again %-60s %6.1fs  %s\n", e.Package, e.Elapsed, detectorFailed)
			break
		}
		if run.failed == 0 {
			r.failed++
		}
		fmt.Fprintf(r.out, "FAIL  %-60s %6.1fs\n", e.Package, e.Elapsed)
	case "start":
		return
	}
	delete(r.pending, e.Package)
}

// fail counts a failure that is none of a single test's.
func (r *report) fail(reason string) {
	r.failed++
	fmt.Fprintf(r.out, "FAIL  %s\n", reason)
}

// took takes in how long the tests of an argument took, building included. Its line has the last
// part of the directory, and the tag.
func (r *report) took(what string, d time.Duration) {
	dir, rest, _ := strings.Cut(what, ",")
	tag, _, _ := strings.Cut(rest, ",")
	r.times = append(r.times, strings.TrimSpace(fmt.Sprintf("time  %6.1fs  %s %s", d.Seconds(), filepath.Base(dir), tag)))
}

// close prints the times and the closing line, and reports whether every test passed.
func (r *report) close() bool {
	for _, line := range r.times {
		fmt.Fprintln(r.out, line)
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
	return r.passed > 0 && r.failed == 0 && r.skipped == 0
}

func (r *report) run(pkg string) *packageRun {
	if r.pending[pkg] == nil {
		r.pending[pkg] = &packageRun{output: make(map[string]*strings.Builder)}
	}
	return r.pending[pkg]
}

func (r *report) print(outputs map[string]*strings.Builder, key string) {
	if text := outputs[key]; text != nil {
		fmt.Fprint(r.out, text)
	}
	delete(outputs, key)
}

// chatter reports whether a line of go test says only what the report says too.
func chatter(line string) bool {
	return strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "FAIL\t") || line == "FAIL\n"
}

func appendTo(outputs map[string]*strings.Builder, key, text string) {
	if outputs[key] == nil {
		outputs[key] = &strings.Builder{}
	}
	outputs[key].WriteString(text)
}
