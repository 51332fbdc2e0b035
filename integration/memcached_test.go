package integration_test

import (
	"bufio"
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
)

// memcachedPool is how many connections the clients keep.
const memcachedPool = 50

// newMemcache returns a client set up as the documentation says, but patient,
// because the machine may be slow.
func newMemcache(t testing.TB, addr string) *memcache.Client {
	client := memcache.New(addr)
	client.Timeout = 10 * time.Second
	client.MaxIdleConns = memcachedPool
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func newMemcacheStore(t testing.TB, client *memcache.Client, opts memcachestore.Options) *memcachestore.Store {
	if opts.Prefix == "" {
		opts.Prefix = uniqueName()
	}
	store, err := memcachestore.New(client, opts)
	require.NoError(t, err)
	return store
}

// sharedMemcacheStore returns a store of the shared server and the prefix of its names.
func sharedMemcacheStore(t testing.TB) (store *memcachestore.Store, client *memcache.Client, prefix string) {
	client, prefix = newMemcache(t, sharedMemcached(t).Addr), uniqueName()
	return newMemcacheStore(t, client, memcachestore.Options{Prefix: prefix}), client, prefix
}

func leaseOf(key string, token uint64, ttl time.Duration) driver.Lease {
	r := driver.Record{Kind: driver.KindLease, Nonce: token}
	return driver.Lease{Key: key, Image: r.Append(nil), TTL: ttl}
}

// acquireLease asks for a lease of a minute.
func acquireLease(t testing.TB, store driver.Store, key string, token uint64) driver.GrantStatus {
	t.Helper()
	grant := store.Acquire(t.Context(), []driver.Lease{leaseOf(key, token, time.Minute)})[0]
	require.NoError(t, grant.Err)
	return grant.Status
}

func putRecord(ctx context.Context, store driver.Store, key string, image []byte) error {
	return store.Write(ctx, []driver.Write{{Key: key, Image: image, TTL: time.Minute}})[0].Err
}

func fillLease(t testing.TB, store driver.Store, key string, image []byte) error {
	return store.Fill(t.Context(), []driver.Write{{Key: key, Image: image, TTL: time.Minute}})[0].Err
}

// recordOf returns the record of key, which must be there.
func recordOf(t testing.TB, store driver.Store, key string) driver.Record {
	t.Helper()
	images, err := store.Read(t.Context(), []string{key})
	require.NoError(t, err)
	r, err := driver.DecodeRecord(images[0])
	require.NoError(t, err)
	return r
}

// askMemcached sends a line to the server and returns the answer up to the
// line that ends it, or its only line.
func askMemcached(t testing.TB, addr, request string) []string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte(request + "\r\n"))
	require.NoError(t, err)
	var answer []string
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if lines.Text() == "END" {
			return answer
		}
		answer = append(answer, lines.Text())
		if !strings.HasPrefix(request, "stats") {
			return answer
		}
	}
	t.Fatalf("no end of the answer to %q", request)
	return nil
}

// memcachedStat returns a counter of the server.
func memcachedStat(t testing.TB, addr, name string) int {
	t.Helper()
	for _, line := range askMemcached(t, addr, "stats") {
		if number, ok := strings.CutPrefix(line, "STAT "+name+" "); ok {
			n, err := strconv.Atoi(number)
			require.NoError(t, err)
			return n
		}
	}
	t.Fatalf("the server has no counter %q", name)
	return 0
}

// secondsLeft returns for how long the server will keep an item; -1: for good.
func secondsLeft(t testing.TB, addr, name string) int {
	t.Helper()
	answer := askMemcached(t, addr, "mg "+name+" t")
	require.Regexp(t, `^HD t-?\d+$`, answer[0])
	n, err := strconv.Atoi(strings.TrimPrefix(answer[0], "HD t"))
	require.NoError(t, err)
	return n
}
