package simredis_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/simulate/simredis"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// calls are what the driver calls most.
func calls() map[string]func(b *testing.B, store *redisstore.Store, i int) error {
	value := make([]byte, 200)
	keys := make([]string, 100)
	for i := range keys {
		keys[i] = fmt.Sprint("key", i)
	}
	image := func(kind driver.Kind, value []byte) []byte {
		r := driver.Record{Kind: kind, Nonce: driver.NewNonce(), Value: value}
		return r.Append(nil)
	}
	return map[string]func(b *testing.B, store *redisstore.Store, i int) error{
		"write": func(b *testing.B, store *redisstore.Store, i int) error {
			return store.Write(b.Context(), []driver.Write{{Key: keys[i%len(keys)], Image: image(driver.KindValue, value), TTL: time.Minute}})[0].Err
		},
		"acquire": func(b *testing.B, store *redisstore.Store, i int) error {
			return store.Acquire(b.Context(), []driver.Lease{{Key: keys[i%len(keys)], Image: image(driver.KindLease, nil), TTL: time.Minute}})[0].Err
		},
		"tail": func(b *testing.B, store *redisstore.Store, _ int) error {
			return store.Tail(b.Context(), []driver.TailRead{{Limit: 10}})[0].Err
		},
		"read": func(b *testing.B, store *redisstore.Store, i int) error {
			_, err := store.Read(b.Context(), keys[i%len(keys):][:1])
			return err
		},
	}
}

// BenchmarkStore has the driver call one server, one call after the other.
func BenchmarkStore(b *testing.B) {
	for name, call := range calls() {
		b.Run(name, func(b *testing.B) {
			server := newServer(b, simredis.Options{})
			store, err := redisstore.New(newClient(b, server), redisstore.Options{})
			require.NoError(b, err)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				require.NoError(b, call(b, store, i))
			}
		})
	}
}

// BenchmarkServer has a server carry out what the driver sent, without the driver: two
// requests in turn, so that no write is stored already, on a connection that never waits.
func BenchmarkServer(b *testing.B) {
	for name, call := range calls() {
		b.Run(name, func(b *testing.B) {
			server := newServer(b, simredis.Options{})
			recorded := new(recordedConn)
			client := newClient(b, server, func(o *redis.Options) {
				dial := o.Dialer
				o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := dial(ctx, network, addr)
					recorded.Conn = conn
					return recorded, err
				}
			})
			store, err := redisstore.New(client, redisstore.Options{})
			require.NoError(b, err)
			require.NoError(b, call(b, store, 0)) // with the script
			require.NoError(b, call(b, store, 0))
			first := bytes.Clone(recorded.last)
			require.NoError(b, call(b, store, 0))
			b.ReportAllocs()
			b.ResetTimer()
			server.Serve(&repeatedConn{request: append(first, recorded.last...), times: (b.N + 1) / 2})
		})
	}
}

// BenchmarkNew makes a server and runs its first script.
func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		server := simredis.New(simredis.Options{})
		server.Serve(&repeatedConn{request: []byte("*3\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n$1\r\n0\r\n"), times: 1})
	}
}

// recordedConn knows what was written last.
type recordedConn struct {
	net.Conn
	last []byte
}

func (c *recordedConn) Write(b []byte) (int, error) {
	c.last = append(c.last[:0], b...)
	return c.Conn.Write(b)
}

// repeatedConn is the server's side of a client that sends the same several times.
type repeatedConn struct {
	net.Conn
	request []byte
	times   int
}

func (c *repeatedConn) Read(b []byte) (int, error) {
	if c.times == 0 {
		return 0, io.EOF
	}
	c.times--
	return copy(b, c.request), nil
}

func (c *repeatedConn) Write(b []byte) (int, error) { return len(b), nil }

func (c *repeatedConn) Close() error { return nil }
