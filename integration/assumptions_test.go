package integration_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// The tests of this file break on purpose what docs/assumptions.md says that the
// guarantees stand on, and show what happens then.

// loner is a node with a cache.
type loner struct {
	*nearcache.Cache[string]
	node *nearcache.Node
	log  *lines
}

func newLoner(t *testing.T, store driver.Store, transport bus.Transport) *loner {
	t.Helper()
	tier, err := shared.New(store, shared.Options{Timeout: 5 * time.Second})
	require.NoError(t, err)
	b, err := bus.New(transport, bus.Options{})
	require.NoError(t, err)
	l := &loner{log: new(lines)}
	l.node, err = nearcache.NewNode(tier, b, nearcache.NodeOptions{
		JournalInterval: 50 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(l.log, nil)),
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.node.Close(ended); assert.NoError(t, b.Close()) })
	l.Cache, err = nearcache.New(l.node, "users", nearcache.Options[string]{})
	require.NoError(t, err)
	return l
}

func (l *loner) awaitTrust(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { h := l.node.Health(); return h.Trusted && !h.BusCut }, 30*time.Second, time.Millisecond)
}

// holdsOld requires that the cache has the old value.
func (l *loner) holdsOld(t *testing.T) {
	t.Helper()
	v, err := l.Get(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, "old", v)
}

// replicaOf returns a server that follows another one.
func replicaOf(t *testing.T, primary *servers.Process, args ...string) *servers.Process {
	t.Helper()
	replica := servers.Redis(t, args...)
	host, port, err := net.SplitHostPort(primary.Addr)
	require.NoError(t, err)
	client := newRedis(t, replica.Addr)
	require.NoError(t, client.ReplicaOf(t.Context(), host, port).Err())
	require.Eventually(t, func() bool {
		return strings.Contains(client.Info(t.Context(), "replication").Val(), "master_link_status:up")
	}, 30*time.Second, time.Millisecond)
	return replica
}

// TestAssumption_ThePrimary: the client of a node reaches a replica. Where that takes no
// writes, the node believes nothing. Where it does, its journal is another one each time the
// primary writes, and the log says so.
func TestAssumption_ThePrimary(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ readOnly, says string }{
		{"yes", "cannot read the journal"},
		{"no", "flushed the near tier, because the journal cannot be read on"},
	} {
		t.Run("replica-read-only "+c.readOnly, func(t *testing.T) {
			primary := servers.Redis(t)
			replica := replicaOf(t, primary, "--replica-read-only", c.readOnly)
			hub, opts := membus.NewHub(), redisstore.Options{Prefix: uniqueName()}
			here := newLoner(t, journalOn(t, newRedis(t, primary.Addr), opts), hub.Join())
			there := newLoner(t, journalOn(t, newRedis(t, replica.Addr), opts), hub.Join())
			here.awaitTrust(t)
			require.Eventually(t, func() bool {
				require.NoError(t, here.Set(t.Context(), "k", "v"))
				return strings.Contains(there.log.String(), c.says)
			}, 30*time.Second, 10*time.Millisecond)
			if c.readOnly == "yes" {
				require.ErrorIs(t, there.Set(t.Context(), "k", "v"), nearcache.ErrOutcomeUnknown)
				require.False(t, there.node.Health().Trusted)
			}
		})
	}
}

// TestAssumption_OneServerBehindAnAddress: each connection reaches another one of two
// servers that know nothing of each other. Reads that prove it are counted.
func TestAssumption_OneServerBehindAnAddress(t *testing.T) {
	t.Parallel()
	behind := []string{servers.Redis(t).Addr, servers.Redis(t).Addr}
	var dialed atomic.Int64
	client := redis.NewClient(&redis.Options{
		Addr: "redis.example:6379", PoolSize: 4, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, behind[dialed.Add(1)%2])
		},
	})
	defer client.Close()
	l := newLoner(t, journalOn(t, client, redisstore.Options{}), membus.NewHub().Join())
	l.awaitTrust(t)
	require.Eventually(t, func() bool {
		var all sync.WaitGroup // so that several connections are used
		for i := range 8 {
			key := fmt.Sprint(i)
			all.Go(func() {
				_ = l.Set(t.Context(), key, "v")
				_, _ = l.Read(t.Context(), key, nearcache.ReadOptions{FromShared: true}, nil)
			})
		}
		all.Wait()
		return l.node.Stats().Unproven > 0
	}, 30*time.Second, time.Millisecond)
}

// TestAssumption_JournalLengthAlike: a node without a journal writes beside one that has it.
// What the bus loses then nobody notices.
func TestAssumption_JournalLengthAlike(t *testing.T) {
	t.Parallel()
	server, prefix := sharedRedis(t), uniqueName()
	without := newLoner(t, journalOn(t, newRedis(t, server.Addr), redisstore.Options{Prefix: prefix, JournalLength: -1}), membus.NewHub().Join())
	with := newLoner(t, journalOn(t, newRedis(t, server.Addr), redisstore.Options{Prefix: prefix}), membus.NewHub().Join())
	without.awaitTrust(t)
	with.awaitTrust(t)
	require.NoError(t, without.Set(t.Context(), "k", "old"))
	with.holdsOld(t)
	require.NoError(t, without.Set(t.Context(), "k", "new"))
	rounds := with.node.Stats().Journal.Rounds + 3
	require.Eventually(t, func() bool { return with.node.Stats().Journal.Rounds >= rounds }, 30*time.Second, time.Millisecond)
	with.holdsOld(t)
	assert.True(t, with.node.Health().Trusted)
}

// TestAssumption_EverybodyIsHeard: the bus of one node is a replica. It hears the others; what
// it publishes there the primary does not get. Without a journal nobody notices but Barrier.
func TestAssumption_EverybodyIsHeard(t *testing.T) {
	t.Parallel()
	primary, cached := servers.Redis(t), servers.Memcached(t)
	replica := replicaOf(t, primary)
	join := func(addr string) *loner {
		store, err := memcachestore.New(memcache.New(cached.Addr), memcachestore.Options{})
		require.NoError(t, err)
		transport, err := redisbus.New(newRedis(t, addr), redisbus.Options{})
		require.NoError(t, err)
		return newLoner(t, store, transport)
	}
	here, there := join(primary.Addr), join(replica.Addr)
	here.awaitTrust(t)
	there.awaitTrust(t)
	require.NoError(t, here.Set(t.Context(), "k", "old"))
	here.holdsOld(t)
	require.NoError(t, there.Set(t.Context(), "k", "new"))
	require.NoError(t, here.Set(t.Context(), "another", "v"))
	require.Eventually(t, func() bool { return there.node.Stats().Bus.Applied > 0 }, 30*time.Second, time.Millisecond)
	here.holdsOld(t)
	assert.True(t, here.node.Health().Trusted)
	assert.True(t, there.node.Health().Trusted)
}

// TestAssumption_MemcachedTakesTombstones: a full server that may not evict (-M) refuses what
// makes values absent as well. The writer is told, and owes it.
func TestAssumption_MemcachedTakesTombstones(t *testing.T) {
	t.Parallel()
	store, err := memcachestore.New(memcache.New(servers.Memcached(t, "-M", "-m", "2").Addr), memcachestore.Options{})
	require.NoError(t, err)
	l := newLoner(t, store, membus.NewHub().Join())
	l.awaitTrust(t)
	require.NoError(t, l.Set(t.Context(), "k", "old"))
	for i := 0; err == nil; i++ {
		err = l.Set(t.Context(), fmt.Sprint("f", i), "x")
	}
	require.ErrorIs(t, err, nearcache.ErrOutcomeUnknown)
	require.ErrorIs(t, l.Invalidate(t.Context(), "k"), nearcache.ErrOutcomeUnknown)
	assert.Positive(t, l.node.Health().PendingInvalidations)
}

// TestAssumption_SubscribersRead: what waits for subscribers that stand still counts as
// memory of the server, which evicts records for it.
func TestAssumption_SubscribersRead(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t, "--maxmemory", "64mb", "--maxmemory-policy", "volatile-lru")
	client := newRedis(t, server.Addr)
	evicted := func() bool { return !strings.Contains(client.Info(t.Context(), "stats").Val(), "evicted_keys:0\r") }
	text := strings.Repeat("x", 64<<10)
	for i := range 500 {
		require.NoError(t, client.Set(t.Context(), fmt.Sprint(i), text, time.Hour).Err())
	}
	require.False(t, evicted())
	for range 2 {
		conn, err := net.Dial("tcp", server.Addr)
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		_, err = conn.Write([]byte("SUBSCRIBE nearbus\r\n"))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return client.PubSubNumSub(t.Context(), "nearbus").Val()["nearbus"] == 2 }, 30*time.Second, time.Millisecond)
	for range 480 { // 30 MB, which is below the limit for one
		require.NoError(t, client.Publish(t.Context(), "nearbus", text).Err())
	}
	require.True(t, evicted())
}
