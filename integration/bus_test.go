package integration_test

import (
	"context"
	"errors"
	"net/url"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/bustest"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/integration/servers"
)

// busPatience is how long a test waits for what must happen.
const busPatience = 30 * time.Second

func redisTransport(t *testing.T, addr, channel string) *redisbus.Transport {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, ContextTimeoutEnabled: true})
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	transport, err := redisbus.New(client, redisbus.Options{Channel: channel})
	require.NoError(t, err)
	return transport
}

func clusterTransport(t *testing.T, cluster *servers.Cluster, channel string) *redisbus.Transport {
	t.Helper()
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	transport, err := redisbus.New(client, redisbus.Options{Channel: channel})
	require.NoError(t, err)
	return transport
}

func natsTransport(t *testing.T, url, subject string) *natsbus.Transport {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.ReconnectWait(50*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	transport, err := natsbus.New(nc, natsbus.Options{Subject: subject})
	require.NoError(t, err)
	return transport
}

// killSubscribers cuts the connections of all subscribers of the servers.
func killSubscribers(ctx context.Context, addrs ...string) error {
	var failures []error
	for _, addr := range addrs {
		client := redis.NewClient(&redis.Options{Addr: addr})
		failures = append(failures, client.Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub").Err(), client.Close())
	}
	return errors.Join(failures...)
}

func TestBus_ConformanceOnRedis(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	bustest.Run(t, bustest.Harness{
		Join: func(channel string) (bus.Transport, error) {
			return redisTransport(t, server.Addr, channel), nil
		},
		Break: func(ctx context.Context, _ string) error { return killSubscribers(ctx, server.Addr) },
	}, false)
}

func TestBus_ConformanceOnRedisCluster(t *testing.T) {
	t.Parallel()
	cluster := servers.RedisCluster(t, clusterMasters)
	bustest.Run(t, bustest.Harness{
		Join: func(channel string) (bus.Transport, error) {
			return clusterTransport(t, cluster, channel), nil
		},
		Break: func(ctx context.Context, _ string) error { return killSubscribers(ctx, cluster.Addrs()...) },
	}, false)
}

func TestBus_ConformanceOnNATS(t *testing.T) {
	t.Parallel()
	relay := servers.RelayTo(t, hostOf(t, servers.NATS(t).URL))
	bustest.Run(t, bustest.Harness{
		Join: func(subject string) (bus.Transport, error) {
			return natsTransport(t, "nats://"+relay.Addr, subject), nil
		},
		Break: func(context.Context, string) error { relay.Cut(); return nil },
	}, false)
}

// busNode is a Bus that notes what it hears.
type busNode struct {
	*bus.Bus

	mu    sync.Mutex // protects the following fields
	heard []bus.Invalidation
	gaps  []error
	ready int
}

func (n *busNode) counts() (gaps, ready int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.gaps), n.ready
}

func (n *busNode) has(key string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.heard, func(inv bus.Invalidation) bool { return inv.Key == key })
}

// startBus returns a Bus that is ready and notices a dead connection soon.
func startBus(t *testing.T, transport bus.Transport) *busNode {
	t.Helper()
	return startBusWith(t, transport, bus.Options{HeartbeatInterval: 100 * time.Millisecond, HeartbeatTimeout: 2 * time.Second})
}

// startBusWith returns a Bus that is ready.
func startBusWith(t *testing.T, transport bus.Transport, opts bus.Options) *busNode {
	t.Helper()
	b, err := bus.New(transport, opts)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	n := &busNode{Bus: b}
	locked := func(do func()) {
		n.mu.Lock()
		defer n.mu.Unlock()
		do()
	}
	require.NoError(t, b.Subscribe(bus.Handler{
		Apply: func(m bus.Message) { locked(func() { n.heard = append(n.heard, m.Invalidations...) }) },
		Gap:   func(reason error) { locked(func() { n.gaps = append(n.gaps, reason) }) },
		Ready: func() { locked(func() { n.ready++ }) },
	}))
	n.awaitReady(t, 1)
	return n
}

func (n *busNode) awaitReady(t *testing.T, times int) {
	t.Helper()
	require.Eventually(t, func() bool { _, ready := n.counts(); return ready >= times },
		busPatience, 5*time.Millisecond, "Ready for the time %d", times)
}

func (n *busNode) awaitGap(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { gaps, _ := n.counts(); return gaps > 0 },
		busPatience, 5*time.Millisecond, "a gap")
}

func (n *busNode) awaitKey(t *testing.T, key string) {
	t.Helper()
	require.Eventually(t, func() bool { return n.has(key) }, busPatience, 5*time.Millisecond, "key %q", key)
}

// tell publishes until the server takes it: after a break, the connections of
// the pool may be dead, each for one attempt.
func (n *busNode) tell(t *testing.T, key string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return n.Publish(t.Context(), bus.Invalidation{Op: bus.OpDelete, Cache: "users", Key: key}) == nil
	}, busPatience, 5*time.Millisecond, "publish key %q", key)
}

// requireComeback wants both nodes to have noticed a break and to hear each
// other again.
func requireComeback(t *testing.T, one, two *busNode) {
	t.Helper()
	for _, n := range []*busNode{one, two} {
		n.awaitGap(t)
		n.awaitReady(t, 2)
	}
	one.tell(t, "from one")
	two.tell(t, "from two")
	for _, n := range []*busNode{one, two} {
		n.awaitKey(t, "from one")
		n.awaitKey(t, "from two")
	}
}

func TestBus_RedisRestart(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	one := startBus(t, redisTransport(t, server.Addr, "restart"))
	two := startBus(t, redisTransport(t, server.Addr, "restart"))
	require.NoError(t, server.Restart(t.Context()))
	requireComeback(t, one, two)
}

func TestBus_NATSRestart(t *testing.T) {
	t.Parallel()
	server := servers.NATS(t)
	one := startBus(t, natsTransport(t, server.URL, "restart"))
	two := startBus(t, natsTransport(t, server.URL, "restart"))
	require.NoError(t, server.Restart())
	requireComeback(t, one, two)
}

// nats.go would keep the message in a buffer and report success. What was refused may come
// all the same once the server is back.
func TestBus_NATSPublishFailsAtOnceWhileDown(t *testing.T) {
	t.Parallel()
	server := servers.NATS(t)
	node := startBus(t, natsTransport(t, server.URL, "down"))
	server.Kill()
	node.awaitGap(t)
	err := node.Publish(t.Context(), bus.Invalidation{Op: bus.OpDelete, Cache: "users", Key: "unsent"})
	require.ErrorContains(t, err, "not connected")
	require.NoError(t, server.Restart())
	node.awaitReady(t, 2)
	node.tell(t, "sent")
	node.awaitKey(t, "sent")
}

// A sharded subscription ends when its slot moves to another server.
func TestBus_RedisClusterSlotMoves(t *testing.T) {
	t.Parallel()
	cluster := servers.RedisCluster(t, clusterMasters)
	one := startBus(t, clusterTransport(t, cluster, "moving"))
	two := startBus(t, clusterTransport(t, cluster, "moving"))
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()})
	defer client.Close()
	slot, err := client.ClusterKeySlot(t.Context(), "moving").Result()
	require.NoError(t, err)
	_, err = cluster.MoveSlot(t.Context(), int(slot))
	require.NoError(t, err)
	requireComeback(t, one, two)
	for _, n := range []*busNode{one, two} {
		require.ErrorContains(t, n.gaps[0], "ended by the server", "not only when no heartbeat came back")
	}
}

// A half-open connection gives no error to read from it: only the missing
// heartbeat shows it.
func TestBus_RedisHalfOpen(t *testing.T) {
	t.Parallel()
	relay := servers.RelayTo(t, sharedRedis(t).Addr)
	channel := uniqueName()
	testHalfOpen(t, relay, redisTransport(t, relay.Addr, channel), redisTransport(t, relay.Addr, channel))
}

func TestBus_NATSHalfOpen(t *testing.T) {
	t.Parallel()
	relay := servers.RelayTo(t, hostOf(t, sharedNATS(t).URL))
	url, subject := "nats://"+relay.Addr, uniqueName()
	testHalfOpen(t, relay, natsTransport(t, url, subject), natsTransport(t, url, subject))
}

func testHalfOpen(t *testing.T, relay *servers.Relay, one, two bus.Transport) {
	t.Helper()
	first, second := startBus(t, one), startBus(t, two)
	relay.Blackhole()
	first.awaitGap(t)
	second.awaitGap(t)
	assert.False(t, first.Stats().Connected)
	err := first.Publish(t.Context(), bus.Invalidation{Op: bus.OpClear, Cache: "users"})
	assert.Error(t, err, "nobody can have it")
	require.NoError(t, relay.Resume())
	requireComeback(t, first, second)
}

func TestBus_PlainTextFromRedisCLI(t *testing.T) {
	t.Parallel()
	server, channel := sharedRedis(t), uniqueName()
	node := startBus(t, redisTransport(t, server.Addr, channel))
	redisCLI(t, server.Addr, "PUBLISH", channel, `invalidate users 42 "John Smith"`)
	node.awaitKey(t, "42")
	node.awaitKey(t, "John Smith")
	assert.EqualValues(t, 1, node.Stats().Text)
}

func TestBus_PlainTextFromRedisCLIOnCluster(t *testing.T) {
	t.Parallel()
	cluster, channel := sharedCluster(t), uniqueName()
	node := startBus(t, clusterTransport(t, cluster, channel))
	redisCLI(t, cluster.Nodes[0].Addr, "-c", "SPUBLISH", channel, "delete users 42")
	node.awaitKey(t, "42")
}

// redisCLI does what a person would do.
func redisCLI(t *testing.T, addr string, args ...string) {
	t.Helper()
	args = append([]string{"-u", "redis://" + addr}, args...)
	out, err := exec.CommandContext(t.Context(), "redis-cli", args...).CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestBus_PlainTextFromNATS(t *testing.T) {
	t.Parallel()
	server, subject := sharedNATS(t), uniqueName()
	node := startBus(t, natsTransport(t, server.URL, subject))
	nc, err := nats.Connect(server.URL)
	require.NoError(t, err)
	defer nc.Close()
	require.NoError(t, nc.Publish(subject, []byte("delete users 42")))
	require.NoError(t, nc.Flush())
	node.awaitKey(t, "42")
}

// hostOf returns the host and port of a URL.
func hostOf(t *testing.T, rawURL string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	require.NoError(t, err)
	return u.Host
}
