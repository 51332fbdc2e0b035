package integration_test

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
)

// pooled returns a store whose client keeps so many connections to addr.
func pooled(t *testing.T, addr string, conns int) *memcachestore.Store {
	t.Helper()
	var meeting atomic.Pointer[sync.WaitGroup]
	meeting.Store(new(sync.WaitGroup))
	meeting.Load().Add(conns)
	client := tapped(t, addr, "gets", func(conn net.Conn, p []byte) (int, error) {
		if all := meeting.Load(); all != nil { // each has a connection of its own
			all.Done()
			all.Wait()
		}
		return conn.Write(p)
	})
	store := newMemcacheStore(t, client, memcachestore.Options{})
	var reads sync.WaitGroup
	for range conns {
		reads.Go(func() {
			_, err := store.Read(t.Context(), []string{"k"})
			assert.NoError(t, err)
		})
	}
	reads.Wait()
	meeting.Store(nil)
	return store
}

// deaths are the ways in which all connections die that a client keeps.
var deaths = map[string]func(t *testing.T, conns int) (addr string, kill func()){
	"restart on the same port": func(t *testing.T, _ int) (string, func()) {
		server := servers.Memcached(t)
		return server.Addr, func() { require.NoError(t, server.Restart(t.Context())) }
	},
	"idle timeout of the server": func(t *testing.T, conns int) (string, func()) {
		server := servers.Memcached(t, "-o", "idle_timeout=1")
		return server.Addr, func() {
			require.Eventually(t, func() bool { return memcachedStat(t, server.Addr, "idle_kicks") >= conns },
				time.Minute, 10*time.Millisecond)
		}
	},
	"proxy that cuts": func(t *testing.T, _ int) (string, func()) {
		relay := servers.RelayTo(t, servers.Memcached(t).Addr)
		return relay.Addr, relay.Cut
	},
}

// TestMemcachedStore_DeadConnectionsCostNobodyACall: connections that died while the
// client kept them are found out by their use, and every call succeeds.
func TestMemcachedStore_DeadConnectionsCostNobodyACall(t *testing.T) {
	const conns = 16
	for name, call := range map[string]func(t *testing.T, store *memcachestore.Store, i uint64) error{
		"read": func(t *testing.T, store *memcachestore.Store, _ uint64) error {
			_, err := store.Read(t.Context(), []string{"k"})
			return err
		},
		"read of several": func(t *testing.T, store *memcachestore.Store, _ uint64) error {
			_, err := store.Read(t.Context(), []string{"k", "l", "m"})
			return err
		},
		"write": func(t *testing.T, store *memcachestore.Store, i uint64) error {
			return putRecord(t.Context(), store, "w"+strconv.FormatUint(i, 10), value(i+1, "v"))
		},
		"lease": func(t *testing.T, store *memcachestore.Store, i uint64) error {
			return store.Acquire(t.Context(), []driver.Lease{leaseOf("l"+strconv.FormatUint(i, 10), i+1, time.Minute)})[0].Err
		},
	} {
		for death, begin := range deaths {
			t.Run(name+", "+death, func(t *testing.T) {
				t.Parallel()
				addr, kill := begin(t, conns)
				store := pooled(t, addr, conns)
				kill()
				for i := range uint64(40) {
					require.NoError(t, call(t, store, i), "call %d", i)
				}
			})
			t.Run(name+" at once, "+death, func(t *testing.T) {
				t.Parallel()
				addr, kill := begin(t, conns)
				store := pooled(t, addr, conns)
				kill()
				var all sync.WaitGroup
				for i := range uint64(40) {
					all.Go(func() { assert.NoError(t, call(t, store, i), "call %d", i) })
				}
				all.Wait()
			})
		}
	}
}

// deafConn is a connection that dies under the first request of a kind: before the
// server has it, or after the server has answered.
type deafConn struct {
	net.Conn
	verb      string
	delivered bool
	dying     *atomic.Bool // still to come
	dead      bool
}

func (c *deafConn) Write(p []byte) (int, error) {
	if !strings.HasPrefix(string(p), c.verb+" ") || !c.dying.CompareAndSwap(true, false) {
		return c.Conn.Write(p)
	}
	c.dead = true
	if c.delivered {
		if _, err := c.Conn.Write(p); err != nil {
			return 0, err
		}
		if _, err := c.Conn.Read(make([]byte, 64)); err != nil { // the answer
			return 0, err
		}
	}
	return len(p), nil
}

func (c *deafConn) Read(p []byte) (int, error) {
	if c.dead {
		return 0, io.EOF
	}
	return c.Conn.Read(p)
}

// TestMemcachedStore_WriteOnADeadConnection: a write whose connection dies is stored
// once, whether the server had it or not.
func TestMemcachedStore_WriteOnADeadConnection(t *testing.T) {
	for _, verb := range []string{"add", "cas"} {
		for _, delivered := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, delivered %v", verb, delivered), func(t *testing.T) {
				server := servers.Memcached(t)
				prefix, dying := uniqueName(), new(atomic.Bool)
				plain := newMemcacheStore(t, newMemcache(t, server.Addr), memcachestore.Options{Prefix: prefix})
				store := newMemcacheStore(t, dyingClient(t, server.Addr, verb, delivered, dying), memcachestore.Options{Prefix: prefix})
				if verb == "cas" {
					require.NoError(t, putRecord(t.Context(), plain, "k", value(1, "old")))
					require.NoError(t, putRecord(t.Context(), plain, "clock", tombstone(1)))
				}
				before := memcachedStat(t, server.Addr, "cmd_set")

				dying.Store(true)
				require.NoError(t, putRecord(t.Context(), store, "k", value(2, "new")))
				require.False(t, dying.Load(), "no connection died")
				record := recordOf(t, plain, "k")
				assert.EqualValues(t, 2, record.Nonce)
				assert.Equal(t, "new", string(record.Value))
				assert.EqualValues(t, 1, memcachedStat(t, server.Addr, "cmd_set")-before)

				dying.Store(true)
				raised := driver.Record{Kind: driver.KindWatermark, Nonce: 3}
				r := store.Write(t.Context(), []driver.Write{{Key: "clock", Image: raised.Append(nil)}})[0]
				require.NoError(t, r.Err)
				require.False(t, dying.Load(), "no connection died")
				assert.Equal(t, r.Revision, recordOf(t, plain, "clock").Revision, "the receipt is of what is stored")
			})
		}
	}
}

func dyingClient(t *testing.T, addr, verb string, delivered bool, dying *atomic.Bool) *memcache.Client {
	client := newMemcache(t, addr)
	client.DialContext = dialing(func(conn net.Conn) net.Conn {
		return &deafConn{Conn: conn, verb: verb, delivered: delivered, dying: dying}
	})
	return client
}
