package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
)

// typing parses what is typed.
func typing(t *testing.T, env map[string]string, args ...string) (*invocation, error) {
	t.Helper()
	return commandNamed("tail").parse(args, &console{env: func(name string) string { return env[name] }})
}

// TestParse: flags may come after arguments, arguments may look like flags behind "--", and what is
// typed goes before the environment.
func TestParse(t *testing.T) {
	env := map[string]string{"NEARBUS_STORE": "redis://a", "NEARBUS_TIMEOUT": "7s", "NEARBUS_FORMAT": "nagios"}
	inv, err := typing(t, env, "x", "-n=3", "y", "-store", "redis://b", "--", "-z", "--")
	require.NoError(t, err)
	assert.Equal(t, []string{"x", "y", "-z", "--"}, inv.args)
	assert.Equal(t, "redis://b", inv.storeURL)
	assert.Equal(t, 7*time.Second, inv.timeout)
	assert.Equal(t, 3, inv.count)
	assert.Equal(t, "text", inv.format, "the variable is of another command")
	inv, err = typing(t, nil, "-n", "3", "--", "-n")
	require.NoError(t, err)
	assert.Equal(t, []string{"-n"}, inv.args)
}

// TestTailPrinter: one line for what is alike, keys that a terminal cannot be harmed by, and no more
// than was asked for.
func TestTailPrinter(t *testing.T) {
	var out bytes.Buffer
	inv := &invocation{console: &console{out: &out, err: &out}, format: "text", count: 26}
	p := &tailPrinter{inv: inv, full: make(chan struct{})}
	var many []bus.Invalidation
	for range 25 {
		many = append(many, bus.Invalidation{Op: bus.OpDelete, Cache: "users", Key: "k"})
	}
	many = append(many, bus.Invalidation{Op: bus.OpSet, Cache: "users", Key: "\x1b[2J", Epoch: 5, Revision: 7}, bus.Invalidation{Op: bus.OpClear, Cache: "x"})
	p.apply(bus.Message{Node: "web\n1", Invalidations: many})
	<-p.full
	p.apply(bus.Message{Node: "web-2", Invalidations: many})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 2, out.String())
	assert.Contains(t, lines[0], `"web\n1"             delete          users `+strings.Repeat("k ", 20)+"and 5 more")
	assert.Contains(t, lines[1], `set             users "\x1b[2J"  @5/7`)
}

// TestTailPrinter_Revision: text and JSON have revisions as inspect prints them.
func TestTailPrinter_Revision(t *testing.T) {
	m := bus.Message{Node: "web-1", Invalidations: []bus.Invalidation{{Op: bus.OpSet, Cache: "users", Key: "42", Epoch: 5, Revision: 7}}}
	want := nearcache.Revision{Epoch: 5, Number: 7}.String()
	for format, has := range map[string]string{"text": "  @" + want + "\n", "json": `"revision":"` + want + `"}`} {
		var out bytes.Buffer
		p := &tailPrinter{inv: &invocation{console: &console{out: &out}, format: format}}
		p.apply(m)
		assert.Contains(t, out.String(), has)
	}
}

// TestTail_Quiet: with -quiet, only what may have been missed is told beside the output.
func TestTail_Quiet(t *testing.T) {
	for quiet, want := range map[bool][]string{
		false: {"-- listening on channel nearbus at redis://h:6379", "-- web-1 is there", "-- messages may have been missed: EOF", "-- the bus is heard again", "-- web-1 has left"},
		true:  {"-- messages may have been missed: EOF", "-- the bus is heard again"},
	} {
		var told bytes.Buffer
		inv := &invocation{console: &console{err: &told}, quiet: quiet}
		p := &tailPrinter{inv: inv, where: "channel nearbus", at: &address{scheme: "redis", hosts: []string{"h:6379"}}}
		p.back()
		known := inv.tellPeers(nil, []bus.Peer{{Node: "web-1", Incarnation: 7}})
		p.cut(io.EOF)
		p.back()
		inv.tellPeers(known, nil)
		assert.Equal(t, want, strings.Split(strings.TrimSpace(told.String()), "\n"))
	}
}

// TestOpenRedis_Timeouts: no client waits for a server that hangs as long as the command may take.
func TestOpenRedis_Timeouts(t *testing.T) {
	for _, url := range []string{"redis://h", "redis+sentinel://h/main", "redis+cluster://h"} {
		inv, err := typing(t, nil, "-store", url, "-timeout", "6s")
		require.NoError(t, err)
		f, err := inv.openStore()
		require.NoError(t, err)
		var dial, read, write time.Duration
		switch client := f.redis.(type) {
		case *redis.Client:
			dial, read, write = client.Options().DialTimeout, client.Options().ReadTimeout, client.Options().WriteTimeout
		case *redis.ClusterClient:
			dial, read, write = client.Options().DialTimeout, client.Options().ReadTimeout, client.Options().WriteTimeout
		}
		assert.Equal(t, []time.Duration{2 * time.Second, 2 * time.Second, 2 * time.Second}, []time.Duration{dial, read, write}, url)
		require.NoError(t, f.close())
	}
}

// TestReport_Unconfirmed: a write that was not confirmed says why, and how far it came when it was
// interrupted.
func TestReport_Unconfirmed(t *testing.T) {
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx     context.Context
		applied int
		err     error
		want    coded
	}{
		"a silent server": {
			t.Context(), 1, &bus.BarrierError{Missing: []string{"web-2"}, Err: context.DeadlineExceeded},
			coded{exitFailed, "1 of 2 servers applied it; no answer from web-2 within 1s"},
		},
		"a server that left": {
			t.Context(), 1, &bus.BarrierError{Err: context.DeadlineExceeded},
			coded{exitFailed, "1 of 2 servers applied it within 1s"},
		},
		"too short": {
			t.Context(), 2, &bus.BarrierError{Err: context.DeadlineExceeded},
			coded{exitFailed, "2 of 2 servers applied it; 1s was too short to hear whether other servers are there: give a longer -timeout"},
		},
		"interrupted": {
			interrupted, 2, &bus.BarrierError{Err: context.Canceled},
			coded{exitInterrupted, "interrupted: 2 of 2 servers applied it so far"},
		},
		"interrupted early": {interrupted, 0, context.Canceled, coded{exitInterrupted, "interrupted: context canceled"}},
	} {
		inv := &invocation{console: &console{}, format: "text", timeout: time.Second}
		w := &write{inv: inv, op: "invalidate", fleet: &fleet{}, peers: make([]bus.Peer, 2)}
		assert.Equal(t, c.want, w.report(c.ctx, c.applied, time.Second, c.err), name)
	}
}

// TestCheckup_Print: what servers call themselves cannot break a line, a label or a status.
func TestCheckup_Print(t *testing.T) {
	c := &checkup{inv: &invocation{console: &console{}}}
	c.ok("a", "h:1", "is well")
	c.add(finding{Severity: critical, Check: "fleet", At: `h"\`, What: namesOf([]bus.Peer{{Node: "x\n|y"}}) + " is ill", Change: "mend it"})
	c.skip("b", "", "may not look")
	assert.Equal(t, critical, c.worst())
	for format, want := range map[string]string{
		"text": "critical  fleet  h\"\\: \"x\\n|y\" is ill. Change: mend it\nskipped   b      may not look\nok        a      h:1: is well\n" +
			"3 checks: 1 critical, 0 warnings, 1 skipped\n",
		"nagios": "NEARBUS CRITICAL - 3 checks: 1 critical, 0 warnings, 1 skipped; h\"\\: \"x\\n/y\" is ill. Change: mend it | critical=1 warning=0 skipped=1\n" +
			"CRITICAL: h\"\\: \"x\\n/y\" is ill. Change: mend it\n",
		"prometheus": "# HELP nearbus_doctor_check What nearbus doctor found: 0 ok, 1 warning, 2 critical, 3 skipped.\n# TYPE nearbus_doctor_check gauge\n" +
			"nearbus_doctor_check{check=\"a\",server=\"h:1\"} 0\nnearbus_doctor_check{check=\"fleet\",server=\"h\\\"\\\\\"} 2\nnearbus_doctor_check{check=\"b\",server=\"\"} 3\n",
	} {
		var out bytes.Buffer
		c.inv.format, c.inv.out = format, &out
		require.NoError(t, c.print())
		assert.Equal(t, want, out.String(), format)
	}
}

// TestUnlikeOptions: of caches that servers have in common, each option that differs is told with who
// has which value.
func TestUnlikeOptions(t *testing.T) {
	digests := map[uint64][]bus.Peer{1: {{Node: "a"}, {Node: "b"}}, 2: {{Node: "c"}}}
	options := map[uint64][]bus.Setting{
		1: {{Cache: "!node", Option: "journals", Value: "1"}, {Cache: "users", Option: "TTL", Value: "5m"}, {Cache: "only", Option: "TTL", Value: "1m"}},
		2: {{Cache: "!node", Option: "journals", Value: "0"}, {Cache: "users", Option: "TTL", Value: "1m"}},
	}
	assert.Equal(t, []string{
		"servers: journals is 0 on c, 1 on a, b", "cache users: TTL is 1m on c, 5m on a, b",
	}, unlikeOptions(digests, options))
}

// TestOthers: those who differ are the smaller groups; who tells nothing does not.
func TestOthers(t *testing.T) {
	tier := func(p *bus.Peer) uint64 { return p.About.Tier }
	peers := []bus.Peer{{Node: "a", About: bus.About{Tier: 1}}, {Node: "b", About: bus.About{Tier: 2}}, {Node: "c", About: bus.About{Tier: 2}}, {Node: "d"}}
	groups := others(peers, tier)
	require.Len(t, groups, 1)
	assert.Equal(t, "a", namesOf(groups[0]))
	assert.Empty(t, others(peers[1:], tier))
	assert.Empty(t, others(nil, tier))
}

// TestListen_Beats: servers with a short HeartbeatTimeout do not miss the program.
func TestListen_Beats(t *testing.T) {
	l, err := (&fleet{transport: membus.NewHub().Join()}).listen(true)
	require.NoError(t, err)
	assert.Equal(t, 200*time.Millisecond, l.HeartbeatInterval())
	assert.NoError(t, l.Close())
}

// TestListen_ReadOnly: who only looks cannot publish, so that servers do not miss it, and who
// invalidates can.
func TestListen_ReadOnly(t *testing.T) {
	clear := bus.Invalidation{Op: bus.OpClear, Cache: "users"}
	for publishes, want := range map[bool]error{false: bus.ErrReadOnly, true: nil} {
		l, err := (&fleet{transport: membus.NewHub().Join()}).listen(publishes)
		require.NoError(t, err)
		require.ErrorIs(t, l.Publish(t.Context(), clear), want)
		assert.NoError(t, l.Close())
	}
}

// TestReadKeys_Interrupted: nobody has to end the input to end the program.
func TestReadKeys_Interrupted(t *testing.T) {
	in, out := io.Pipe()
	defer out.Close()
	w := &write{inv: &invocation{console: &console{in: in}, args: []string{"users", "-"}, atLeast: 1}, keyed: true}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, w.arguments(ended), context.Canceled)

	w.inv.in = strings.NewReader("42\r\n\n43")
	require.NoError(t, w.arguments(t.Context()))
	assert.Equal(t, []string{"42", "43"}, w.keys)

	w.inv.args = []string{"users", "42", "-"}
	require.ErrorContains(t, w.arguments(t.Context()), "stands alone")
}

// TestReport_Interrupted: a write that was interrupted ends with another code than one that failed.
func TestReport_Interrupted(t *testing.T) {
	w := &write{inv: &invocation{console: &console{out: new(bytes.Buffer)}, format: "text"}, fleet: &fleet{}, op: "delete"}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for ctx, want := range map[context.Context]int{t.Context(): exitFailed, ended: exitInterrupted} {
		var own coded
		require.ErrorAs(t, w.report(ctx, 0, 0, context.DeadlineExceeded), &own)
		assert.Equal(t, want, own.code)
	}
	assert.NoError(t, w.report(ended, 0, 0, nil))
}
