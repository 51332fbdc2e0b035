// Package command_test runs the program nearbus as a process, on real servers.
package command_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearredis"
)

// program is the path of the program.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "nearbus-command-")
	if err == nil {
		program = filepath.Join(dir, "nearbus")
		build := exec.Command("go", "build", "-o", program, "./bus/cmd/nearbus")
		build.Dir = "../.."
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// patience is how long anything may take on a machine that has much else to do.
const patience = time.Minute

// output is what a process prints. It may be read while the process runs.
type output struct {
	mu   sync.Mutex // protects text
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// process is a run of the program.
type process struct {
	t        *testing.T
	cmd      *exec.Cmd
	out, err output
}

// started starts the program; env has variables, as NAME=VALUE.
func started(t *testing.T, env []string, in io.Reader, args ...string) *process {
	t.Helper()
	p := &process{t: t}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	p.cmd = exec.CommandContext(ctx, program, args...)
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, env...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = in, &p.out, &p.err
	require.NoError(t, p.cmd.Start())
	return p
}

// code waits for the end, and returns the exit code; -1 if a signal ended it.
func (p *process) code() int {
	p.t.Helper()
	_ = p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) await(o *output, text string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return strings.Contains(o.String(), text) }, patience, 5*time.Millisecond,
		"%q in %q, %q", text, &p.out, &p.err)
}

// site is a Redis with a fleet.
type site struct {
	t      *testing.T
	server *servers.Process
	addr   string
	env    []string
	user   string // of servers that join; "" is that of all
}

func newSite(t *testing.T, args ...string) *site {
	t.Helper()
	s := &site{t: t, server: servers.Redis(t, args...)}
	s.addr = s.server.Addr
	s.env = []string{"NEARBUS_STORE=redis://" + s.addr, "NEARBUS_NAMESPACE=shop", "NEARBUS_TIMEOUT=30s"}
	return s
}

// run runs the program to its end.
func (s *site) run(args ...string) (code int, out, errs string) {
	s.t.Helper()
	p := started(s.t, s.env, nil, args...)
	code = p.code()
	return code, p.out.String(), p.err.String()
}

// member is a server of the fleet.
type member struct {
	*nearcache.Cache[string]
	node  *nearcache.Node
	loads atomic.Int64
}

// passwords are those of users.
var passwords = map[string]string{"": "", "app": "p"}

// client returns a client of the Redis.
func (s *site) client() *redis.Client {
	s.t.Helper()
	client := redis.NewClient(nearredis.Recommend(&redis.Options{Addr: s.addr, Username: s.user, Password: passwords[s.user]}))
	s.t.Cleanup(func() { _ = client.Close() })
	return client
}

// join adds a server, with a cache users, and waits for it.
func (s *site) join(name string, opts nearcache.Options[string]) *member {
	s.t.Helper()
	return s.joinWith(name, opts, nearredis.Options{Namespace: "shop"})
}

func (s *site) joinWith(name string, opts nearcache.Options[string], node nearredis.Options) *member {
	s.t.Helper()
	node.Bus = bus.Options{Node: name}
	n, err := nearredis.Open(s.t.Context(), s.client(), node)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { n.Close(s.t.Context()) })
	m := &member{node: n}
	m.Cache, err = nearcache.New(n, "users", opts)
	require.NoError(s.t, err)
	require.Eventually(s.t, func() bool { h := n.Health(); return h.Trusted && !h.BusCut }, patience, time.Millisecond)
	return m
}

// fetch has the key 42 near.
func (m *member) fetch(t *testing.T, tags ...string) {
	t.Helper()
	_, err := m.FetchEntry(t.Context(), "42", func(context.Context, string, *string) (nearcache.Loaded[string], error) {
		m.loads.Add(1)
		return nearcache.Loaded[string]{Value: "v", Tags: tags}, nil
	})
	require.NoError(t, err)
}

// joinWithoutJournal is join for a server that is the second, and that may not read its journal
// any more.
func (s *site) joinWithoutJournal(name string) {
	s.t.Helper()
	admin, ctx := s.client(), s.t.Context()
	require.NoError(s.t, admin.Do(ctx, "ACL", "SETUSER", "app", "on", ">p", "~*", "&*", "+@all").Err())
	s.user = "app"
	s.join(name, nearcache.Options[string]{})
	s.user = ""
	s.requireAlike(2)
	require.NoError(s.t, admin.Do(ctx, "ACL", "SETUSER", "app", "-xrange").Err())
}

// requireAlike waits until the servers have told the same of their shared tier.
func (s *site) requireAlike(count int) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		code, out, _ := s.run("nodes", "-format", "json")
		var report struct {
			Servers []struct{ Tier, Options string }
		}
		if code != 0 || json.Unmarshal([]byte(out), &report) != nil || len(report.Servers) != count {
			return false
		}
		for _, n := range report.Servers {
			if n.Tier == "" || n.Options == "" {
				return false
			}
		}
		return true
	}, patience, 100*time.Millisecond)
}

// lines returns the lines of a text, without the empty one at its end.
func lines(text string) []string {
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

func signalled(t *testing.T, p *process, sig syscall.Signal) {
	t.Helper()
	assert.NoError(t, p.cmd.Process.Signal(sig))
}
