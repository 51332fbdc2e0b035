package integration_test

import (
	"context"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/redisstore"
)

const (
	costNodes  = 10
	costWrites = 1000 // a second
	costTime   = 5 * time.Second
)

// BenchmarkRepairCost measures what ten nodes that read the journal cost a
// server that takes 1,000 writes a second: the share of its processor time that
// goes into these reads, and what it sends to each node, more than if nobody
// read.
func BenchmarkRepairCost(b *testing.B) {
	server := servers.Redis(b)
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	var share, bytes float64
	for b.Loop() {
		without := writeFor(b, server, client, time.Hour)
		with := writeFor(b, server, client, time.Second)
		share += 100 * (with["usec"] - without["usec"]) / 1e6 / with["cpu"]
		bytes += (with["bytes"] - without["bytes"]) / costNodes / costTime.Seconds()
	}
	b.ReportMetric(share/float64(b.N), "%cpu")
	b.ReportMetric(bytes/float64(b.N), "B/node/s")
}

// writeFor runs nodes for a while and returns what that cost the server.
func writeFor(b *testing.B, server *servers.Process, client *redis.Client, interval time.Duration) map[string]float64 {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var first *nearcache.Cache[user]
	for range costNodes {
		users, closeNode := costNode(b, server.Addr, interval)
		defer closeNode()
		if first == nil {
			first = users
		}
	}
	time.Sleep(2 * time.Second) // the first round of each node
	before := serverCost(b, client)
	began := time.Now()
	for i := range int(costWrites * costTime.Seconds()) {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / costWrites)))
		mustBe(b, true, first.Set(ctx, strconv.Itoa(i%5000), someUser))
	}
	after := serverCost(b, client)
	for name := range after {
		after[name] -= before[name]
	}
	return after
}

func costNode(b *testing.B, addr string, interval time.Duration) (*nearcache.Cache[user], func()) {
	b.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	store, err := redisstore.New(client, redisstore.Options{})
	require.NoError(b, err)
	tier, err := shared.New(store, shared.Options{})
	require.NoError(b, err)
	transport, err := redisbus.New(client, redisbus.Options{})
	require.NoError(b, err)
	messages, err := bus.New(transport, bus.Options{})
	require.NoError(b, err)
	node, err := nearcache.NewNode(tier, messages, nearcache.NodeOptions{
		JournalInterval: interval, MaxStaleness: max(5*time.Second, 2*interval),
	})
	require.NoError(b, err)
	users, err := nearcache.New(node, "users", nearcache.Options[user]{})
	require.NoError(b, err)
	return users, func() {
		_ = node.Close(ended)
		_ = messages.Close()
		_ = client.Close()
	}
}

var costFields = map[string]*regexp.Regexp{
	"usec":  regexp.MustCompile(`cmdstat_(?:evalsha|xrange):calls=\d+,usec=(\d+)`),
	"cpu":   regexp.MustCompile(`used_cpu_(?:user|sys):([\d.]+)`),
	"bytes": regexp.MustCompile(`total_net_output_bytes:(\d+)`),
}

func serverCost(b *testing.B, client *redis.Client) map[string]float64 {
	b.Helper()
	info, err := client.Info(b.Context(), "commandstats", "cpu", "stats").Result()
	require.NoError(b, err)
	cost := make(map[string]float64)
	for name, field := range costFields {
		for _, found := range field.FindAllStringSubmatch(info, -1) {
			n, err := strconv.ParseFloat(found[1], 64)
			require.NoError(b, err)
			cost[name] += n
		}
	}
	return cost
}
