package command_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearredis"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
)

// opened adds a server over a store and a transport.
func opened(t *testing.T, store driver.Store, transport bus.Transport) *member {
	t.Helper()
	node, err := nearcache.Open(t.Context(), store, transport, nearcache.OpenOptions{Bus: bus.Options{Node: "web-1"}})
	return ready(t, node, err)
}

func ready(t *testing.T, node *nearcache.Node, err error) *member {
	t.Helper()
	require.NoError(t, err)
	t.Cleanup(func() { node.Close(t.Context()) })
	m := &member{node: node}
	m.Cache, err = nearcache.New(node, "users", nearcache.Options[string]{})
	require.NoError(t, err)
	require.Eventually(t, func() bool { h := node.Health(); return h.Trusted && !h.BusCut }, patience, time.Millisecond)
	return m
}

// requireInvalidates requires that the program ends what a server has near.
func requireInvalidates(t *testing.T, m *member, env []string) {
	t.Helper()
	s := &site{t: t, env: env}
	s.requireAlike(1)
	for _, command := range []string{"invalidate users 42", "delete users 42", "invalidate-tags users blue", "clear users"} {
		m.fetch(t, "blue")
		before := m.loads.Load()
		m.fetch(t, "blue")
		require.Equal(t, before, m.loads.Load(), "it is near")
		code, out, errs := s.run(strings.Fields(command)...)
		require.Zero(t, code, errs)
		assert.Contains(t, out, "1 of 1 server applied it")
		m.fetch(t, "blue")
		assert.Equal(t, before+1, m.loads.Load(), command)
	}
	code, found := doctored(t, env)
	requireBad(t, found)
	assert.Zero(t, code)
}

// natsConn connects as servers do.
func natsConn(t *testing.T, addr string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("nats://"+addr, nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

func TestWrite_MemcachedAndNATS(t *testing.T) {
	t.Parallel()
	memcached, server := servers.Memcached(t), servers.NATS(t)
	client := memcache.New(memcached.Addr)
	client.MaxIdleConns = 16
	store, err := memcachestore.New(client, memcachestore.Options{Namespace: "shop"})
	require.NoError(t, err)
	transport, err := natsbus.New(natsConn(t, server.Addr), natsbus.Options{Namespace: "shop"})
	require.NoError(t, err)
	requireInvalidates(t, opened(t, store, transport), []string{
		"NEARBUS_STORE=memcached://" + memcached.Addr, "NEARBUS_BUS=nats://" + server.Addr, "NEARBUS_NAMESPACE=shop", "NEARBUS_TIMEOUT=30s",
	})
}

func TestWrite_RedisAndJetStream(t *testing.T) {
	t.Parallel()
	server, nc := servers.Redis(t), servers.NATS(t, servers.JetStream)
	client := redis.NewClient(nearredis.Recommend(&redis.Options{Addr: server.Addr}))
	t.Cleanup(func() { _ = client.Close() })
	node, err := nearredis.Open(t.Context(), client, nearredis.Options{
		Namespace: "shop",
		Transport: func(namespace string) (bus.Transport, error) {
			return natsbus.NewStream(t.Context(), natsConn(t, nc.Addr), natsbus.StreamOptions{Namespace: namespace})
		},
	})
	requireInvalidates(t, ready(t, node, err), []string{
		"NEARBUS_STORE=redis://" + server.Addr, "NEARBUS_BUS=nats+jetstream://" + nc.Addr, "NEARBUS_NAMESPACE=shop", "NEARBUS_TIMEOUT=30s",
	})
}

func TestWrite_Cluster(t *testing.T) {
	t.Parallel()
	cluster := servers.RedisCluster(t, 3)
	client := redis.NewClusterClient(nearredis.Recommend(&redis.ClusterOptions{Addrs: cluster.Addrs()}))
	t.Cleanup(func() { _ = client.Close() })
	node, err := nearredis.Open(t.Context(), client, nearredis.Options{Namespace: "shop"})
	requireInvalidates(t, ready(t, node, err), []string{
		"NEARBUS_STORE=redis+cluster://" + strings.Join(cluster.Addrs(), ","), "NEARBUS_NAMESPACE=shop", "NEARBUS_TIMEOUT=30s",
	})
}

// TestWrite_Encrypted: with certificates on both sides.
func TestWrite_Encrypted(t *testing.T) {
	t.Parallel()
	certificates := servers.NewCertificates(t)
	_, secure := servers.RedisTLS(t, certificates)
	client := redis.NewClient(nearredis.Recommend(&redis.Options{Addr: secure, TLSConfig: certificates.Client}))
	t.Cleanup(func() { _ = client.Close() })
	cert, key := written(t, certificates.Client)
	node, err := nearredis.Open(t.Context(), client, nearredis.Options{})
	requireInvalidates(t, ready(t, node, err), []string{
		"NEARBUS_STORE=rediss://" + secure, "NEARBUS_CA=" + certificates.Authority, "NEARBUS_CERT=" + cert, "NEARBUS_KEY=" + key,
		"NEARBUS_TIMEOUT=30s",
	})
}

// written writes the certificate of a client, and its key, to files.
func written(t *testing.T, config *tls.Config) (cert, key string) {
	t.Helper()
	pair := config.Certificates[0]
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	require.NoError(t, err)
	cert, key = filepath.Join(t.TempDir(), "cert"), filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	return cert, key
}
