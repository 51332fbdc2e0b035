package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/redisstore"
)

const channel = "nearbus"

// joinRedis is a node with store and bus on one client, as in a process of its
// own.
func joinRedis(t testing.TB, addr string, f Fleet, i int) *nearcache.Cache[int] {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, ContextTimeoutEnabled: true})
	store, err := redisstore.New(client, redisstore.Options{})
	require.NoError(t, err)
	tier, err := shared.New(store, shared.Options{})
	require.NoError(t, err)
	transport, err := redisbus.New(client, redisbus.Options{Channel: channel})
	require.NoError(t, err)
	b, err := bus.New(transport, bus.Options{Node: fmt.Sprintf("%0*d", f.NodeName, i), HeartbeatInterval: f.Heartbeat})
	require.NoError(t, err)
	node, err := nearcache.NewNode(tier, b, nearcache.NodeOptions{JournalInterval: f.Repair})
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, node.Close(atOnce))
		assert.NoError(t, b.Close())
		assert.NoError(t, client.Close())
	})
	cache, err := nearcache.New(node, strings.Repeat("c", f.CacheName), nearcache.Options[int]{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		s := node.Stats()
		return !s.Bus.Cut && s.Journal.Rounds > 1
	}, 30*time.Second, 10*time.Millisecond)
	return cache
}

var counts = regexp.MustCompile(`(?m)^(?:cmdstat_(\w+):calls=(\d+)|(total_net_output_bytes):(\d+))`)

// counted returns how often the server carried out each command, and what it
// sent.
func counted(t testing.TB, client *redis.Client) map[string]float64 {
	t.Helper()
	info, err := client.Info(t.Context(), "commandstats", "stats").Result()
	require.NoError(t, err)
	all := map[string]float64{}
	for _, found := range counts.FindAllStringSubmatch(info, -1) {
		n, err := strconv.ParseFloat(found[2]+found[4], 64)
		require.NoError(t, err)
		all[found[1]+found[3]] = n
	}
	return all
}

// TestModel_AgreesWithRedis: what a Redis counts is what the model says, within
// 15 %, and 25 % for the rounds of repair, of which there are few: real time is
// not even.
func TestModel_AgreesWithRedis(t *testing.T) {
	f := Defaults(10, 100)
	f.OneRedis, f.Reread = true, 0
	server := servers.Redis(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	caches := make([]*nearcache.Cache[int], f.Nodes)
	for i := range caches {
		caches[i] = joinRedis(t, server.Addr, f, i)
		require.NoError(t, caches[i].Set(t.Context(), "first", i)) // reads the clock of the cache along
	}
	pace := time.NewTicker(time.Duration(float64(time.Second) / f.Writes))
	defer pace.Stop()
	before, began := counted(t, client), time.Now()
	writes := 0
	for ; time.Since(began) < 6*time.Second; writes++ {
		<-pace.C
		key := fmt.Sprintf("%0*d", f.Key, writes)
		require.NoError(t, caches[writes%len(caches)].Set(t.Context(), key, writes))
	}
	after, took := counted(t, client), time.Since(began).Seconds()
	f.Writes = float64(writes) / took // what this machine kept up with
	model := Of(f)
	rate := func(name string) float64 { return (after[name] - before[name]) / took }

	within(t, "publish", model.Heartbeats+model.Announced, rate("publish"), 0.15)
	within(t, "evalsha", model.WriteCommands+model.RepairReads, rate("evalsha"), 0.15)
	within(t, "xrange", model.RepairCommands, rate("xrange"), 0.25) // the script has one of its own
	within(t, "bytes sent", model.RepairBytes+model.Delivered+model.Deliveries*pushSize+model.WriteCommands*receiptSize,
		rate("total_net_output_bytes"), 0.15)
}

const (
	// pushSize is what Redis puts around the payload of a message.
	pushSize = 17 + 6 + float64(len(channel)) + 7

	// receiptSize is the answer to a write.
	receiptSize = 4 + 4 + 14 + 19 + 19
)
