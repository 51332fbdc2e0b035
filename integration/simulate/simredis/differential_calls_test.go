package simredis_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/simulate/simredis"
	"github.com/nearbus/nearbus/shared/driver"
)

const newsChannel = "news"

// position is where a journal was read to.
type position struct {
	store, partition int
	from             driver.Position
}

func pick[E any](d *duel, from ...E) E { return from[d.IntN(len(from))] }

// call makes one call of the drivers, or of a client that does what it likes.
func (d *duel) call() {
	at := d.IntN(len(d.stores))
	store := d.stores[at]
	switch n := d.IntN(100); {
	case n < 30:
		store.Write(d, d.writes(false))
	case n < 45:
		store.Fill(d, d.writes(true))
	case n < 60:
		store.Acquire(d, d.leases())
	case n < 75:
		_, _ = store.Read(d, d.keys())
	case n < 89:
		d.tail(at)
	case n < 90:
		d.fillUp(d.name(at), pick(d, 0, 1, 99, 100, 101, 250, 1000), pick(d, 1, 20, 50, 100, 700, 5000))
	default:
		d.meddle(at)
	}
}

func (d *duel) key() string { return pick(d, "a", "b", "c", "d", "an odd\r\nkey\x00\xff", "") }

// several is how many requests a call makes.
func (d *duel) several() int { return pick(d, 1, 1, 1, 1, 2, 5) }

func (d *duel) keys() []string {
	keys := make([]string, d.several())
	for i := range keys {
		keys[i] = d.key()
	}
	return keys
}

// number is one near a limit of the scripts, or of how they compute.
func (d *duel) number() uint64 {
	now := uint64(d.clock.Load())
	day := uint64(24 * time.Hour / time.Microsecond)
	return pick(d, 0, 0, 0, 1, 77, now, now-day, now+1, now+1000, now+day-1, now+day, now+day+1, now+30*day,
		driver.MaxRevision-1, driver.MaxRevision, driver.MaxRevision+1, 1<<53, 1<<53+1, 1<<63, math.MaxUint64)
}

func (d *duel) nonce() uint64 { return pick(d, 1, 2, 3, 4, d.Uint64()) }

func (d *duel) ttl() time.Duration {
	return pick(d, 0, time.Millisecond, 1500*time.Microsecond, 50*time.Millisecond, time.Second, time.Minute, 24*time.Hour, math.MaxInt64/2)
}

func (d *duel) notAfter() time.Time {
	return pick(d, time.Time{}, time.Time{}, time.Time{}, d.now(), d.now().Add(-time.Microsecond), d.now().Add(time.Second))
}

// image is a record, or almost one.
func (d *duel) image(kinds ...driver.Kind) []byte {
	r := driver.Record{
		Kind: pick(d, kinds...), Nonce: d.nonce(), Clock: pick[uint64](d, 0, 1, 2, 1<<53+1, math.MaxUint64),
		Codec: pick[uint8](d, 0, 1, 2), Value: bytes.Repeat([]byte{byte(d.IntN(256))}, pick(d, 0, 1, 10, 300, 5000)),
	}
	image := r.Append(nil)
	if d.IntN(20) == 0 { // damaged, of another format, or of nobody
		image[pick(d, 0, 1, 2, 3, 8, 20, 30)] = byte(pick(d, 0, 1, 2, 4, 7, 255))
	}
	return image
}

func (d *duel) writes(fill bool) []driver.Write {
	writes := make([]driver.Write, d.several())
	for i := range writes {
		w := driver.Write{Key: d.key(), Soft: d.ttl(), TTL: d.ttl(), NotAfter: d.notAfter(), Floor: d.number()}
		w.Image = d.image(driver.KindValue, driver.KindTombstone, driver.KindWatermark, driver.KindNotFound)
		if fill {
			w.Expect = pick(d, 0, 0, d.nonce())
			w.Born = pick(d, driver.Revision{}, driver.Revision{Epoch: d.epoch(), Number: d.number()})
		} else {
			w.KeepStale = d.IntN(4) == 0
		}
		if d.IntN(3) == 0 {
			w.Announce = &driver.Announcement{
				Channel: pick(d, newsChannel, "elsewhere"), Payload: bytes.Repeat([]byte{1, 2}, 20), RevisionAt: d.IntN(25),
			}
		}
		writes[i] = w
	}
	return writes
}

// epoch is one that a journal had, or any.
func (d *duel) epoch() uint64 {
	if len(d.positions) > 0 && d.IntN(2) == 0 {
		return pick(d, d.positions...).from.Revision.Epoch
	}
	return d.number()
}

func (d *duel) leases() []driver.Lease {
	leases := make([]driver.Lease, d.several())
	for i := range leases {
		leases[i] = driver.Lease{
			Key: d.key(), Image: d.image(driver.KindLease), TTL: d.ttl(), NotAfter: d.notAfter(),
			MinClock: pick[uint64](d, 0, 0, 1, 2, 1<<53+1, math.MaxUint64), Renew: d.IntN(3) == 0,
			Discard: pick(d, nil, nil, []byte("nb"), []byte("garbage")),
		}
	}
	return leases
}

// tail reads journals from where they were read to, or from anywhere.
func (d *duel) tail(at int) {
	store := d.stores[at]
	if store.Partitions() == 0 {
		return
	}
	reads := make([]driver.TailRead, d.several())
	for i := range reads {
		reads[i] = driver.TailRead{Partition: d.IntN(store.Partitions()), Limit: pick(d, 1, 2, 100, 1000)}
		if len(d.positions) > 0 && d.IntN(4) != 0 {
			p := pick(d, d.positions...)
			if p.store == at {
				reads[i].Partition = p.partition
			}
			reads[i].From = p.from
		}
		switch d.IntN(20) {
		case 0:
			reads[i].From.Nonce++
		case 1:
			reads[i].From.Revision.Number++
		case 2:
			reads[i].From.Revision.Epoch = d.number()
		}
	}
	for i, tail := range store.Tail(d, reads) {
		if tail.Err == nil {
			d.positions = append(d.positions, position{at, reads[i].Partition, tail.Next})
		}
	}
	d.positions = d.positions[max(0, len(d.positions)-20):]
}

// fillUp makes a journal, or another stream, long: where it is cut depends on how Redis
// packs entries.
func (d *duel) fillUp(name string, keep, longest int) {
	id := d.clock.Load()
	_, _ = d.client.Pipelined(d, func(pipe redis.Pipeliner) error {
		for range d.IntN(400) {
			id += int64(pick(d, 1, 1, d.IntN(200), d.IntN(1e6), d.IntN(1e12)))
			args := []any{"XADD", name, "MAXLEN", "~", keep, pick(d, "*", fmt.Sprintf("%d-%d", id, d.IntN(300)))}
			for range pick(d, 1, 1, 1, 1, 3) {
				args = append(args, pick(d, "k", "k", "k", "field"), pick(d, string(make([]byte, min(longest, pick(d, d.IntN(longest), 62, 63, 64)))), strconv.Itoa(d.IntN(1<<d.IntN(40)))))
			}
			pipe.Do(d, args...)
		}
		return nil
	})
	if d.comparison.Err() == nil {
		d.compareStream(name)
	}
}

// name is a key of a store, as the server has it.
func (d *duel) name(at int) string {
	partitions := max(1, d.stores[at].Partitions())
	metadata := fmt.Sprintf("%s:{%d}", d.prefixes[at], d.IntN(partitions))
	return pick(d, metadata, metadata+"!journal", metadata+"!none", metadata+":"+d.key(), metadata+":"+d.key(), "another")
}

// meddle does what no driver does, to what drivers have stored.
func (d *duel) meddle(at int) {
	name := d.name(at)
	do := func(args ...any) { _ = d.client.Do(d, args...) }
	switch d.IntN(16) {
	case 0:
		do(pick(d, "DEL", "RENAME"), name, d.name(at))
	case 1:
		do("SET", name, d.metadata())
	case 2:
		do("SET", name, d.image(driver.KindValue, driver.KindLease, driver.KindWatermark, driver.KindStale, 7, 0), "PX", d.IntN(1000))
	case 3:
		do("SET", name, pick(d, "", "nb", "garbage", string(make([]byte, 64)), string(make([]byte, 96))), pick(d, "NX", "XX"))
	case 4:
		do("SETRANGE", name, d.IntN(100), pick(d, "", "x", "\x00\x00\x00"))
	case 5:
		do("XADD", name, pick(d, "*", "1-0", "0-0", "x", strconv.FormatUint(d.number(), 10)+"-0", "18446744073709551615-18446744073709551615"),
			pick(d, "k", "f"), string(d.image(driver.KindValue)[:d.IntN(64)]))
	case 6:
		do("XADD", name, "MAXLEN", "~", pick(d, 0, 1, 100, 250, -1), "*", "k", pick(d, "1", "-12345", "128", "70000", "99999999999", "007", "-0"))
	case 7:
		do("PEXPIRE", name, d.IntN(3000)-100)
	case 8:
		do("GETRANGE", name, d.IntN(200)-100, d.IntN(200)-100)
	case 9:
		do(pick(d, "XRANGE", "XREVRANGE"), name, pick(d, "-", "+", "1", "5-1", "x"), pick(d, "-", "+", "9e9", "1767323045678901"), "COUNT", d.IntN(5)-1)
	case 10:
		do("PERSIST", name)
	case 11:
		d.evaluate(pick(d, snippets...))
	case 12:
		do(pick(d, mistakes(name)...)...)
	case 13:
		if d.IntN(10) == 0 {
			do("SCRIPT", "FLUSH")
		}
	case 14:
		if d.IntN(50) == 0 {
			do("FLUSHALL")
		}
	case 15:
		do("PUBLISH", pick(d, newsChannel, "nobody"), d.IntN(1000))
	}
}

// metadata is what a store keeps of a partition, with other numbers.
func (d *duel) metadata() []byte {
	b := binary.BigEndian.AppendUint64(nil, d.number())
	b = binary.BigEndian.AppendUint64(b, d.number())
	b = append(b, bytes.Repeat([]byte(pick(d, "0", "a")), 80)...)
	return b[:pick(d, 96, 96, 96, 16, 95)]
}

// snippets are scripts that show how values are turned into others.
var snippets = []string{
	`return {1, 2.9, -2.9, 'text', true, 1e15, {2, {3}}, nil, 4}`,
	`return {false}`, `return redis.call('GET', KEYS[1])`, `return redis.pcall('XLEN', KEYS[1])`,
	`return {redis.call('SET', KEYS[1], ARGV[1], 'PX', 12345.0), redis.call('PTTL', KEYS[1])}`,
	`return {redis.call('TIME'), redis.call('EXISTS', KEYS[1])}`,
	`return redis.call('SET', KEYS[1], 1 / 3)`, `return redis.call('SET', KEYS[1], 2^53 + 2)`, `return redis.call('SET', KEYS[1], 1e30)`,
	`return redis.call('SET', KEYS[1], true)`, `return redis.call()`, `return redis.call('nosuch')`, `return redis.call('GET')`,
	`return redis.pcall('nosuch', 1)`, `return redis.call('SUBSCRIBE', 'x')`, "\n\nreturn redis.call('XADD', KEYS[1], '0-0', 'k', 'v')",
	`return redis.error_reply('MINE was it')`, `return redis.error_reply('-MINE was it')`, `return redis.status_reply('fine')`, `return {err = 'MINE'}`, `return {ok = 'fine'}`,
	`error('broken')`, "\nerror({err = 'MINE broken'})", `return nosuch`, `nosuch = 1`,
	`local done, e = pcall(redis.call, 'XADD', KEYS[1], '0-0', 'k', 'v'); return {done, type(e), e}`,
	`local done, e = pcall(error, {err = 'MINE'}); return e`,
	`redis.setresp(3); return redis.call('GET', 'nosuch')`, `return redis.call('GET', 'nosuch') == false`,
	`return redis.sha1hex(ARGV[1])`, `return struct.pack('>I8<I4>i2c3', 258, 258, -2, 'abcd')`, `return struct.pack('>I8I8I8', 2^63, 2^64, 1e30)`,
	`return {struct.unpack('>I8<I4c2', ARGV[1] .. string.rep('\1', 20))}`, `return struct.unpack('>I8', '')`,
	`return {struct.pack('>I8Bbc8', 1, 300, -2, '12345678')}`, `return {struct.unpack('BbI8', '\255\254' .. string.rep('\1', 8))}`,
	`return tostring(redis.REDIS_VERSION_NUM)`, `return {#KEYS, #ARGV, KEYS[1], ARGV[1], ARGV[3]}`,
	`return string.format('%.0f-0', 1767323045678901.0)`, `return {math.floor(1767323045678901 / 1000), tonumber(' 12 '), tonumber('x')}`,
	`return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')`, `return string.match(redis.call('INFO', 'replication'), 'master_replid2:(%x+)')`,
	`return string.match(redis.call('INFO', 'memory'), 'maxmemory_policy:([%w-]+)')`,
	`return redis.call('XADD', KEYS[1], 'MAXLEN', '~', 10, '*', 'k', 1)`,
	`redis.call('DEL', KEYS[1]); return redis.call('SET', KEYS[1], 'x')`,
}

func (d *duel) evaluate(script string) {
	_ = d.client.Eval(d, script, []string{d.name(0)}, pick(d, "", "x", "12345678", "\x01\x02\x03\x04\x05\x06\x07\x08\x09"), 2)
}

// mistakes are what no server takes.
func mistakes(name string) [][]any {
	return [][]any{
		{"NOSUCH", name, "b\r\nc"},
		{"GET"},
		{"get", "a", "b"},
		{"SET", name, "v", "PX", "0"},
		{"SET", name, "v", "PX", "x"},
		{"SET", name, "v", "nonsense"},
		{"SETRANGE", name, "-1", "x"},
		{"SETRANGE", name, "x", "x"},
		{"GETRANGE", name, "0", "x"},
		{"XADD", name, "MAXLEN", "~", "x", "*", "k", "v"},
		{"XADD", name, "*", "k", "v", "w"},
		{"XRANGE", name, "-", "+", "COUNT", "x"},
		{"XRANGE", name, "-", "+", "nonsense"},
		{"TIME", "x"},
		{"CLIENT", "NOSUCH"},
		{"CLIENT"},
		{"CLIENT", "SETNAME"},
		{"SCRIPT", "NOSUCH"},
		{"SCRIPT", "EXISTS", "x"},
		{"EVALSHA", "x", 0},
		{"EVAL", "return 1", 2, "a"},
		{"EVAL", "return 1", -1},
		{"EVAL", "return 1", "x"},
		{"PUBSUB", "NUMSUB", newsChannel, "x"},
		{"PUBSUB", "SHARDNUMSUB", "x"},
		{"PUBSUB", "NOSUCH"},
		{"SPUBLISH", "x", "y"},
		{"CLUSTER", "SLOTS"},
		{"PING", "a", "b"},
		{"PING", "a"},
		{"ECHO", "x"},
		{"SELECT", "99"},
		{"SELECT", "x"},
		{"HELLO", "9"},
		{"HELLO", "x"},
		{"HELLO", "3", "NOSUCH"},
		{"PEXPIRE", name, "x"},
		{"DBSIZE", "x"},
	}
}

// breakSomething begins a fault of both servers, or none.
func (d *duel) breakSomething() {
	switch d.IntN(8) {
	case 0:
		d.beReplica()
	case 1:
		d.configure("min-replicas-to-write", "1", "0")
		d.simulated.SetMinReplicas(1)
		d.also(func() { d.simulated.SetMinReplicas(0) })
	case 2, 3:
		d.beFull(pick(d, simredis.NoEviction, simredis.NoEviction, simredis.AllKeysLRU, simredis.VolatileRandom))
	case 4: // a right is missing
		name := pick(d, "info", "xadd", "publish", "get", "time")
		d.check(d.control.Do(d, "ACL", "SETUSER", "default", "-"+name).Err())
		d.simulated.Deny(true, name)
		d.undo = func() {
			d.check(d.control.Do(d, "ACL", "SETUSER", "default", "+"+name).Err())
			d.simulated.Deny(false, name)
		}
	case 5:
		if d.IntN(10) == 0 {
			d.beginAgain()
		}
	}
}

// configure changes what the real server is told, until the fault ends.
func (d *duel) configure(name, value, back string) {
	d.check(d.control.ConfigSet(d, name, value).Err())
	d.undo = func() { d.check(d.control.ConfigSet(d, name, back).Err()) }
}

// also has f called when the fault ends.
func (d *duel) also(f func()) {
	undo := d.undo
	d.undo = func() { undo(); f() }
}

// beReplica makes the servers replicas of one that is not there.
func (d *duel) beReplica() {
	nobody := simredis.New(simredis.Options{})
	nobody.Close()
	d.check(d.control.ReplicaOf(d, "127.0.0.1", "1").Err())
	d.simulated.SetReplicaOf(nobody)
	d.undo = func() {
		d.check(d.control.ReplicaOf(d, "NO", "ONE").Err())
		d.simulated.Promote()
		d.takeIDs()
	}
}

// beFull bounds the memory of the servers so that they are full whatever they have.
func (d *duel) beFull(policy simredis.Policy) {
	d.check(d.control.ConfigSet(d, "maxmemory-policy", string(policy)).Err())
	d.configure("maxmemory", "1", "0")
	d.simulated.SetMaxMemory(-1, policy)
	d.also(func() {
		d.check(d.control.ConfigSet(d, "maxmemory-policy", string(simredis.NoEviction)).Err())
		d.simulated.SetMaxMemory(0, simredis.NoEviction)
	})
}

// beginAgain begins with new processes, which have nothing.
func (d *duel) beginAgain() {
	d.check(d.real.Restart(d))
	require.NoError(d.t, d.real.FixClock(d.now()))
	d.simulated.Restart(nil)
	d.takeIDs()
	d.deaf = true
}

func (d *duel) check(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}
