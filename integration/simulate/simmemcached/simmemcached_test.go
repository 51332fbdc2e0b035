package simmemcached_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/stretchr/testify/assert"

	"github.com/nearbus/nearbus/integration/simulate/simmemcached"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
	"github.com/nearbus/nearbus/shared/storetest"
)

// newClient returns a client of a server.
func newClient(t testing.TB, server *simmemcached.Server) *memcache.Client {
	client := memcache.New("192.0.2.1:11211") // an address: no bubble can look up names
	client.MaxIdleConns = 50
	client.DialContext = func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go server.Serve(far) // ends with the client
		return near, nil
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func newServer(t testing.TB) *simmemcached.Server {
	server := simmemcached.New(simmemcached.Options{})
	t.Cleanup(server.Close)
	return server
}

func TestServer_CarriesTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t)
		client := newClient(t, server)
		stores := 0
		err := storetest.Check(t.Context(), storetest.Harness{
			NoRevisions: true, NoJournal: true,
			New: func() (driver.Store, error) {
				stores++
				return memcachestore.New(client, memcachestore.Options{Prefix: fmt.Sprint("store", stores)})
			},
			Plant: func(_ context.Context, _ driver.Store, key string, data []byte) error {
				return client.Set(&memcache.Item{Key: fmt.Sprintf("store%d:%s", stores, key), Value: data})
			},
		})
		assert.NoError(t, err)
		assert.Empty(t, server.Unknown())
	})
}
