package command_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearredis"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// finding is one of doctor.
type finding struct{ Severity, Check, At, What, Change, Page string }

// doctored runs doctor, and returns what it found.
func doctored(t *testing.T, env []string, args ...string) (code int, found []finding) {
	t.Helper()
	p := started(t, env, nil, append([]string{"doctor", "-format", "json"}, args...)...)
	code = p.code()
	var report struct{ Findings []finding }
	require.NoError(t, json.Unmarshal([]byte(p.out.String()), &report), "%d %s", code, &p.err)
	require.NotEmpty(t, report.Findings)
	for _, f := range report.Findings {
		assert.NotContains(t, f.What+f.Change, "\n")
	}
	return code, report.Findings
}

// bad returns the findings that are not ok, without those that were skipped.
func bad(found []finding) []finding {
	return slices.DeleteFunc(slices.Clone(found), func(f finding) bool { return f.Severity == "ok" || f.Severity == "skipped" })
}

// requireBad requires that nothing is wrong but what these say, each in one line: severity, check,
// and an expression for what is so and what to change.
func requireBad(t *testing.T, found []finding, want ...string) {
	t.Helper()
	got := bad(found)
	var lines []string
	for _, f := range got {
		lines = append(lines, f.Severity+" "+f.Check+" "+f.What+" -> "+f.Change)
	}
	require.Len(t, lines, len(want), strings.Join(lines, "\n"))
	for _, w := range want {
		assert.True(t, slices.ContainsFunc(lines, regexp.MustCompile(w).MatchString), "%s\nin\n%s", w, strings.Join(lines, "\n"))
	}
}

// TestDoctor_Well: of a fleet that is set up as it should be nothing is bad, and nothing is left
// behind.
func TestDoctor_Well(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.join("web-1", nearcache.Options[string]{})
	s.join("web-2", nearcache.Options[string]{})
	s.requireAlike(2)
	before := s.client().DBSize(t.Context()).Val()
	code, found := doctored(t, s.env)
	requireBad(t, found)
	assert.Zero(t, code)
	checks := make(map[string]bool)
	for _, f := range found {
		checks[f.Check] = f.Severity == "ok"
	}
	for _, check := range []string{
		"redis-latency", "redis-version", "redis-role", "redis-memory", "redis-disk", "redis-clients", "redis-buffers", "redis-clock",
		"redis-address", "redis-rights", "redis-scripts", "redis-write", "redis-journal-length", "bus", "fleet", "fleet-alike", "fleet-answers", "fleet-tier",
	} {
		assert.True(t, checks[check], check)
	}
	assert.Equal(t, before, s.client().DBSize(t.Context()).Val())
}

// TestDoctor_Formats: each format is for another reader, and has the same exit code.
func TestDoctor_Formats(t *testing.T) {
	t.Parallel()
	s := newSite(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	s.join("web-1", nearcache.Options[string]{})
	s.requireAlike(1)
	code, out, _ := s.run("doctor")
	assert.Equal(t, 1, code)
	assert.Regexp(t, `^warning  redis-eviction .*maxmemory-policy is allkeys-lru, which may evict the journal\. Change: CONFIG SET maxmemory-policy to noeviction`, out)
	assert.Regexp(t, `\n\d+ checks: 0 critical, 1 warning, 0 skipped\n$`, out)
	code, out, _ = s.run("doctor", "-format", "nagios")
	assert.Equal(t, 1, code)
	assert.Regexp(t, `^NEARBUS WARNING - \d+ checks: 0 critical, 1 warning, 0 skipped; .* \| critical=0 warning=1 skipped=0\nWARNING: .*\n$`, out)
	code, out, _ = s.run("doctor", "-format", "prometheus")
	assert.Equal(t, 1, code)
	assert.Regexp(t, `(?m)^nearbus_doctor_check\{check="redis-eviction",server="redis://[\d.:]+"\} 1$`, out)
	assert.Regexp(t, `(?m)^nearbus_doctor_check\{check="redis-role",server="[\d.:]+"\} 0$`, out)

	p := started(t, nil, nil, "doctor", "-frobnicate")
	assert.Equal(t, 3, p.code())
	p = started(t, nil, nil, "doctor")
	assert.Equal(t, 3, p.code())
	assert.Contains(t, p.err.String(), "where is the bus?")
}

// brokenRedis are servers of Redis that are not set up as they should be: what each is started with,
// what is done to it, and what doctor says.
var brokenRedis = map[string]struct {
	args   []string
	breaks func(*testing.T, *site)
	want   []string
}{
	"evicts the journal": {
		args: []string{"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lfu"},
		want: []string{`warning redis-eviction .*allkeys-lfu, which may evict the journal -> .*noeviction or volatile`},
	},
	"is full": {
		breaks: func(t *testing.T, s *site) {
			require.NoError(t, s.client().ConfigSet(t.Context(), "maxmemory", "1").Err())
		},
		want: []string{`warning redis-memory uses \d+ % of maxmemory, with noeviction`, `critical redis-write a value cannot be stored: .*it is full: raise maxmemory`},
	},
	"subscribers have no limit": {
		args: []string{"--client-output-buffer-limit", "pubsub 0 0 0"},
		want: []string{`warning redis-buffers has no limit for subscribers.* -> CONFIG SET client-output-buffer-limit`},
	},
	"subscribers have no room": {
		args: []string{"--client-output-buffer-limit", "pubsub 1000 0 0"},
		want: []string{`warning redis-buffers ends the connection of a subscriber that is 1000 bytes behind`},
	},
	"cannot write to its disk": {
		args: []string{"--save", "3600 1", "--enable-protected-configs", "yes"},
		breaks: func(t *testing.T, s *site) {
			client := s.client()
			dir := t.TempDir() // where the snapshot is to be, there is a directory
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "dump.rdb", "in the way"), 0o700))
			require.NoError(t, client.ConfigSet(t.Context(), "dir", dir).Err())
			require.NoError(t, client.BgSave(t.Context()).Err())
			require.Eventually(t, func() bool {
				return strings.Contains(client.Info(t.Context(), "persistence").Val(), "rdb_last_bgsave_status:err")
			}, patience, time.Millisecond)
		},
		want: []string{`critical redis-disk could not write to its disk`, `critical fleet-answers web-1 has not answered within [\d.]+s, though heard: .*cannot read its journal`},
	},
	"two replicas, and confirms alone": {
		breaks: func(t *testing.T, s *site) {
			for range 2 {
				follow(t, s.addr)
			}
		},
		want: []string{`warning redis-role has 2 replicas and min-replicas-to-write 0.* -> CONFIG SET min-replicas-to-write 1`},
	},
	"is a Cluster": {
		args: []string{"--cluster-enabled", "yes"},
		want: []string{`critical redis-role is one server of a Cluster.* -> use redis\+cluster://`, `critical redis-journal .*CLUSTERDOWN|MOVED`, `warning fleet no server listens`},
	},
	"is not that of the fleet": {
		want: []string{`warning redis-journal there is nothing of nearbus under this namespace yet`, `warning fleet no server listens on channel nearbus-shop`},
	},
}

// TestDoctor_Redis: each server is told of, in one line for each thing.
func TestDoctor_Redis(t *testing.T) {
	t.Parallel()
	for name, c := range brokenRedis {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, c.args...)
			if name != "is not that of the fleet" && name != "is a Cluster" {
				s.join("web-1", nearcache.Options[string]{})
				s.requireAlike(1)
			}
			if c.breaks != nil {
				c.breaks(t, s)
			}
			code, found := doctored(t, s.env, "-timeout", "5s")
			requireBad(t, found, c.want...)
			want := 1
			if strings.Contains(strings.Join(c.want, ""), "critical ") {
				want = 2
			}
			assert.Equal(t, want, code)
		})
	}
}

// follow starts a replica of a server, and waits for it.
func follow(t *testing.T, addr string, args ...string) *servers.Process {
	t.Helper()
	replica := servers.Redis(t, args...)
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	client := redis.NewClient(&redis.Options{Addr: replica.Addr})
	defer client.Close()
	require.NoError(t, client.ReplicaOf(t.Context(), host, port).Err())
	require.Eventually(t, func() bool {
		return strings.Contains(client.Info(t.Context(), "replication").Val(), "master_link_status:up")
	}, patience, time.Millisecond)
	return replica
}

// TestDoctor_Replica: the address of a replica is told of, whether it takes writes or not.
func TestDoctor_Replica(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.join("web-1", nearcache.Options[string]{})
	s.requireAlike(1)
	for _, readOnly := range []string{"no", "yes"} {
		replica := follow(t, s.addr, "--replica-read-only", readOnly)
		_, found := doctored(t, s.env, "-store", "redis://"+replica.Addr)
		requireBad(t, found, `critical redis-role is a replica of .* -> give all servers the address of the primary`,
			`warning fleet no server listens|critical fleet-answers web-1 has not answered .* let messages pass one way only`) // if a heartbeat came through
	}
}

// TestDoctor_Address: an address that leads to several servers in turn is told of.
func TestDoctor_Address(t *testing.T) {
	t.Parallel()
	addr := balancer(t, servers.Redis(t).Addr, servers.Redis(t).Addr)
	_, found := doctored(t, []string{"NEARBUS_STORE=redis://" + addr})
	assert.True(t, slices.ContainsFunc(bad(found), func(f finding) bool {
		return f.Severity == "critical" && f.Check == "redis-address" && strings.HasPrefix(f.What, "leads to 2 servers in turn")
	}), "%v", bad(found))
}

// balancer leads connections to servers in turn.
func balancer(t *testing.T, behind ...string) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	var count atomic.Int64
	go func() { // ends with the listener
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", behind[int(count.Add(1))%len(behind)])
			if err != nil {
				_ = from.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
				go func() { // ends with the connections
					_, _ = io.Copy(way[0], way[1])
					_, _ = way[0].Close(), way[1].Close()
				}()
			}
		}
	}()
	return listener.Addr().String()
}

// TestDoctor_Rights: each right that the user lacks is named, with what is not possible without it.
func TestDoctor_Rights(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.join("web-1", nearcache.Options[string]{})
	s.requireAlike(1)
	admin := s.client()
	all := []string{
		"get", "mget", "set", "setrange", "getrange", "time", "evalsha", "eval", "pexpireat", "rename", "xadd", "xrange", "xrevrange", "del", "info",
		"publish", "subscribe",
	}
	allow := func(keys, channel, without string) []string {
		name := "app" + without
		rules := []any{"ACL", "SETUSER", name, "reset", "on", ">p", "~" + keys, "&" + channel}
		for _, right := range all {
			if right != without {
				rules = append(rules, "+"+right)
			}
		}
		require.NoError(t, admin.Do(t.Context(), rules...).Err())
		return slices.Concat(s.env, []string{"NEARBUS_STORE=redis://" + name + ":p@" + s.addr})
	}
	code, found := doctored(t, allow("nearbus-shop:*", "nearbus-shop", ""))
	requireBad(t, found)
	assert.Zero(t, code, "what it may not look at is no trouble")
	for _, right := range all {
		t.Run("without "+right, func(t *testing.T) {
			t.Parallel()
			_, found := doctored(t, allow("nearbus-shop:*", "nearbus-shop", right), "-timeout", "9s")
			if right == "publish" || right == "subscribe" {
				requireBad(t, found, `critical bus the user may not publish and subscribe: .*'`+right+`'.* -> allow it both on the channel nearbus-shop`)
				return
			}
			want := []string{`(critical|warning) redis-rights the user app` + right + ` may not run ` + right + `: .* -> ACL SETUSER app` + right + ` \+` + right}
			if right == "info" {
				want = append(want, `warning redis-info the server does not say in scripts`)
			}
			requireBad(t, found, want...)
		})
	}
	s.notOfTheNamespace(allow)
}

// notOfTheNamespace looks at users of other keys, another channel and another password.
func (s *site) notOfTheNamespace(allow func(keys, channel, without string) []string) {
	t := s.t
	t.Helper()
	_, found := doctored(t, allow("nearbus-shop-staging:*", "nearbus-shop", ""))
	require.NotEmpty(t, bad(found))
	assert.Equal(t, "the user app may not use keys that begin with nearbus-shop:", bad(found)[0].What)
	_, found = doctored(t, allow("nearbus-shop:*", "nearbus", ""), "-timeout", "4s")
	requireBad(t, found, `critical bus the user may not publish and subscribe: .*channel`)
	_, found = doctored(t, slices.Concat(s.env, []string{"NEARBUS_STORE=redis://app:wrong@" + s.addr}))
	requireBad(t, found, `critical redis refuses the user: WRONGPASS .* -> correct user and password`)
}

// TestDoctor_JournalLength: a journal that goes back a moment, at the rate of writes, is told of.
func TestDoctor_JournalLength(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := s.joinWith("web-1", nearcache.Options[string]{}, nearredis.Options{Namespace: "shop", Store: redisstore.Options{JournalLength: 100}})
	s.requireAlike(1)
	values := make(map[string]string)
	for i := range 1000 {
		values[fmt.Sprint(i)] = "v"
	}
	require.NoError(t, m.SetMany(t.Context(), values))
	_, found := doctored(t, s.env)
	requireBad(t, found, `critical redis-journal-length the journal goes back [\d.]+m?s at the rate of writes now.* -> raise JournalLength`)
}

// TestDoctor_Fleet: servers that are not set up as one are told of, with what differs.
func TestDoctor_Fleet(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.join("web-1", nearcache.Options[string]{})
	s.join("web-2", nearcache.Options[string]{})
	s.joinWith("web-3", nearcache.Options[string]{}, nearredis.Options{Namespace: "shop", Store: redisstore.Options{JournalLength: -1}})
	s.joinWith("web-4", nearcache.Options[string]{}, nearredis.Options{Namespace: "shop", Store: redisstore.Options{Partitions: 7}})
	var code int
	var found []finding
	for end := time.Now().Add(patience); len(bad(found)) != 3 && time.Now().Before(end); { // servers tell of their tier once they have reached it
		code, found = doctored(t, s.env)
	}
	assert.Equal(t, 2, code)
	requireBad(t, found,
		`warning fleet-alike servers: journals is 0 on web-3, 1 on web-1, web-2, 7 on web-4`,
		`critical fleet-alike web-4 has another shared tier than others -> give all of them one address`,
		`critical fleet-tier the shared tier is not that of web-4`)
}

// TestDoctor_Deaf: a server that is heard and does not hear, and one that cannot read its journal, are
// named.
func TestDoctor_Deaf(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.join("web-1", nearcache.Options[string]{})
	s.joinWithoutJournal("web-2")
	code, found := doctored(t, s.env)
	assert.Equal(t, 2, code)
	requireBad(t, found, `critical fleet-answers web-2 has not answered within 6s, though heard: it does not hear the bus, cannot read its journal`)
	require.NoError(t, s.client().Do(t.Context(), "ACL", "SETUSER", "app", "+xrange", "-subscribe").Err())
	require.NoError(t, s.client().ClientKillByFilter(t.Context(), "TYPE", "pubsub", "USER", "app").Err()) // it cannot subscribe again
	code, found = doctored(t, s.env)
	assert.Equal(t, 2, code)
	requireBad(t, found, `critical fleet-answers web-2 has not answered`)
}

// TestDoctor_Clock: the clock of a server that is wrong is told of, and those of servers of a Cluster
// that differ.
func TestDoctor_Clock(t *testing.T) {
	t.Parallel()
	wrong, err := servers.StartRedisAt(t.Context(), time.Minute)
	require.NoError(t, err)
	t.Cleanup(wrong.Stop)
	_, found := doctored(t, []string{"NEARBUS_STORE=redis://" + wrong.Addr})
	requireBad(t, found, `warning redis-clock its clock is (1m0|59\.9\d*)s? ?.*off that of this host`, `warning redis-journal there is nothing`, `warning fleet no server`)

	cluster, err := servers.StartRedisClusterAt(t.Context(), []time.Duration{0, 3 * time.Second, 0})
	require.NoError(t, err)
	t.Cleanup(cluster.Stop)
	_, found = doctored(t, []string{"NEARBUS_STORE=redis+cluster://" + strings.Join(cluster.Addrs(), ",")})
	requireBad(t, found, `critical redis-clock its clock is (3|3\.0\d*|2\.9\d*)s ahead of that of .* writes are refused as late`, `warning redis-journal there is nothing`, `warning fleet no server`)
}

// TestDoctor_Unreachable: servers that are not there are critical, and the code is that of it.
func TestDoctor_Unreachable(t *testing.T) {
	t.Parallel()
	for url, says := range map[string]string{
		"redis://127.0.0.1:1":         "critical redis does not answer: .*connection refused.* -> start it",
		"redis+cluster://127.0.0.1:1": "critical redis does not answer: .*connection refused",
		"memcached://127.0.0.1:1":     "critical memcached does not answer: .*connection refused",
	} {
		bus := "NEARBUS_BUS=nats://127.0.0.1:1"
		code, found := doctored(t, []string{"NEARBUS_STORE=" + url, bus}, "-timeout", "2s")
		assert.Equal(t, 2, code)
		requireBad(t, found, says, `critical bus the bus: nats://127\.0\.0\.1:1: nats: no servers available`)
	}
}

// TestDoctor_Hangs: a server that takes connections and says nothing is one line, and the whole command
// ends with -timeout.
func TestDoctor_Hangs(t *testing.T) {
	t.Parallel()
	hangs, lives := silent(t), servers.Redis(t).Addr
	const timeout = 10 * time.Second
	for name, c := range map[string]struct{ store, bus, want string }{
		"redis":        {"redis://" + hangs, "", "critical redis does not answer: "},
		"cluster":      {"redis+cluster://" + hangs, "", "critical redis does not answer: "},
		"store":        {"redis://" + hangs, "redis://" + lives, "critical redis does not answer: "},
		"memcached":    {"memcached://" + hangs + "," + hangs, "redis://" + lives, "critical memcached does not answer: "},
		"bus":          {"redis://" + lives, "redis://" + hangs, "critical bus does not answer: publish: "},
		"nats":         {"redis://" + lives, "nats://" + hangs, "critical bus does not answer: read tcp "},
		"several nats": {"redis://" + lives, "nats://" + strings.Repeat(hangs+",", 9) + hangs, "critical bus does not answer: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			_, found := doctored(t, []string{"NEARBUS_STORE=" + c.store, "NEARBUS_BUS=" + c.bus}, "-timeout", timeout.String())
			assert.Less(t, time.Since(began), timeout*3/2, "the rest is for a machine that has much else to do")
			found = slices.DeleteFunc(found, func(f finding) bool { return f.Severity == "warning" }) // of a fleet that is not there
			want := []string{c.want + ".*(timeout|deadline).* -> look whether it hangs"}
			if name == "memcached" {
				want = append(want, want[0])
			}
			requireBad(t, found, want...)
		})
	}
}

// silent is the address of a server that takes connections and says nothing.
func silent(t *testing.T) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

// TestDoctor_Memcached: each Memcached is looked at.
func TestDoctor_Memcached(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":        "",
		"-M":      `critical memcached-eviction may not evict \(-M\).* -> start it without -M`,
		"-C":      `critical memcached-cas was started without cas \(-C\)`,
		"-I 512k": `warning memcached-item takes items of 524288 bytes at most`,
		"flush":   `warning memcached-flush flush_all was used 1 times.* -> use nearbus clear`,
	} {
		t.Run("memcached "+args, func(t *testing.T) {
			t.Parallel()
			var started []string
			if args != "flush" {
				started = strings.Fields(args)
			}
			m := servers.Memcached(t, started...)
			if args == "flush" {
				conn, err := net.Dial("tcp", m.Addr)
				require.NoError(t, err)
				defer conn.Close()
				_, err = conn.Write([]byte("flush_all\r\n"))
				require.NoError(t, err)
				_, err = io.ReadFull(conn, make([]byte, 4))
				require.NoError(t, err)
			}
			code, found := doctored(t, []string{"NEARBUS_STORE=memcached://" + m.Addr})
			if want == "" {
				requireBad(t, found)
				assert.Zero(t, code)
				return
			}
			requireBad(t, found, want)
		})
	}
}

// TestDoctor_NATS: what a user lacks, and a stream that cannot be used, are told of; no stream is made.
func TestDoctor_NATS(t *testing.T) {
	t.Parallel()
	plain := servers.NATS(t, servers.JetStream, func(o *server.Options) { o.MaxPayload = 8 << 10 })
	_, found := doctored(t, []string{"NEARBUS_BUS=nats://" + plain.Addr})
	requireBad(t, found, `warning nats-payload takes messages of 8192 bytes`, `warning fleet no server listens on subject nearbus`)

	stream := []string{"NEARBUS_BUS=nats+jetstream://" + plain.Addr, "NEARBUS_NAMESPACE=shop"}
	_, found = doctored(t, stream)
	requireBad(t, found, `warning nats-payload`, `warning nats-stream there is no stream NEARBUS-shop yet`)
	nc, err := nats.Connect("nats://" + plain.Addr)
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.Stream(t.Context(), "NEARBUS-shop")
	require.ErrorIs(t, err, jetstream.ErrStreamNotFound)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "NEARBUS-shop", Subjects: []string{"nearbus-shop.stream"}, MaxMsgs: 10, Discard: jetstream.DiscardNew,
	})
	require.NoError(t, err)
	_, found = doctored(t, stream)
	requireBad(t, found, `warning nats-payload`, `critical bus .*max messages 10, must be unlimited or at least 1024 -> edit the stream`,
		`critical bus .*discard DiscardNew, must be DiscardOld`)

	poor := servers.NATS(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "app", Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{"nothing"}},
		}}}
	})
	_, found = doctored(t, []string{"NEARBUS_BUS=nats://app:p@" + poor.Addr}, "-timeout", "4s")
	requireBad(t, found, `critical bus the user may not publish and subscribe: .*nearbus`)
	_, found = doctored(t, []string{"NEARBUS_BUS=nats://app:wrong@" + poor.Addr}, "-timeout", "4s")
	requireBad(t, found, `critical bus refuses the user: .*Authorization Violation`)
	none := servers.NATS(t)
	_, found = doctored(t, []string{"NEARBUS_BUS=nats+jetstream://" + none.Addr})
	requireBad(t, found, `critical nats-stream JetStream does not answer: .* -> switch JetStream on`)
}

// TestDoctor_Pages: the pages that findings name are there.
func TestDoctor_Pages(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../bus/cmd/nearbus/doctor*.go")
	require.NoError(t, err)
	named := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`"([a-z-]+\.md)(?:#([a-z0-9-]+))?"`).FindAllStringSubmatch(string(source), -1) {
			page, err := os.ReadFile("../../docs/" + m[1])
			require.NoError(t, err)
			named++
			if m[2] != "" {
				heading := strings.TrimSuffix(m[2], "-1")
				assert.Regexp(t, `(?mi)^#+ `+strings.ReplaceAll(heading, "-", "[ -]")+`$`, string(page), m[0])
			}
		}
	}
	assert.Greater(t, named, 20)
}
