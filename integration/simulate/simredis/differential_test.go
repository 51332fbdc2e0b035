package simredis_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/integration/simulate/internal/tee"
	"github.com/nearbus/nearbus/integration/simulate/simredis"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// callsVariable is the environment variable that says how many answers of the simulated
// server are compared with those of a real one. callsInShort is how many without it.
const (
	callsVariable = "NEARBUS_SIMREDIS_CALLS"
	callsInShort  = 20_000
	seedVariable  = "NEARBUS_SIMREDIS_SEED"
)

// A duel has the drivers, and a client that does whatever it likes, call a real server
// and a simulated one at once. Both have the same clock, which the duel moves.
type duel struct {
	t *testing.T
	context.Context
	*rand.Rand

	real       *servers.Process
	simulated  *simredis.Server
	clock      atomic.Int64 // us since 1970
	comparison tee.Comparison
	client     *redis.Client // of both
	control    *redis.Client // of the real one alone
	stores     []*redisstore.Store
	prefixes   []string
	news       *redis.PubSub
	positions  []position
	undo       func() // of the fault of now
	deaf       bool   // the subscription has ended
}

func TestServer_AnswersAsRedisDoes(t *testing.T) {
	t.Parallel()
	calls, seed := callsInShort, rand.Uint64()
	if n, err := strconv.Atoi(os.Getenv(callsVariable)); err == nil {
		calls = n
	}
	if n, err := strconv.ParseUint(os.Getenv(seedVariable), 10, 64); err == nil {
		seed = n
	}
	d := newDuel(t, seed)
	began := time.Now()
	d.rehearse()
	for d.comparison.Compared() < calls && d.comparison.Err() == nil {
		d.round()
	}
	t.Logf("%d answers of version %d compared in %v; %d commands, in scripts too: %v", d.comparison.Compared(), d.client.Options().Protocol,
		time.Since(began).Round(time.Millisecond), total(d.simulated.Calls()), d.simulated.Calls())
	require.NoError(t, d.comparison.Err(), "%s=%d", seedVariable, seed)
}

func total(counts map[string]int) (n int) {
	for _, count := range counts {
		n += count
	}
	return n
}

func newDuel(t *testing.T, seed uint64) *duel {
	t.Helper()
	real, err := servers.StartRedisAt(t.Context(), time.Hour)
	require.NoError(t, err)
	t.Cleanup(real.Stop)
	d := &duel{t: t, Context: t.Context(), Rand: rand.New(rand.NewPCG(seed, 0)), real: real}
	d.comparison.Same = sameButForIDs
	d.move(time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC).Sub(time.UnixMicro(0)))
	d.simulated = simredis.New(simredis.Options{Now: func() time.Time { return time.UnixMicro(d.clock.Load()) }})
	t.Cleanup(d.simulated.Close)
	d.client = redis.NewClient(&redis.Options{
		Addr: real.Addr, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, PoolSize: 1, Dialer: d.dial,
		Protocol: 2 + d.IntN(2),
	})
	t.Cleanup(func() { _ = d.client.Close() })
	d.control = redis.NewClient(&redis.Options{Addr: real.Addr})
	t.Cleanup(func() { _ = d.control.Close() })
	d.takeIDs()
	for i, options := range []redisstore.Options{
		{Prefix: "one", JournalLength: 250},
		{Prefix: "three", JournalLength: 3000, Partitions: 3},
		{Prefix: "none", JournalLength: -1},
	} {
		store, err := redisstore.New(d.client, options)
		require.NoError(t, err, "store %d", i)
		d.stores, d.prefixes = append(d.stores, store), append(d.prefixes, options.Prefix)
	}
	d.listen()
	t.Cleanup(func() { _ = d.news.Close() })
	return d
}

// listen subscribes, and does so anew when a server has begun again.
func (d *duel) listen() {
	if d.news != nil && !d.deaf {
		return
	}
	d.deaf = false
	if d.news != nil {
		_ = d.news.Close()
	}
	d.news = d.client.Subscribe(d, newsChannel)
	_, err := d.news.Receive(d)
	require.NoError(d.t, err)
}

// dial connects to both servers.
func (d *duel) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	real, err := new(net.Dialer).DialContext(ctx, "tcp", d.real.Addr)
	if err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	go d.simulated.Serve(far) // ends with the connection
	return tee.New(real, near, &d.comparison, tee.Redis), nil
}

var connectionID = regexp.MustCompile(`\$2\r\nid\r\n:\d+`)

// sameButForIDs reports whether two answers to HELLO are the same but for the number of
// the connection.
func sameButForIDs(request, real, simulated []byte) bool {
	return bytes.Contains(request, []byte("hello")) &&
		bytes.Equal(connectionID.ReplaceAll(real, nil), connectionID.ReplaceAll(simulated, nil))
}

// move moves the clock of both servers.
func (d *duel) move(by time.Duration) {
	d.comparison.Alone(func() {
		now := d.clock.Add(by.Microseconds())
		require.NoError(d.t, d.real.FixClock(time.UnixMicro(now)))
	})
}

func (d *duel) now() time.Time { return time.UnixMicro(d.clock.Load()) }

// takeIDs gives the simulated server the ids of the real one.
func (d *duel) takeIDs() {
	text, err := d.control.Info(d, "server", "replication").Result()
	require.NoError(d.t, err)
	id := func(field string) string {
		found := regexp.MustCompile(field + `:(\w+)`).FindStringSubmatch(text)
		require.NotNil(d.t, found, field)
		return found[1]
	}
	d.simulated.SetIDs(id("run_id"), id("master_replid"), id("master_replid2"))
}

// rehearse does once what the rounds do seldom, on a server that is well and on one that
// is full.
func (d *duel) rehearse() {
	for _, full := range []bool{false, true} {
		if full {
			d.comparison.Alone(func() { d.beFull(simredis.NoEviction) })
		}
		for _, script := range snippets {
			d.evaluate(script)
		}
		for _, mistake := range mistakes("a name") {
			_ = d.client.Do(d, mistake...)
		}
	}
	d.comparison.Alone(d.undo)
	d.undo = nil
	for n := range 40 {
		d.fillUp("long", 250, 1+n*n)
	}
	d.compareKeys()
}

// round is some hundred calls, a look at all that is stored, and perhaps a fault that
// begins or ends.
func (d *duel) round() {
	for range 300 {
		d.passTime()
		d.call()
		if d.comparison.Err() != nil {
			return
		}
	}
	d.compareNews()
	d.compareKeys()
	if d.undo != nil {
		d.comparison.Alone(d.undo)
		d.undo = nil
		d.compareKeys()
		return
	}
	d.comparison.Alone(d.breakSomething)
	d.listen()
}

// passTime moves the clock, mostly a little, and now and then back.
func (d *duel) passTime() {
	switch n := d.IntN(100); {
	case n < 50:
	case n < 75:
		d.move(time.Duration(d.IntN(2000)) * time.Microsecond)
	case n < 93:
		d.move(time.Duration(d.IntN(2000)) * time.Millisecond)
	case n < 97:
		d.move(time.Duration(d.IntN(100)) * time.Second)
	case n < 98:
		d.move(time.Duration(d.IntN(25)) * time.Hour)
	case n < 99:
		d.expire()
		d.move(-time.Duration(d.IntN(100)) * time.Second)
	default:
		d.expire()
		d.move(-time.Duration(d.IntN(25)) * time.Hour)
	}
}

// expire has both servers remove what has expired: when the clock goes back, what
// neither has removed comes back, and Redis removes keys at any time.
func (d *duel) expire() {
	for _, key := range d.simulated.Names() {
		_ = d.client.Exists(d, key)
	}
}

// compareNews compares what subscribers heard up to now.
func (d *duel) compareNews() {
	end := strconv.Itoa(d.Int())
	if err := d.client.Publish(d, newsChannel, end).Err(); err != nil {
		return // the comparison has it
	}
	for {
		got, err := d.news.ReceiveTimeout(d, 10*time.Second)
		if err != nil {
			require.Error(d.t, d.comparison.Err(), "news: %v", err)
			return
		}
		if m, is := got.(*redis.Message); is && m.Payload == end {
			return
		}
	}
}

// compareKeys compares all that is stored: values, expiries, and what streams know of
// themselves.
func (d *duel) compareKeys() {
	names := d.control.Keys(d, "*").Val()
	d.expire()
	simulated := d.simulated.Keys()
	if d.comparison.Err() == nil {
		require.ElementsMatch(d.t, names, simulated)
	}
	_, _ = d.client.Pipelined(d, func(pipe redis.Pipeliner) error {
		for _, name := range names {
			pipe.Type(d, name)
			pipe.PTTL(d, name)
			pipe.Do(d, "PEXPIRETIME", name)
			pipe.Get(d, name)
			pipe.StrLen(d, name)
			pipe.XLen(d, name)
			pipe.XRange(d, name, "-", "+")
		}
		return nil
	})
	for _, name := range names {
		d.compareStream(name)
	}
}

// compareStream compares what XINFO says of a stream, but for the size of the index,
// which the simulated server has not.
func (d *duel) compareStream(name string) {
	real, err := d.control.Do(d, "XINFO", "STREAM", name).Result()
	if err != nil {
		return
	}
	simulated, err := d.toSimulated().Do(d, "XINFO", "STREAM", name).Result()
	require.NoError(d.t, err)
	fields := real.(map[any]any)
	delete(fields, "radix-tree-nodes")
	require.Equal(d.t, fields, simulated, name)
}

func (d *duel) toSimulated() *redis.Client { return newClient(d.t, d.simulated) }
