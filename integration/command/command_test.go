package command_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

// TestWrite: each command reaches every server, and says how many applied it.
func TestWrite(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a, b := s.join("web-1", nearcache.Options[string]{}), s.join("web-2", nearcache.Options[string]{})
	s.requireAlike(2)
	for command, says := range map[string]string{
		"invalidate users 42":        "invalidated 1 key of users; 2 of 2 servers applied it (",
		"delete users 42 43":         "deleted 2 keys of users; 2 of 2 servers applied it (",
		"invalidate-tags users blue": "invalidated 1 tag of users; 2 of 2 servers applied it (",
		"clear users -at-least 2":    "cleared users; 2 of 2 servers applied it (",
	} {
		for _, m := range []*member{a, b} {
			m.fetch(t, "blue")
			loads := m.loads.Load()
			m.fetch(t, "blue")
			require.Equal(t, loads, m.loads.Load(), "it is near")
		}
		code, out, errs := s.run(strings.Fields(command)...)
		require.Zero(t, code, errs)
		assert.Contains(t, out, says)
		before := a.loads.Load() + b.loads.Load()
		a.fetch(t, "blue")
		b.fetch(t, "blue")
		assert.Equal(t, before+1, a.loads.Load()+b.loads.Load(), "%s: loaded anew, once for both", command)
	}
}

// TestWrite_JSON: what was written is a line, and keys may come from the input.
func TestWrite_JSON(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.join("web-1", nearcache.Options[string]{})
	s.requireAlike(1)
	p := started(t, s.env, strings.NewReader("42\n\n43\r\nwith space\n"), "invalidate", "users", "-", "-format=json", "-quiet")
	require.Zero(t, p.code(), p.err.String())
	var got struct {
		Op, Cache              string
		Keys, Servers, Applied int
	}
	require.NoError(t, json.Unmarshal([]byte(p.out.String()), &got))
	assert.Equal(t, "invalidate", got.Op)
	assert.Equal(t, "users", got.Cache)
	assert.Equal(t, []int{3, 1, 1}, []int{got.Keys, got.Servers, got.Applied})
	assert.Empty(t, p.err.String())
}

// TestWrite_KeepsStale: what invalidates does so as the servers would, which keep the old value
// for those who can get no other.
func TestWrite_KeepsStale(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := s.join("web-1", nearcache.Options[string]{Stale: nearcache.Stale{For: time.Hour}})
	s.requireAlike(1)
	m.fetch(t)
	code, _, errs := s.run("invalidate", "users", "42", "-timeout", "1m") // which must hear of the option
	require.Zero(t, code, errs)
	got, err := m.Read(t.Context(), "42", nearcache.ReadOptions{}, failing)
	require.NoError(t, err)
	assert.True(t, got.Stale)
	code, _, errs = s.run("delete", "users", "42")
	require.Zero(t, code, errs)
	_, err = m.Read(t.Context(), "42", nearcache.ReadOptions{}, failing)
	require.ErrorIs(t, err, errSource)
}

// TestWrite_NothingIsDone: a command that would reach nobody, or another shared tier, or a cache that
// nobody has, changes nothing and says why.
func TestWrite_NothingIsDone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := s.join("web-1", nearcache.Options[string]{})
	s.requireAlike(1)
	m.fetch(t)
	keys := func() int64 { return s.client().DBSize(t.Context()).Val() }
	before := keys()
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"clear", "usres"}, 1, "no server has a cache usres; they have users. Nothing was done: see -force"},
		{[]string{"clear", "users", "-at-least", "2"}, 1, "1 server is there, not the 2 of -at-least. Nothing was done"},
		{[]string{"clear", "users", "-namespace", "shop-staging"}, 1, "nobody listens on channel nearbus-shop-staging at redis://"},
		{[]string{"clear", "users", "-store=", "-bus", "redis://" + s.addr}, 2, "give its URL by -store or NEARBUS_STORE"},
		{[]string{"clear", "users", "-partitions=7"}, 1, "is not that of web-1: compare host, database, -namespace and -partitions"},
		{[]string{"clear", "users", "-store", "redis://" + s.addr + "/3"}, 1, "is not that of web-1: compare host, database"},
		{[]string{"invalidate", "users"}, 2, "which keys? There are none behind the cache users"},
		{[]string{"clear", "users", "42"}, 2, "clear takes no keys"},
		{[]string{"clear"}, 2, "of which cache?"},
		{[]string{"clear", "users", "-at-least=0"}, 2, "-at-least is 0, less than 1"},
	} {
		code, out, errs := s.run(c.args...)
		assert.Equal(t, c.code, code, "%v", c.args)
		assert.Contains(t, errs, c.says, "%v", c.args)
		assert.Empty(t, out)
	}
	assert.Equal(t, before, keys(), "%v", s.client().Keys(t.Context(), "*").Val())
	loads := m.loads.Load()
	m.fetch(t)
	assert.Equal(t, loads, m.loads.Load(), "it is near still")
}

// TestWrite_SomebodyDoesNotAnswer: a server whose Redis cannot be read has not applied it, and is
// named.
func TestWrite_SomebodyDoesNotAnswer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.join("web-1", nearcache.Options[string]{})
	s.joinWithoutJournal("web-2")
	code, out, errs := s.run("invalidate", "users", "42", "-timeout", "7s")
	assert.Equal(t, 1, code)
	assert.Empty(t, out)
	assert.Contains(t, errs, "nearbus invalidate: 1 of 2 servers applied it; no answer from web-2 within 7s. The shared tier has it")
}

// TestNodes: who is there, and in what they differ.
func TestNodes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.join("web-1", nearcache.Options[string]{})
	s.join("web-2", nearcache.Options[string]{})
	s.requireAlike(2)
	code, out, errs := s.run("nodes")
	require.Zero(t, code, errs)
	assert.Regexp(t, `^SERVER .*\nweb-1 .*\nweb-2 .*\n2 servers, set up alike\n$`, out)

	s.join("web-3", nearcache.Options[string]{TTL: time.Minute})
	require.Eventually(t, func() bool {
		code, out, _ = s.run("nodes")
		return code == 1 && strings.Contains(out, "\ncache users: TTL is 1m0s on web-3, 5m0s on web-1, web-2\n")
	}, patience, 100*time.Millisecond)

	code, out, errs = s.run("nodes", "-store", "redis://"+s.addr+"/2", "-bus", "redis://"+s.addr, "-format", "json")
	require.Equal(t, 1, code, errs)
	assert.Contains(t, out, `/2 is not that of web-1, web-2, web-3"`)
	code, _, errs = s.run("nodes", "-namespace", "nobody")
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, "no server is there")
}

// TestTail: what servers tell each other is printed, as text and as JSON, with keys that no
// terminal can be harmed by.
func TestTail(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := s.join("web-1", nearcache.Options[string]{})
	text, values := started(t, s.env, nil, "tail"), started(t, s.env, nil, "tail", "-format", "json", "-cache", "users", "-n", "3")
	text.await(&text.err, "-- web-1 is there")
	values.await(&values.err, "-- listening on channel nearbus-shop at redis://")
	hostile := "\x1b[2J\xff"
	require.NoError(t, m.Set(t.Context(), "42", "secret"))
	require.NoError(t, m.Delete(t.Context(), hostile))
	require.NoError(t, m.Clear(t.Context()))
	require.Zero(t, values.code(), "it has printed 3")
	require.Len(t, lines(values.out.String()), 3)
	var deleted struct {
		Node, Op, Cache, Key string
		KeyBytes             []byte
	}
	require.NoError(t, json.Unmarshal([]byte(lines(values.out.String())[1]), &deleted))
	assert.Equal(t, hostile, string(deleted.KeyBytes))
	assert.Contains(t, values.out.String(), `"op":"set","cache":"users","key":"42"`)
	assert.Contains(t, values.out.String(), `"op":"clear","cache":"users"`)
	text.await(&text.out, "clear ")
	assert.Regexp(t, `web-1 +set +users 42  @\d+/\d+\n`, text.out.String())
	assert.Contains(t, text.out.String(), `delete          users "\x1b[2J\xff"  @`)
	assert.NotContains(t, text.out.String(), "secret")

	s.join("web-2", nearcache.Options[string]{})
	text.await(&text.err, "-- web-2 is there")
	signalled(t, text, syscall.SIGINT)
	require.Zero(t, text.code())
	assert.Zero(t, m.node.Stats().Bus.Gaps, "it took its leave")
}

// TestTail_ServerIsGone: what happens to the bus is told.
func TestTail_ServerIsGone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := started(t, s.env, nil, "tail")
	p.await(&p.err, "-- listening")
	require.NoError(t, s.server.Restart(t.Context()))
	p.await(&p.err, "-- messages may have been missed: ")
	p.await(&p.err, "-- the bus is heard again")
	signalled(t, p, syscall.SIGTERM)
	assert.Zero(t, p.code())
}

// TestInterrupted: Ctrl-C, a terminal that is closed and a pipe that is end the program with a
// goodbye, so that no server misses it.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := s.join("web-1", nearcache.Options[string]{})
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}
	if signal.Ignored(syscall.SIGHUP) { // then the program, which inherits that, ignores it too: nohup
		signals = signals[:2]
	}
	for _, sig := range signals {
		p := started(t, s.env, nil, "tail")
		p.await(&p.err, "-- web-1 is there")
		signalled(t, p, sig)
		assert.Zero(t, p.code(), sig)
	}
	// A pipe whose reader has gone.
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), program, "tail")
	cmd.Env, cmd.Stdout = s.env, writer
	cmd.Stderr = writer
	require.NoError(t, cmd.Start())
	require.NoError(t, writer.Close())
	_, err = io.ReadAtLeast(reader, make([]byte, 1), 1) // it listens
	require.NoError(t, err)
	require.NoError(t, reader.Close())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	require.Eventually(t, func() bool {
		require.NoError(t, m.Set(t.Context(), "42", "v"))
		select {
		case err := <-ended:
			assert.NoError(t, err)
			return true
		default:
			return false
		}
	}, patience, 20*time.Millisecond)
	assert.Zero(t, m.node.Stats().Bus.Gaps, "all of them took their leave")

	// While it waits.
	p := started(t, append(s.env, "NEARBUS_STORE=redis://127.0.0.1:1"), nil, "nodes", "-quiet")
	time.Sleep(100 * time.Millisecond)
	signalled(t, p, syscall.SIGINT)
	assert.Equal(t, 130, p.code())
	assert.Contains(t, p.err.String(), "nearbus nodes: interrupted")
}

// TestRefused: what is typed wrong is an error that names it, with the code 2, and never the
// password.
func TestRefused(t *testing.T) {
	t.Parallel()
	const password = "s3cret-Pa55word"
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"frobnicate"}, 2, `there is no command "frobnicate"; see nearbus help`},
		{[]string{"help", "frobnicate"}, 2, `there is no command "frobnicate"`},
		{[]string{"completion", "tcsh"}, 2, "want one of bash, zsh, fish"},
		{[]string{"tail", "-frobnicate"}, 2, "flag provided but not defined: -frobnicate; see nearbus help tail"},
		{[]string{"tail", "-timeout", password}, 2, "the value of -timeout is not valid: want a time, such as 5s; see nearbus help tail"},
		{[]string{"tail", "-timeout", "-1s"}, 2, "-timeout is -1s, not positive"},
		{[]string{"tail", "-format", "xml"}, 2, `-format is "xml", not one of text, json`},
		{[]string{"tail", "-n", "-1", "-store", "redis://h"}, 2, "-n is negative"},
		{[]string{"tail", "extra", "-store", "redis://h"}, 2, `what is "extra" for? See nearbus help tail`},
		{[]string{"tail"}, 2, "where is the bus? Give -bus or NEARBUS_BUS"},
		{[]string{"tail", "-store", "http://" + password}, 2, "-store must begin with one of redis://"},
		{[]string{"tail", "-bus", "memcached://h"}, 2, "-bus must begin with one of nats://"},
		{[]string{"tail", "-store", "redis://user:" + password + "/x@host:1"}, 2, "-store is no valid URL: want redis://USER:PASSWORD@HOST:PORT"},
		{[]string{"tail", "-store", "redis://user:" + password + "%zz@host:1"}, 2, "-store is no valid URL"},
		{[]string{"tail", "-store", "redis://host:port"}, 2, "-store: what is to be a host is none, or has no valid port"},
		{[]string{"tail", "-store", "redis://user:" + password}, 2, "-store: what is to be a host is none, or has no valid port"},
		{[]string{"tail", "-store", "redis://h/x"}, 2, `"x" is no number of a database`},
		{[]string{"tail", "-store", "redis://a,b"}, 2, "-store has several hosts: want redis+cluster://"},
		{[]string{"tail", "-store", "redis+sentinel://a"}, 2, "with the name of the master"},
		{[]string{"tail", "-store", "redis://h", "-namespace", "a b"}, 2, `-namespace: namespace "a b"`},
		{[]string{"inspect", "users", "42", "-store", "redis://h", "-namespace", "a b"}, 2, `-namespace: namespace "a b"`},
		{[]string{"inspect", "users", "42", "-store", "redis://h", "-partitions", "-1"}, 2, "-partitions is -1, not in 0 to"},
		{[]string{"inspect", "us ers", "42", "-store", "redis://h"}, 2, `CACHE is "us ers": want 1 to 64 of`},
		{[]string{"inspect", "users", "", "-store", "redis://h"}, 2, `KEY is "", of 0 bytes: in cache users a key has 1 to 1018`},
		{[]string{"clear", "us ers", "-store", "redis://h"}, 2, `CACHE is "us ers": want 1 to 64 of`},
		{[]string{"delete", "users", "42", "", "-store", "redis://h"}, 2, `KEY is "", of 0 bytes`},
		{[]string{"invalidate-tags", "users", "", "-store", "redis://h"}, 2, `TAG is "", of 0 bytes: a tag has 1 to 256`},
		{[]string{"version", "x"}, 2, `what is "x" for?`},
		{[]string{"tail", "-store", "rediss://h", "-ca", "/nowhere"}, 2, "-ca: open /nowhere"},
		{[]string{"tail", "-store", "rediss://h", "-cert", "/nowhere"}, 2, "-cert and -key belong together"},
		{[]string{"nodes", "-store", "redis://user:" + password + "@127.0.0.1:1", "-timeout", "100ms"}, 1, "the bus at redis://127.0.0.1:1 is not heard"},
		{[]string{"nodes", "-bus", "nats://user:" + password + "@127.0.0.1:1"}, 1, "nats://127.0.0.1:1: nats: no servers available"},
	} {
		p := started(t, nil, nil, c.args...)
		assert.Equal(t, c.code, p.code(), "%v", c.args)
		assert.Contains(t, p.err.String(), c.says, "%v", c.args)
		assert.NotContains(t, p.err.String(), password)
		assert.Empty(t, p.out.String())
		assert.Len(t, lines(p.err.String()), 1, p.err.String())
	}
	p := started(t, []string{"NEARBUS_TIMEOUT=" + password}, nil, "tail")
	assert.Equal(t, 2, p.code())
	assert.Equal(t, "nearbus tail: NEARBUS_TIMEOUT has no valid value; see nearbus help tail\n", p.err.String())
}

// TestNodes_Refused: who is refused for good is told at once, whatever -timeout is.
func TestNodes_Refused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for store, says := range map[string]string{
		"redis://app:wrong@" + s.addr: "is not heard: redisbus: subscribe: .*WRONGPASS",
		"redis://" + s.addr + "/99":   "DB index is out of range",
		"redis+cluster://" + s.addr:   "cluster support disabled",
	} {
		code, _, errs := s.run("nodes", "-store", store, "-timeout", "1h")
		assert.Equal(t, 1, code)
		assert.Regexp(t, says, errs)
	}
}

// TestHelp: every command has help with examples, and shells can read what completes them.
func TestHelp(t *testing.T) {
	t.Parallel()
	p := started(t, nil, nil)
	require.Zero(t, p.code())
	for _, name := range []string{"tail", "nodes", "invalidate", "invalidate-tags", "delete", "clear", "inspect", "doctor"} {
		assert.Contains(t, p.out.String(), "\n  "+name+" ")
		help := started(t, nil, nil, name, "-h")
		require.Zero(t, help.code())
		assert.Contains(t, help.out.String(), "\nexamples:\n  nearbus "+name)
		assert.Contains(t, help.out.String(), "[NEARBUS_STORE]")
	}
	for _, name := range []string{"help", "version", "completion"} {
		for _, args := range [][]string{{"help", name}, {name, "-h"}} {
			help := started(t, nil, nil, args...)
			require.Zero(t, help.code(), help.err.String())
			assert.Contains(t, help.out.String(), "\nusage: nearbus "+name)
		}
	}
	script := started(t, nil, nil, "completion", "bash")
	require.Zero(t, script.code())
	bash := exec.CommandContext(t.Context(), "bash", "-c", script.out.String()+`
COMP_WORDS=(nearbus inv) COMP_CWORD=1; _nearbus; echo "${COMPREPLY[@]}"
COMP_WORDS=(nearbus tail -ca) COMP_CWORD=2; _nearbus; echo "${COMPREPLY[@]}"
COMP_WORDS=(nearbus doctor -format "") COMP_CWORD=3; _nearbus; echo "${COMPREPLY[@]}"
COMP_WORDS=(nearbus tail -n "") COMP_CWORD=3; _nearbus; echo "${COMPREPLY[@]}"
COMP_WORDS=(nearbus tail -ca command_tes) COMP_CWORD=3; _nearbus; echo "${COMPREPLY[@]}"
COMP_WORDS=(nearbus clear -force -tim) COMP_CWORD=3; _nearbus; echo "${COMPREPLY[@]}"`)
	out, err := bash.CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Equal(t, "invalidate invalidate-tags\n-ca -cache\ntext json prometheus nagios\n\ncommand_test.go\n-timeout\n", string(out))
}

var errSource = errors.New("the source is down")

func failing(context.Context, string, *string) (nearcache.Loaded[string], error) {
	return nearcache.Loaded[string]{}, errSource
}
