package integration_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// tellNothing are servers that do not say who they are, and what the warning gives for
// the reason.
var tellNothing = map[string]struct {
	client func(*testing.T, *servers.Process, string) *redis.Client
	want   string
}{
	"no right": {func(t *testing.T, server *servers.Process, prefix string) *redis.Client {
		allow(t, newRedis(t, server.Addr), "uninformed", prefix, "", together(storeRights, journalRights, []string{"-info"}))
		return as(t, server.Addr, "uninformed", secret, nil)
	}, "(?i)user"},
	"not in scripts": {func(t *testing.T, server *servers.Process, _ string) *redis.Client {
		return asOnAnother(t, server, `if name == 'INFO' then return {err = 'ERR not allowed from script'} end`)
	}, "ERR not allowed from script"},
	"no run id": {func(t *testing.T, server *servers.Process, _ string) *redis.Client {
		return asOnAnother(t, server, `if name == 'INFO' then return (string.gsub(ask(), 'run_id:', 'id:')) end`)
	}, "INFO has no run_id"},
	"no replication id": {func(t *testing.T, server *servers.Process, _ string) *redis.Client {
		return asOnAnother(t, server, `if name == 'INFO' then return (string.gsub(ask(), 'master_replid2:', 'id:')) end`)
	}, "INFO has no master_replid2"},
}

// TestRedisJournal_ServerSaysNotWhoItIs: the journal works, and warns. Nothing is compared
// that is not known, and what others know stays.
func TestRedisJournal_ServerSaysNotWhoItIs(t *testing.T) {
	t.Parallel()
	for name, c := range tellNothing {
		t.Run(name, func(t *testing.T) {
			server, opts := servers.Redis(t), redisstore.Options{Prefix: uniqueName()}
			r := &reader{t: t, store: journalOn(t, c.client(t, server, opts.Prefix), opts)}
			r.set("before the first tail")
			tail := r.read()
			require.True(t, tail.Reset)
			require.ErrorContains(t, tail.Warning, "redisstore: the server does not say in scripts which run of it this is")
			require.Regexp(t, c.want, tail.Warning.Error())
			require.ErrorContains(t, tail.Warning, "a restart or a failover that loses writes may not be noticed")
			r.set("a")
			r.goesOn("a")

			informed := newReader(t, journalOn(t, newRedis(t, server.Addr), opts))
			r.read() // the epoch may have ended, once
			for range 3 {
				r.set("b")
				r.goesOn("b")
				informed.goesOn("b")
			}
		})
	}
}

// TestRedis_InfoRefusedInScripts: a node works on such a server, and its log says once
// what it cannot notice.
func TestRedis_InfoRefusedInScripts(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	client := asOnAnother(t, server, `if name == 'INFO' then return {err = 'ERR not allowed from script'} end`)
	tier, err := shared.New(journalOn(t, client, redisstore.Options{}), shared.Options{})
	require.NoError(t, err)
	var log lines
	node, err := nearcache.NewNode(tier, nil, nearcache.NodeOptions{
		JournalInterval: 20 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	require.NoError(t, err)
	defer func() { _ = node.Close(ended) }()
	cache, err := nearcache.New(node, "users", nearcache.Options[string]{})
	require.NoError(t, err)
	require.NoError(t, cache.Set(t.Context(), "k", "v"))
	got, err := cache.Get(t.Context(), "k")
	require.NoError(t, err)
	assert.Equal(t, "v", got)
	require.Eventually(t, func() bool { return node.Health().Trusted }, 20*time.Second, time.Millisecond)
	// Each loss of the journal is read with a warning.
	for resets := uint64(1); resets < 4; resets++ {
		require.NoError(t, newRedis(t, server.Addr).FlushAll(t.Context()).Err())
		require.Eventually(t, func() bool { return node.Stats().Journal.Resets >= resets }, 20*time.Second, time.Millisecond)
	}
	assert.Equal(t, 1, strings.Count(log.String(), "does not say in scripts which run of it this is"), "%s", log.String())
}

// lines is what was logged.
type lines struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(line)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.String()
}
