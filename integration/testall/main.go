// Command testall runs the tests of several modules and says in one closing
// line how many passed, failed and were skipped, after a line for the time of each
// argument. It prints what failing tests printed, and nothing of the others. A skipped
// test is a failure.
//
//	testall [-flags 'flags of go test'] directory[,tag,packages[,tests]]...
//
// A directory is that of a module. Packages are separated by spaces. With a build tag,
// they are tested in programs that are built with it, by the tests that match an
// expression. Such programs have no race detector: it sees the same code without the
// tag.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

func main() {
	flags := flag.String("flags", "", "flags of go test, separated by spaces")
	flag.Parse()
	report := newReport(os.Stdout)
	for _, what := range flag.Args() {
		began := time.Now()
		if err := testModule(report, what, strings.Fields(*flags)); err != nil {
			report.fail(fmt.Sprintf("%s: %v", what, err))
		}
		report.took(what, time.Since(began))
	}
	if !report.close() {
		os.Exit(1)
	}
}

// maxTries is how often a package is tested that the race detector gives up. One with many bubbles
// may lose it in a third of its runs.
const maxTries = 4

// testModule runs the tests of one module, and again those of packages that
// the race detector gave up. An error of go test that no test accounts for is
// returned.
func testModule(report *report, what string, flags []string) error {
	dir, rest, some := strings.Cut(what, ",")
	packages := []string{"./..."}
	if some {
		what := append(strings.SplitN(rest, ",", 3), "", "")
		if packages = strings.Fields(what[1]); len(packages) == 0 {
			return errors.New("no packages")
		}
		if what[0] != "" {
			flags = append(withoutRace(flags), "-tags", what[0])
		}
		flags = append(slices.Clone(flags), "-run", what[2])
	}
	for try := 1; ; try++ {
		report.givenUp, report.lastTry = nil, try == maxTries
		if err := testPackages(report, dir, flags, packages...); err != nil || len(report.givenUp) == 0 {
			return err
		}
		packages = report.givenUp
	}
}

func withoutRace(flags []string) []string {
	return slices.DeleteFunc(slices.Clone(flags), func(flag string) bool { return flag == "-race" })
}

func testPackages(report *report, dir string, flags []string, packages ...string) error {
	cmd := exec.Command("go", slices.Concat([]string{"test", "-json"}, flags, packages)...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	failed := report.failed
	unread, err := readEvents(report, out), cmd.Wait()
	accounted := report.failed > failed || len(report.givenUp) > 0
	if exit := (*exec.ExitError)(nil); unread == nil && accounted && errors.As(err, &exit) && exit.Exited() {
		return nil
	}
	return errors.Join(unread, err)
}

func readEvents(report *report, out io.Reader) error {
	decoder := json.NewDecoder(bufio.NewReader(out))
	for {
		var e event
		if err := decoder.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			_, _ = io.Copy(io.Discard, out) // go test must not wait for its reader.
			return err
		}
		report.add(e)
	}
}
