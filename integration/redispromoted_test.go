package integration_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// atOnce has a server send its data to a new replica without waiting for others.
var atOnce = []string{"--repl-diskless-sync-delay", "0"}

// movingName is a client whose connections go to wherever the name leads when they are made,
// and stay there.
type movingName struct {
	*redis.Client
	address atomic.Value

	mu    sync.Mutex // protects conns
	conns []net.Conn
}

func newMovingName(t *testing.T, address string) *movingName {
	m := &movingName{}
	m.address.Store(address)
	m.Client = redis.NewClient(&redis.Options{
		Addr: "redis.example:6379", PoolSize: 16, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, m.address.Load().(string))
			if err == nil {
				m.mu.Lock()
				m.conns = append(m.conns, conn)
				m.mu.Unlock()
			}
			return conn, err
		},
	})
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// move has the name lead elsewhere, and ends the connections that there are.
func (m *movingName) move(address string) {
	m.address.Store(address)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, conn := range m.conns {
		_ = conn.Close()
	}
	m.conns = nil
}

// promoteBehind makes follower a replica of leader until it has what leader has, and then
// a primary. Valkey 9.1 answers WAIT for a replica that is still loading.
func promoteBehind(t *testing.T, follower, leader *redis.Client) {
	host, port, _ := strings.Cut(leader.Options().Addr, ":")
	require.NoError(t, follower.ReplicaOf(t.Context(), host, port).Err())
	awaitReplica(t, leader)
	require.Eventually(t, func() bool {
		info, err := follower.Info(t.Context(), "replication").Result()
		return err == nil && strings.Contains(info, "master_link_status:up")
	}, 20*time.Second, 10*time.Millisecond, "the replica has loaded what its primary sent")
	require.NoError(t, leader.Wait(t.Context(), 1, 10*time.Second).Err())
	require.NoError(t, follower.ReplicaOf(t.Context(), "no", "one").Err())
}

// writtenIn writes, and returns in which epoch.
func writtenIn(t *testing.T, store *redisstore.Store) uint64 {
	receipt := store.Write(t.Context(), []driver.Write{{Key: "k", Image: value(driver.NewNonce(), "v"), TTL: time.Minute}})[0]
	require.NoError(t, receipt.Err)
	return receipt.Revision.Epoch
}

// untilKnown writes until that does not ask the server which run of it this is.
func untilKnown(t testing.TB, client *redis.Client, write func()) {
	require.Eventually(t, func() bool {
		require.NoError(t, client.ConfigResetStat(t.Context()).Err())
		write()
		return commands(t, client)["info"] == 0
	}, 30*time.Second, 10*time.Millisecond, "each write asks the server who it is")
}

// TestRedisWrite_PromotedServer: the first write over a server that was promoted begins an
// epoch, although nobody has read the journal there. What the write before was told of may
// be lost, and its revision must not look as if this server had it.
func TestRedisWrite_PromotedServer(t *testing.T) {
	t.Parallel()
	first, second := newRedis(t, servers.Redis(t, atOnce...).Addr), newRedis(t, servers.Redis(t, atOnce...).Addr)
	name := newMovingName(t, first.Options().Addr)
	opts := redisstore.Options{Prefix: uniqueName()}
	moves, stays := journalOn(t, name.Client, opts), journalOn(t, newRedis(t, first.Options().Addr), opts)

	before := writtenIn(t, moves)
	// Both know which run of the server this is, so it is not asked any more.
	untilKnown(t, first, func() {
		require.Equal(t, before, writtenIn(t, moves))
		require.Equal(t, before, writtenIn(t, stays))
	})

	promoteBehind(t, second, first)
	name.move(second.Options().Addr)
	promoted := writtenIn(t, moves)
	assert.Greater(t, promoted, before, "a write over a server that was promoted")
	assert.Equal(t, promoted, writtenIn(t, moves), "once")

	// The one that was the primary at first is promoted again, with the scripts that it had.
	promoteBehind(t, first, second)
	again := writtenIn(t, stays)
	assert.Greater(t, again, promoted, "a write over a server that was promoted again")
	assert.Equal(t, again, writtenIn(t, stays), "once")
}

// TestG4_APrimaryThatWasCutOff: a primary is cut off from its replicas and from those who
// promote one of them, and not from all clients: it goes on taking writes, and answers.
// What was written to the other one is not missed by whoever hears of it, has its token, or
// is asked by a barrier.
func TestG4_APrimaryThatWasCutOff(t *testing.T) {
	t.Parallel()
	first, second := newRedis(t, servers.Redis(t, atOnce...).Addr), newRedis(t, servers.Redis(t, atOnce...).Addr)
	prefix := uniqueName()
	join := func() (*movingName, *versions) {
		name := newMovingName(t, first.Options().Addr)
		onName := func(t testing.TB, prefix string) driver.Store { return redisStoreOf(t, name.Client, prefix) }
		return name, versionsOn(t, backend{onName, overNATS}, prefix)
	}
	source := &sourceOfKeys{}
	load := func(context.Context, string) (int64, error) { return source.versions[0].Load(), nil }
	moves, writer := join()
	later, reader := join()
	require.NoError(t, writer.write(t, source, 0))
	_, err := writer.node.Barrier(t.Context(), nearcache.BarrierOptions{AtLeast: 1})
	require.NoError(t, err)

	promoteBehind(t, second, first)
	moves.move(second.Options().Addr)
	applied := reader.node.Stats().Bus.Applied
	require.Eventually(t, func() bool { return writer.write(t, source, 0) == nil }, 20*time.Second, time.Millisecond)
	alone := journalOn(t, first, redisstore.Options{Prefix: prefix})
	writtenIn(t, alone) // its numbers rise as those of the other do
	token := writer.cache.Token("0")
	for _, loads := range []func(context.Context, string) (int64, error){nil, load} {
		got, err := reader.cache.Read(t.Context(), "0", nearcache.ReadOptions{After: token}, nearcache.ValueLoader(loads))
		if err == nil {
			require.Equal(t, source.versions[0].Load(), got.Value, "a read after the token of a write")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = writer.node.Barrier(ctx, nearcache.BarrierOptions{AtLeast: 1})
	require.Error(t, err, "a node that reads another server answered a barrier")

	require.Eventually(t, func() bool { return reader.node.Stats().Bus.Applied > applied }, 20*time.Second, time.Millisecond)
	for rounds := reader.node.Stats().Journal.Failures; reader.node.Stats().Journal.Failures < rounds+3; {
		writtenIn(t, alone)
		for _, fromShared := range []bool{false, true} {
			got, err := reader.cache.Read(t.Context(), "0", nearcache.ReadOptions{FromShared: fromShared}, nearcache.ValueLoader(load))
			require.NoError(t, err)
			require.Equal(t, source.versions[0].Load(), got.Value, "of an age of %v", got.Age)
		}
	}
	later.move(second.Options().Addr)
	_, err = writer.node.Barrier(t.Context(), nearcache.BarrierOptions{AtLeast: 1})
	require.NoError(t, err)
	require.NoError(t, writer.write(t, source, 0))
	require.Eventually(t, func() bool { return reader.ask(t, source, 0) == source.versions[0].Load() }, 20*time.Second, time.Millisecond)
}
