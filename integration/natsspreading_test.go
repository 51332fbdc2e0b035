package integration_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
)

// late is a line between servers in a test.
const late = 300 * time.Millisecond

// spreading are two servers of NATS, and what is late between them.
type spreading struct {
	near, far *servers.NATSServer
	delay     func()
	hold      func()
	resume    func() error
}

func ofPair(p *servers.NATSPair, near int) spreading {
	return spreading{p.Servers[near], p.Servers[1-near], func() { p.Delay(late) }, p.Stall, p.Resume}
}

// topologies are the ways in which a subscription at one server spreads to
// another one.
var topologies = map[string]func(t *testing.T) spreading{
	"hub of a leaf node": func(t *testing.T) spreading { t.Helper(); return ofPair(servers.NATSLeaf(t), 0) },
	"leaf node":          func(t *testing.T) spreading { t.Helper(); return ofPair(servers.NATSLeaf(t), 1) },
	"gateways":           func(t *testing.T) spreading { t.Helper(); return ofPair(servers.NATSGateways(t), 0) },
}

// heardAcross wants what is said at one server to be heard at the other one.
func (s spreading) heardAcross(t *testing.T) {
	t.Helper()
	subject := uniqueName()
	requireHearing(t, startBus(t, natsTransport(t, s.near.URL, subject)), startBus(t, natsTransport(t, s.far.URL, subject)))
}

// TestSpreading_LateLine: what another server takes before it has learned of a
// subscription is heard by nobody and missed by nobody. So the subscriber is told
// once more to catch up, whatever the servers are to each other.
func TestSpreading_LateLine(t *testing.T) {
	t.Parallel()
	for name, topology := range topologies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, subject := topology(t), uniqueName()
			s.heardAcross(t)
			writer := startBus(t, natsTransport(t, s.far.URL, subject))
			s.delay()
			reader := startBus(t, natsTransport(t, s.near.URL, subject))
			writer.tell(t, "too early, perhaps")
			reader.awaitReady(t, 2)
			require.Eventually(t, func() bool {
				writer.tell(t, "later")
				return reader.has("later")
			}, busPatience, 50*time.Millisecond)
		})
	}
}

// TestSpreading_OldValueEnds: a node without a journal keeps an old value near,
// because the news of the new one came to a server that did not know of its
// subscription yet. It drops the value when it has to have been heard of.
func TestSpreading_OldValueEnds(t *testing.T) {
	t.Parallel()
	for name, topology := range topologies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, subject := topology(t), uniqueName()
			s.heardAcross(t)
			writer := joinOverMemcached(t, s.far.URL, subject)
			require.NoError(t, writer.Set(t.Context(), "k", 1))
			s.hold()
			reader := joinOverMemcached(t, s.near.URL, subject)
			require.EqualValues(t, 1, get(t, reader))
			require.NoError(t, writer.Set(t.Context(), "k", 2))
			require.NoError(t, s.resume())
			require.Eventually(t, func() bool { return get(t, reader) == 2 }, busPatience, 20*time.Millisecond)
		})
	}
}

func get(t *testing.T, n *fleetNode) int64 {
	t.Helper()
	v, err := n.Get(t.Context(), "k")
	require.NoError(t, err)
	return v
}

// joinOverMemcached returns a node that hears the bus.
func joinOverMemcached(t *testing.T, url, name string) *fleetNode {
	t.Helper()
	tier, err := shared.New(inMemcached(t, name), shared.Options{})
	require.NoError(t, err)
	conn := natsConnection(t, url)
	transport, err := natsbus.New(conn, natsbus.Options{Subject: name})
	require.NoError(t, err)
	b, err := bus.New(transport, bus.Options{HeartbeatInterval: 200 * time.Millisecond, HeartbeatTimeout: 2 * time.Second})
	require.NoError(t, err)
	node, err := nearcache.NewNode(tier, b, nearcache.NodeOptions{MaxStaleness: time.Hour})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = node.Close(ended)
		assert.NoError(t, b.Close())
	})
	cache, err := nearcache.New(node, "users", nearcache.Options[int64]{TTL: time.Hour})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return node.Health().Trusted }, busPatience, 5*time.Millisecond)
	return &fleetNode{Cache: cache, node: node, conn: conn}
}
