package simmemcached_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/integration/simulate/internal/tee"
	"github.com/nearbus/nearbus/integration/simulate/simmemcached"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
)

// callsVariable is the environment variable that says how many lines of the simulated
// server's answers are compared with those of a real one. callsInShort is how many
// without it.
const (
	callsVariable = "NEARBUS_SIMMEMCACHED_CALLS"
	callsInShort  = 20_000
	seedVariable  = "NEARBUS_SIMMEMCACHED_SEED"
)

// A duel has the driver, and a client that does whatever it likes, call a real server
// and a simulated one at once.
type duel struct {
	t *testing.T
	context.Context
	*rand.Rand

	real       *servers.Process
	simulated  *simmemcached.Server
	comparison tee.Comparison
	client     *memcache.Client
	store      *memcachestore.Store
	raw        net.Conn
	nonces     uint64
}

func TestServer_AnswersAsMemcachedDoes(t *testing.T) {
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
	d.compareSizes()
	d.compareExpiries()
	for d.comparison.Compared() < calls && d.comparison.Err() == nil {
		d.call()
	}
	t.Logf("%d lines compared in %v; %v", d.comparison.Compared(), time.Since(began).Round(time.Millisecond), d.simulated.Calls())
	require.NoError(t, d.comparison.Err(), "%s=%d", seedVariable, seed)
}

func newDuel(t *testing.T, seed uint64) *duel {
	t.Helper()
	d := &duel{
		t: t, Context: t.Context(), Rand: rand.New(rand.NewPCG(seed, 0)),
		real: servers.Memcached(t, "-m", "1024"), simulated: simmemcached.New(simmemcached.Options{}),
	}
	t.Cleanup(d.simulated.Close)
	d.client = memcache.New(d.real.Addr)
	d.client.Timeout = 10 * time.Second
	d.client.DialContext = d.dial
	t.Cleanup(func() { _ = d.client.Close() })
	var err error
	d.store, err = memcachestore.New(d.client, memcachestore.Options{})
	require.NoError(t, err)
	d.raw, err = d.dial(t.Context(), "tcp", d.real.Addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.raw.Close() })
	return d
}

// dial connects to both servers.
func (d *duel) dial(ctx context.Context, network, address string) (net.Conn, error) {
	real, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	go d.simulated.Serve(far) // ends with the connection
	return tee.New(real, near, &d.comparison, tee.Memcached), nil
}

// send sends what does not need to be a request, and reads all that is answered.
func (d *duel) send(format string, args ...any) {
	_, _ = fmt.Fprintf(d.raw, format+"\r\nversion\r\n", args...)
	for answer := ""; !strings.HasSuffix(answer, "VERSION "+simmemcached.Version+"\r\n"); {
		var b [4096]byte
		n, err := d.raw.Read(b[:])
		if err != nil {
			require.Error(d.t, d.comparison.Err(), "%v", err)
			return
		}
		answer += string(b[:n])
		answer = answer[max(0, len(answer)-100):]
	}
}

// compareSizes stores what is as large as can be, or larger.
func (d *duel) compareSizes() {
	for _, flags := range []int{0, 1} {
		for more := -6; more < 3; more++ {
			size := 1<<20 - 48 - 8 - len("large") - 1 - 2 + more
			for _, command := range []string{"set", "add", "replace", "set"} {
				d.send("%s large %d 0 %d\r\n%s\r\ngets large", command, flags, size, make([]byte, size))
			}
		}
	}
}

// compareExpiries compares what is left of items when some of them have expired. A
// server counts whole seconds, so some time has to pass.
func (d *duel) compareExpiries() {
	now := time.Now().Unix()
	for i, expiration := range []int64{0, 1, 2, 100, -1, now - 1, now + 1, now + 100, 30 * 24 * 60 * 60, 30*24*60*60 + 1, 1 << 31} {
		d.send("set expiry%d 0 %d 1\r\nx", i, expiration)
		d.send("set touched%d 0 0 1\r\nx\r\ntouch touched%d %d", i, i, expiration)
	}
	time.Sleep(4 * time.Second)
	for i := range 11 {
		d.send("get expiry%d touched%d", i, i)
	}
}

func pick[E any](d *duel, from ...E) E { return from[d.IntN(len(from))] }

func (d *duel) key() string {
	return pick(d, "a", "b", "c", "d", strings.Repeat("long", 50), strings.Repeat("too long", 40), "an odd\r\nkey\x00\xff", "")
}

// call makes one call of the driver, or what no driver sends.
func (d *duel) call() {
	switch n := d.IntN(100); {
	case n < 25:
		d.store.Write(d, []driver.Write{d.write(false)})
	case n < 45:
		d.store.Fill(d, []driver.Write{d.write(true)})
	case n < 65:
		d.store.Acquire(d, []driver.Lease{{
			Key: d.key(), Image: d.image(driver.KindLease), TTL: time.Hour, Renew: d.IntN(3) == 0, MinClock: pick[uint64](d, 0, 2),
		}})
	case n < 85:
		keys := make([]string, pick(d, 1, 1, 2, 64))
		for i := range keys {
			keys[i] = d.key()
		}
		_, _ = d.store.Read(d, keys)
	default:
		d.meddle()
	}
}

func (d *duel) write(fill bool) driver.Write {
	w := driver.Write{
		Key: d.key(), TTL: pick(d, 0, time.Hour, 100*24*time.Hour), KeepStale: !fill && d.IntN(4) == 0,
		Image: d.image(driver.KindValue, driver.KindTombstone, driver.KindWatermark, driver.KindNotFound),
	}
	if fill {
		w.Expect = pick(d, 0, d.nonce())
	}
	return w
}

// nonce is one of the last few.
func (d *duel) nonce() uint64 {
	d.nonces++
	return d.nonces/4 + 1 + uint64(d.IntN(2))
}

func (d *duel) image(kinds ...driver.Kind) []byte {
	r := driver.Record{
		Kind: pick(d, kinds...), Nonce: d.nonce(), Clock: pick[uint64](d, 0, 1, 2),
		Value: bytes.Repeat([]byte{byte(d.IntN(256))}, pick(d, 0, 1, 300, 5000)),
	}
	image := r.Append(nil)
	if d.IntN(20) == 0 { // damaged, of another format, or of nobody
		image[pick(d, 0, 1, 2, 3)] = byte(pick(d, 0, 1, 2, 7, 255))
	}
	return image
}

// meddle sends what no driver does.
func (d *duel) meddle() {
	key := pick(d, "a", "nearbus:a", "nearbus:b", "nearbus:c", strings.Repeat("k", 250), strings.Repeat("k", 251))
	switch d.IntN(11) {
	case 0:
		d.send("delete %s", key)
	case 1:
		d.send("touch %s %d", key, pick(d, 0, 1000))
	case 2:
		if d.IntN(20) == 0 {
			d.send("flush_all")
		}
	case 3:
		d.send("%s %s %d 0 3\r\nabc", pick(d, "set", "add", "replace"), key, d.IntN(2)*d.IntN(1<<31))
	case 4:
		d.send("cas %s 0 0 3 %d\r\nabc", key, d.IntN(1000))
	case 5:
		d.send("%s %s 0 0 3 noreply\r\nabc", pick(d, "set", "add", "replace"), key)
	case 6:
		d.send("%s %s%s", pick(d, "get", "gets"), key, strings.Repeat(" nearbus:a", d.IntN(60)))
	default:
		d.send("%s", pick(d, "nosuch", "get", "gets", "GET a", " get  a ", "", "touch a", "touch a x", "delete", "set a 0 0",
			"set a 0 0 x", "set a 0 x 1\r\nq", "set a 0 0 -1", "cas a 0 0 1\r\nq", "cas a 0 0 1 x\r\nq", "set a 0 0 3\r\nabcd", "set a 0 0 3\r\nab\r\n",
			"get "+strings.Repeat("k", 251)+"x a"))
	}
}
