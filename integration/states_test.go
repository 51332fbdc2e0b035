package integration_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memcachestore"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// The tests of this file bring servers into states that a node goes on in, and read what
// its log says of them.

// uses has the node do what a service does, until its log says what is wanted.
func (l *loner) uses(t *testing.T, want string) {
	t.Helper()
	load := func(context.Context, string) (string, error) { return "v", nil }
	n := 0
	require.Eventually(t, func() bool {
		n++
		_ = l.Set(t.Context(), fmt.Sprint("set", n), "v")
		_, _ = l.Fetch(t.Context(), fmt.Sprint("load", n), load)
		_ = l.Invalidate(t.Context(), fmt.Sprint("load", n))
		return regexp.MustCompile(want).MatchString(l.log.String())
	}, 30*time.Second, time.Millisecond, "%s: %s", want, l.log)
}

// count returns how many lines have this text.
func (l *loner) count(text string) int { return strings.Count(l.log.String(), text) }

// refusesWrites are ways to have a server refuse writes, and what a node's log gives for
// the cause.
var refusesWrites = map[string]struct {
	args   []string
	refuse func(t *testing.T, client *redis.Client)
	cause  string
	full   bool // it can have its journal read
}{
	"OOM": {nil, func(t *testing.T, client *redis.Client) {
		require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	}, "OOM .*it is full: raise maxmemory", true},
	"MISCONF": {[]string{"--save", "3600 1", "--enable-protected-configs", "yes"}, func(t *testing.T, client *redis.Client) {
		dir := t.TempDir() // where the snapshot is to be, there is a directory
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "dump.rdb", "in the way"), 0o700))
		require.NoError(t, client.ConfigSet(t.Context(), "dir", dir).Err())
		require.NoError(t, client.BgSave(t.Context()).Err())
		require.Eventually(t, func() bool {
			return strings.Contains(client.Info(t.Context(), "persistence").Val(), "rdb_last_bgsave_status:err")
		}, 30*time.Second, time.Millisecond)
	}, "MISCONF .*set stop-writes-on-bgsave-error no", false},
	"NOREPLICAS": {nil, func(t *testing.T, client *redis.Client) {
		require.NoError(t, client.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err())
	}, "NOREPLICAS .*see min-replicas-to-write", false},
	"READONLY": {nil, func(t *testing.T, client *redis.Client) {
		host, port, err := net.SplitHostPort(sharedRedis(t).Addr)
		require.NoError(t, err)
		require.NoError(t, client.ReplicaOf(t.Context(), host, port).Err())
	}, "READONLY .*the client must reach the primary", false},
	"full and deposed": {nil, func(t *testing.T, client *redis.Client) {
		require.NoError(t, client.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err())
		require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	}, "NOREPLICAS .*see min-replicas-to-write", false},
}

// TestStates_RedisRefusesWrites: the log says once, with the cause and what to do, that a
// server refuses writes, and not that it does not answer.
func TestStates_RedisRefusesWrites(t *testing.T) {
	t.Parallel()
	for name, c := range refusesWrites {
		for _, length := range []int{0, -1} {
			t.Run(fmt.Sprintf("%s, JournalLength %d", name, length), func(t *testing.T) {
				server := servers.Redis(t, c.args...)
				store := journalOn(t, newRedis(t, server.Addr), redisstore.Options{JournalLength: length})
				l := newLoner(t, store, membus.NewHub().Join())
				l.awaitTrust(t)
				c.refuse(t, newRedis(t, server.Addr))
				says, cause := "the shared tier refuses to store", c.cause
				if length == 0 && !c.full {
					says = "cannot read the journal"
				} else if name == "full and deposed" {
					cause = "(OOM|NOREPLICAS) .*(raise maxmemory|see min-replicas-to-write)"
				}
				l.uses(t, "level=WARN msg=\"nearcache: "+says+"\" error=.*"+cause)
				for range 10 {
					l.uses(t, "")
				}
				require.Equal(t, 1, l.count(says), l.log)
				require.Zero(t, l.count("does not answer"), l.log)
			})
		}
	}
}

// TestStates_MemcachedIsFull: a server that may not evict refuses what it has no room for.
func TestStates_MemcachedIsFull(t *testing.T) {
	t.Parallel()
	store, err := memcachestore.New(memcache.New(servers.Memcached(t, "-M", "-m", "2").Addr), memcachestore.Options{})
	require.NoError(t, err)
	l := newLoner(t, store, membus.NewHub().Join())
	l.awaitTrust(t)
	for i := 0; err == nil; i++ {
		err = l.Set(t.Context(), fmt.Sprint("f", i), "v")
	}
	require.ErrorIs(t, err, shared.ErrFull)
	for range 10 {
		require.Error(t, l.Set(t.Context(), "k", "v"))
	}
	require.Equal(t, 1, l.count("refuses to store"), l.log)
	require.Regexp(t, "level=WARN msg=\"nearcache: the shared tier refuses to store\" error=.*SERVER_ERROR out of memory.*it is full", l.log.String())
}

// TestStates_JournalIsTakenAway: the log says that it was, and not that the server was
// restarted; once, however often it happens.
func TestStates_JournalIsTakenAway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		away func(ctx context.Context, client *redis.Client) error
		why  string
	}{
		"DEL of the journal": {func(ctx context.Context, client *redis.Client) error {
			return client.Del(ctx, "nearbus:{0}!journal").Err()
		}, "the journal was evicted or deleted, and its server was not restarted"},
		"DEL of its metadata": {func(ctx context.Context, client *redis.Client) error {
			return client.Del(ctx, "nearbus:{0}").Err()
		}, "the metadata of the journal was evicted, deleted or set back, and its server was not restarted"},
		"FLUSHALL": {func(ctx context.Context, client *redis.Client) error {
			return client.FlushAll(ctx).Err()
		}, "the metadata of the journal was evicted, deleted or set back, and its server was not restarted"},
	} {
		t.Run(name, func(t *testing.T) {
			server := servers.Redis(t)
			client := newRedis(t, server.Addr)
			store, err := redisstore.New(client, redisstore.Options{})
			require.NoError(t, err)
			l := newLoner(t, store, membus.NewHub().Join())
			l.awaitTrust(t)
			for resets := l.node.Stats().Journal.Resets + 1; resets < 6; resets++ {
				require.NoError(t, l.Set(t.Context(), "k", "v"))
				require.NoError(t, c.away(t.Context(), client))
				require.NoError(t, l.Set(t.Context(), "k", "v"))
				require.Eventually(t, func() bool { return l.node.Stats().Journal.Resets >= resets }, 30*time.Second, time.Millisecond)
			}
			require.Equal(t, 1, l.count("because the journal cannot be read on"), l.log)
			require.Equal(t, 1, l.count("reason=\""+c.why), l.log)
		})
	}
}

// TestStates_JournalIsEvicted: a server that evicts whatever it has takes the journal away
// all the time.
func TestStates_JournalIsEvicted(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t, "--maxmemory-policy", "allkeys-random")
	client := newRedis(t, server.Addr)
	store, err := redisstore.New(client, redisstore.Options{})
	require.NoError(t, err)
	l := newLoner(t, store, membus.NewHub().Join())
	l.awaitTrust(t)
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	before := l.node.Stats().Journal.Resets
	require.Eventually(t, func() bool {
		_ = l.Set(t.Context(), "k", "v")
		return l.node.Stats().Journal.Resets > before+20
	}, 30*time.Second, time.Millisecond)
	require.LessOrEqual(t, l.count("because the journal cannot be read on"), 2, "one for each reason: %s", l.log)
	require.Positive(t, l.count("reason=\"the metadata of the journal was evicted"), l.log)
	require.Equal(t, 1, l.count("maxmemory-policy is allkeys-random"), l.log)
}

// TestStates_ServerIsRestarted: that is why, and no eviction.
func TestStates_ServerIsRestarted(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	l := newLoner(t, journalOn(t, newRedis(t, server.Addr), redisstore.Options{}), membus.NewHub().Join())
	l.awaitTrust(t)
	require.NoError(t, server.Restart(t.Context()))
	l.uses(t, "reason=\"the server was restarted, or another one took over: it may have lost writes")
}
