package integration_test

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
)

// TestStart: the program of the page docs/start.md builds, its commands print what the page
// shows, and so do its processes.
func TestStart(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/start.md")
	require.NoError(t, err)
	s := &session{t: t, dir: t.TempDir(), addrs: map[string]string{"localhost:6379": servers.Redis(t).Addr}}
	for _, block := range regexp.MustCompile("(?ms)^```(go)?\n(.*?)^```$").FindAllStringSubmatch(string(page), -1) {
		switch {
		case block[1] == "go":
			s.build(block[2])
		case strings.HasPrefix(block[2], "$ "):
			for command := range strings.SplitSeq(strings.TrimPrefix(block[2], "$ "), "\n$ ") {
				line, prints, _ := strings.Cut(command, "\n")
				s.run(line, prints)
			}
		default:
			s.awaitPrinted(block[2])
		}
	}
	require.Len(t, s.processes, 3)
	for _, p := range s.processes { // Ctrl-C
		require.NoError(t, p.Process.Signal(os.Interrupt))
		assert.NoError(t, p.Wait(), "%s", p)
	}
}

// session is what a reader of the page has after some of its steps.
type session struct {
	t         *testing.T
	dir       string
	addrs     map[string]string // those of this run, by those of the page
	processes []*exec.Cmd       // which go on; what each prints is in a file
}

// build builds the program of the page, which needs the modules of the user service, and the
// command.
func (s *session) build(source string) {
	s.t.Helper()
	main := filepath.Join(s.dir, "main.go")
	require.NoError(s.t, os.WriteFile(main, []byte(source), 0o600))
	for _, build := range []struct{ in, program, of string }{
		{"../examples/userservice", "shop", main},
		{"..", "nearbus", "./bus/cmd/nearbus"},
	} {
		cmd := exec.CommandContext(s.t.Context(), "go", "build", "-o", filepath.Join(s.dir, build.program), build.of)
		cmd.Dir = build.in
		out, err := cmd.CombinedOutput()
		require.NoError(s.t, err, "%s", out)
	}
}

// run runs a command of the page, again and again until it prints what the page shows: a message
// may be on its way.
func (s *session) run(command, prints string) {
	s.t.Helper()
	done := regexp.MustCompile(`^(mkdir shop|go |redis-server|export )`) // by the test, in its own way
	switch {
	case done.MatchString(command):
	case strings.HasPrefix(command, "./shop"):
		s.start(command + " -listen localhost:0 -redis " + s.addrs["localhost:6379"])
		_, name, _ := strings.Cut(command, "-listen ")
		s.addrs[cmp.Or(name, "localhost:8081")] = s.listens()
	case command == "nearbus tail":
		s.start(command)
	default:
		s.await(command, func() (string, bool) {
			out, err := s.shell(s.here(command)).Output()
			return fmt.Sprintf("%s%v", out, err), err == nil && alike(prints, s.there(string(out)))
		})
	}
}

// start starts a process that goes on.
func (s *session) start(command string) {
	s.t.Helper()
	terminal, err := os.Create(s.terminal(len(s.processes)))
	require.NoError(s.t, err)
	defer terminal.Close()
	p := s.shell("exec " + command)
	p.Stdout, p.Stderr = terminal, terminal
	require.NoError(s.t, p.Start())
	s.processes = append(s.processes, p)
}

// listens returns where the newest process says that it listens.
func (s *session) listens() (addr string) {
	s.t.Helper()
	line := regexp.MustCompile(`listening on (\S+)\n`)
	s.await("a process that listens", func() (string, bool) {
		printed := s.printed(len(s.processes) - 1)
		if found := line.FindStringSubmatch(printed); found != nil {
			addr = found[1]
		}
		return printed, addr != ""
	})
	return addr
}

// awaitPrinted awaits that processes have printed each line that the page shows.
func (s *session) awaitPrinted(lines string) {
	s.t.Helper()
	for line := range strings.Lines(lines) {
		s.await(line, func() (string, bool) {
			var all string
			for i := range s.processes {
				all += s.there(s.printed(i))
			}
			printed := slices.Collect(strings.Lines(all))
			return all, slices.ContainsFunc(printed, func(p string) bool { return alike(line, p) })
		})
	}
}

func (s *session) await(what string, seen func() (string, bool)) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		found, ok := seen()
		if ok {
			return
		}
		require.True(s.t, time.Now().Before(deadline), "%s\n%s", what, found)
	}
}

func (s *session) terminal(i int) string {
	return filepath.Join(s.dir, fmt.Sprint("terminal-", i))
}

func (s *session) printed(i int) string {
	s.t.Helper()
	printed, err := os.ReadFile(s.terminal(i))
	require.NoError(s.t, err)
	return string(printed)
}

func (s *session) shell(line string) *exec.Cmd {
	shell := exec.CommandContext(s.t.Context(), "sh", "-c", line)
	shell.Dir = s.dir
	shell.Env = append(os.Environ(), "PATH="+s.dir+":"+os.Getenv("PATH"),
		"NEARBUS_STORE=redis://"+s.addrs["localhost:6379"], "NEARBUS_NAMESPACE=shop")
	return shell
}

// here returns a command of the page with the addresses of this run.
func (s *session) here(command string) string {
	for page, own := range s.addrs {
		command = strings.ReplaceAll(command, page, own)
	}
	return command
}

// there returns what was printed with the addresses of the page. A process prints its own as a
// number.
func (s *session) there(printed string) string {
	for page, own := range s.addrs {
		if page != "localhost:6379" {
			page = strings.Replace(page, "localhost", "127.0.0.1", 1)
		}
		printed = regexp.MustCompile(regexp.QuoteMeta(own)+`\b`).ReplaceAllString(printed, page)
	}
	return printed
}

// alike reports whether two texts have the same lines, in any order, but for what differs from
// run to run.
func alike(a, b string) bool { return slices.Equal(essence(a), essence(b)) }

var varying = []struct {
	what *regexp.Regexp
	name string
}{
	{regexp.MustCompile(`(\d{4}/\d\d/\d\d )?\d\d:\d\d:\d\d(\.\d{3})?`), "TIME"},
	{regexp.MustCompile(`(\d+m)?\d+(\.\d+)?(ms|µs|s)\b`), "DURATION"},
	{regexp.MustCompile(`\b[0-9a-f]{8}\b`), "HASH"},
	{regexp.MustCompile(`\b\d{16}\b`), "REVISION"},
	{regexp.MustCompile(`(?m)^(nearbus_.*) \d+$`), "$1 COUNT"},
	{regexp.MustCompile(` +`), " "}, // the width of columns
}

func essence(text string) []string {
	for _, v := range varying {
		text = v.what.ReplaceAllString(text, v.name)
	}
	return slices.Sorted(strings.SplitSeq(strings.TrimSpace(text), "\n"))
}
