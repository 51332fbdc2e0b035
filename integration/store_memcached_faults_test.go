package integration_test

import (
	"bytes"
	"context"
	"net"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
)

// TestMemcachedStore_RestartEndsLeases: the restarted server gives the cas
// number of the old lease to another record, and still the old Fill fails.
func TestMemcachedStore_RestartEndsLeases(t *testing.T) {
	server := servers.Memcached(t)
	prefix := uniqueName()
	node := func() *memcachestore.Store {
		return newMemcacheStore(t, newMemcache(t, server.Addr), memcachestore.Options{Prefix: prefix})
	}
	number := func() uint64 { return recordOf(t, node(), "k").Revision.Number }

	require.Equal(t, driver.LeaseGranted, acquireLease(t, node(), "k", 1))
	before := number()
	require.NoError(t, server.Restart(t.Context()))
	require.ErrorIs(t, fillLease(t, node(), "k", value(1, "stale")), shared.ErrLeaseLost)

	require.Equal(t, driver.LeaseGranted, acquireLease(t, node(), "k", 2))
	require.Equal(t, before, number(), "the number is given again")
	require.ErrorIs(t, fillLease(t, node(), "k", value(1, "stale")), shared.ErrLeaseLost)
	require.NoError(t, fillLease(t, node(), "k", value(2, "fresh")))

	require.NoError(t, server.Restart(t.Context()))
	require.NoError(t, putRecord(t.Context(), node(), "k", value(3, "written")))
	require.Equal(t, before, number())
	require.ErrorIs(t, fillLease(t, node(), "k", value(1, "stale")), shared.ErrLeaseLost)
	require.Equal(t, "written", string(recordOf(t, node(), "k").Value))
}

// TestMemcachedStore_ConcurrentWriters lets several nodes fight for one key.
func TestMemcachedStore_ConcurrentWriters(t *testing.T) {
	const nodes, rounds = 8, 50
	prefix := uniqueName()
	var revisions sync.Map
	var granted, filled atomic.Int64
	var all sync.WaitGroup
	for node := range uint64(nodes) {
		store := newMemcacheStore(t, newMemcache(t, sharedMemcached(t).Addr), memcachestore.Options{Prefix: prefix})
		all.Go(func() {
			for round := range uint64(rounds) {
				nonce := node<<32 | round + 1
				assert.NoError(t, putRecord(t.Context(), store, "written", value(nonce, "v")))
				raised := driver.Record{Kind: driver.KindWatermark, Nonce: nonce}
				r := store.Write(t.Context(), []driver.Write{{Key: "clock", Image: raised.Append(nil)}})[0]
				assert.NoError(t, r.Err)
				_, twice := revisions.LoadOrStore(r.Revision.Number, nonce)
				assert.False(t, twice, "two writes of one revision")

				key := "leased" + strconv.FormatUint(round, 10)
				grant := store.Acquire(t.Context(), []driver.Lease{leaseOf(key, nonce, time.Minute)})[0]
				assert.NoError(t, grant.Err)
				if grant.Status == driver.LeaseGranted {
					granted.Add(1)
				}
				if store.Fill(t.Context(), []driver.Write{{Key: key, Image: value(nonce, "v")}})[0].Err == nil {
					filled.Add(1)
				}
			}
		})
	}
	all.Wait()
	assert.EqualValues(t, rounds, granted.Load(), "one lease for each key")
	assert.EqualValues(t, rounds, filled.Load())
}

// tap is a connection that has requests of one kind sent by a function.
type tap struct {
	net.Conn
	verb string
	send func(conn net.Conn, request []byte) (int, error)
}

func (c *tap) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte(c.verb+" ")) {
		return c.send(c.Conn, p)
	}
	return c.Conn.Write(p)
}

// tapped returns a client with taps for connections.
func tapped(t testing.TB, addr, verb string, send func(net.Conn, []byte) (int, error)) *memcache.Client {
	client := newMemcache(t, addr)
	client.DialContext = dialing(func(conn net.Conn) net.Conn { return &tap{conn, verb, send} })
	return client
}

// dialing returns a DialContext whose connections are wrapped.
func dialing(wrap func(net.Conn) net.Conn) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return wrap(conn), nil
	}
}

// TestMemcachedStore_AbandonedWrites holds a request back until a later write
// was acknowledged: when it lands, the server refuses it.
func TestMemcachedStore_AbandonedWrites(t *testing.T) {
	for verb, counter := range map[string]string{"cas": "cas_badval", "add": "cmd_set"} {
		t.Run(verb, func(t *testing.T) {
			server := servers.Memcached(t)
			relay := servers.RelayTo(t, server.Addr)
			prefix := uniqueName()
			store := newMemcacheStore(t, newMemcache(t, server.Addr), memcachestore.Options{Prefix: prefix})
			abandoning := newMemcacheStore(t, tapped(t, relay.Addr, verb, func(conn net.Conn, p []byte) (int, error) {
				relay.Stall()
				defer conn.Close()
				return conn.Write(p)
			}), memcachestore.Options{Prefix: prefix})
			if verb == "cas" {
				require.NoError(t, putRecord(t.Context(), store, "k", value(1, "first")))
			}

			require.Error(t, putRecord(t.Context(), abandoning, "k", value(2, "abandoned")))
			require.NoError(t, putRecord(t.Context(), store, "k", value(3, "later")))
			before := memcachedStat(t, server.Addr, counter)
			require.NoError(t, relay.Resume())
			require.Eventually(t, func() bool { return memcachedStat(t, server.Addr, counter) > before },
				10*time.Second, time.Millisecond, "it never landed")
			assert.Equal(t, "later", string(recordOf(t, store, "k").Value))
		})
	}
}

// TestMemcachedStore_WriteInBetween forces another write between the gets and
// the cas of a write, once and always.
func TestMemcachedStore_WriteInBetween(t *testing.T) {
	store, _, prefix := sharedMemcacheStore(t)
	interfere := func() {} // is called before each cas of the victim
	victim := newMemcacheStore(t, tapped(t, sharedMemcached(t).Addr, "cas", func(conn net.Conn, p []byte) (int, error) {
		interfere()
		return conn.Write(p)
	}), memcachestore.Options{Prefix: prefix})
	write := func() { assert.NoError(t, putRecord(t.Context(), store, "k", value(driver.NewNonce(), "in between"))) }
	stored := func() string { return string(recordOf(t, store, "k").Value) }
	require.NoError(t, putRecord(t.Context(), store, "k", value(1, "first")))

	t.Run("once", func(t *testing.T) {
		interfere = sync.OnceFunc(write)
		require.NoError(t, putRecord(t.Context(), victim, "k", value(2, "last")))
		assert.Equal(t, "last", stored())
	})
	t.Run("a lease is lost", func(t *testing.T) {
		require.NoError(t, putRecord(t.Context(), store, "k", tombstone(3)))
		interfere = func() {}
		require.Equal(t, driver.LeaseGranted, acquireLease(t, victim, "k", 4))
		interfere = sync.OnceFunc(write)
		require.ErrorIs(t, fillLease(t, victim, "k", value(4, "stale")), shared.ErrLeaseLost)
		assert.Equal(t, "in between", stored())
	})
	t.Run("a lease is not given", func(t *testing.T) {
		require.NoError(t, putRecord(t.Context(), store, "k", tombstone(5)))
		interfere = sync.OnceFunc(write)
		require.Equal(t, driver.LeasePresent, acquireLease(t, victim, "k", 6))
	})
	t.Run("always", func(t *testing.T) {
		interfere = write
		require.ErrorContains(t, putRecord(t.Context(), victim, "k", value(7, "never")), "other writers came first")
		assert.Equal(t, "in between", stored())
	})
	t.Run("until the context ends", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		interfere = func() { write(); cancel() }
		require.ErrorIs(t, putRecord(ctx, victim, "k", value(8, "never")), context.Canceled)
		assert.Equal(t, "in between", stored())
	})
	t.Run("a lease is not given until the context ends", func(t *testing.T) {
		require.NoError(t, putRecord(t.Context(), store, "k", tombstone(9)))
		ctx, cancel := context.WithCancel(t.Context())
		interfere = func() { write(); cancel() }
		grant := victim.Acquire(ctx, []driver.Lease{leaseOf("k", 10, time.Minute)})[0]
		require.ErrorIs(t, grant.Err, context.Canceled)
		assert.Zero(t, grant.Status)
	})
}

// TestMemcachedStore_DeadlineInBetween lets the deadline pass between the gets
// and the cas of a write, which then is not sent.
func TestMemcachedStore_DeadlineInBetween(t *testing.T) {
	store, _, prefix := sharedMemcacheStore(t)
	require.NoError(t, putRecord(t.Context(), store, "k", value(1, "in time")))
	deadline := time.Now().Add(50 * time.Millisecond)
	late := newMemcacheStore(t, tapped(t, sharedMemcached(t).Addr, "gets", func(conn net.Conn, p []byte) (int, error) {
		for !time.Now().After(deadline) {
			runtime.Gosched()
		}
		return conn.Write(p)
	}), memcachestore.Options{Prefix: prefix})
	r := late.Write(t.Context(), []driver.Write{{Key: "k", Image: value(2, "late"), NotAfter: deadline}})[0]
	require.ErrorIs(t, r.Err, shared.ErrTooLate)
	assert.Equal(t, "in time", string(recordOf(t, store, "k").Value))
}

// TestMemcachedStore_StaysWithinThePool: many callers, no more connections than
// the client keeps, none opened anew.
func TestMemcachedStore_StaysWithinThePool(t *testing.T) {
	server := servers.Memcached(t)
	store := newMemcacheStore(t, newMemcache(t, server.Addr), memcachestore.Options{})
	before := memcachedStat(t, server.Addr, "total_connections")
	var all sync.WaitGroup
	for caller := range 8 * memcachedPool {
		all.Go(func() {
			for round := range 5 {
				key := strconv.Itoa(caller) + "-" + strconv.Itoa(round)
				assert.NoError(t, putRecord(t.Context(), store, key, value(1, "v")))
				_, err := store.Read(t.Context(), []string{key, "none"})
				assert.NoError(t, err)
			}
		})
	}
	all.Wait()
	opened := memcachedStat(t, server.Addr, "total_connections") - before - 1 // that of the question
	assert.LessOrEqual(t, opened, memcachedPool)
}

// TestMemcachedStore_NobodyComesInBetweenInLine: a write that waited for a
// connection keeps it until it is done, or those in line would overtake it.
func TestMemcachedStore_NobodyComesInBetweenInLine(t *testing.T) {
	const writers, rounds = 8, 20
	var sent atomic.Int64
	client := tapped(t, sharedMemcached(t).Addr, "cas", func(conn net.Conn, p []byte) (int, error) {
		sent.Add(1)
		return conn.Write(p)
	})
	client.MaxIdleConns = 1
	store := newMemcacheStore(t, client, memcachestore.Options{})
	require.NoError(t, putRecord(t.Context(), store, "k", value(1, "v")))
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range rounds {
				assert.NoError(t, putRecord(t.Context(), store, "k", value(driver.NewNonce(), "v")))
			}
		})
	}
	all.Wait()
	assert.EqualValues(t, writers*rounds, sent.Load(), "none was sent twice")
}

// TestMemcachedStore_WaitingEndsWithTheContext: the whole pool is in use.
func TestMemcachedStore_WaitingEndsWithTheContext(t *testing.T) {
	client := newMemcache(t, sharedMemcached(t).Addr)
	client.MaxIdleConns = 1
	dialing, dial := make(chan struct{}), make(chan struct{})
	client.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		close(dialing)
		<-dial
		return (&net.Dialer{}).DialContext(t.Context(), network, addr)
	}
	store := newMemcacheStore(t, client, memcachestore.Options{})
	var first sync.WaitGroup
	first.Go(func() {
		_, err := store.Read(t.Context(), []string{"k"})
		assert.NoError(t, err)
	})
	<-dialing
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := store.Read(ctx, []string{"k"})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	close(dial)
	first.Wait()
}

// TestMemcachedStore_WritesRunAtATime: each of several writes waits for the
// others before its answer comes.
func TestMemcachedStore_WritesRunAtATime(t *testing.T) {
	const parallel = 16
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var under atomic.Int64
	together := make(chan struct{})
	store := newMemcacheStore(t, tapped(t, sharedMemcached(t).Addr, "add", func(conn net.Conn, p []byte) (int, error) {
		if under.Add(1) == parallel {
			close(together)
		}
		select {
		case <-together:
		case <-ctx.Done():
		}
		return conn.Write(p)
	}), memcachestore.Options{})
	writes := make([]driver.Write, 2*parallel)
	for i := range writes {
		writes[i] = driver.Write{Key: strconv.Itoa(i), Image: value(1, "v")}
	}
	for _, r := range store.Write(ctx, writes) {
		require.NoError(t, r.Err)
	}
}

func TestMemcachedStore_ServerDown(t *testing.T) {
	server := servers.Memcached(t)
	store := newMemcacheStore(t, newMemcache(t, server.Addr), memcachestore.Options{})
	server.Stop()
	_, err := store.Read(t.Context(), []string{"k"})
	require.ErrorContains(t, err, "memcachestore: read: ")
	_, err = store.Read(t.Context(), []string{"k", "l"})
	require.ErrorContains(t, err, "memcachestore: read: ")
	require.ErrorContains(t, putRecord(t.Context(), store, "k", value(1, "v")), "memcachestore: write: ")
	require.ErrorContains(t, fillLease(t, store, "k", value(1, "v")), "memcachestore: write: ")
	grant := store.Acquire(t.Context(), []driver.Lease{leaseOf("k", 1, time.Minute)})[0]
	require.ErrorContains(t, grant.Err, "memcachestore: acquire: ")
}

// TestMemcachedStore_ServerHangs: the client's timeout ends a call, and the
// error is that of the context when it ended meanwhile.
func TestMemcachedStore_ServerHangs(t *testing.T) {
	server := servers.Memcached(t)
	client := newMemcache(t, server.Addr)
	client.Timeout = 100 * time.Millisecond
	store := newMemcacheStore(t, client, memcachestore.Options{})
	require.NoError(t, server.Pause())
	defer func() { require.NoError(t, server.Resume()) }()

	_, err := store.Read(t.Context(), []string{"k"})
	require.ErrorContains(t, err, "timeout")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = store.Read(ctx, []string{"k"})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, putRecord(ctx, store, "k", value(1, "v")), context.DeadlineExceeded)
}
