package integration_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/redisstore"
)

const (
	fleetKeys = 20

	// fleetTrust is MaxStaleness of the nodes: whatever happens to the bus and
	// however slow this machine is, nothing older is served.
	fleetTrust = 2 * time.Second

	// fleetSlack is what a reader takes to judge an answer, on a busy machine.
	fleetSlack = time.Second
)

// history is what became of one key: its versions rise, by one writer.
type history struct {
	source atomic.Int64

	mu    sync.Mutex // protects the following field
	acked []ack
}

type ack struct {
	version int64
	at      time.Time
}

// atLeast returns the version that an answer must have which was asked for at a
// moment and may be so old.
func (h *history) atLeast(asked time.Time, old time.Duration) (version int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range slices.Backward(h.acked) {
		if asked.Sub(a.at) > old {
			return a.version
		}
	}
	return 0
}

// fleetNode is a node of a fleet, and how it is connected.
type fleetNode struct {
	*nearcache.Cache[int64]
	node *nearcache.Node
	conn *nats.Conn
}

// natsFleet is nodes that read and write the same keys, over one Redis and the
// servers of a NATS cluster.
type natsFleet struct {
	t     *testing.T
	nodes []*fleetNode
	keys  [fleetKeys]history

	stop         chan struct{}
	all          sync.WaitGroup
	reads, wrote atomic.Int64
	stale        atomic.Int64
	worst        atomic.Pointer[string]
}

func startNATSFleet(t *testing.T, cluster *servers.NATSServers, journal int) *natsFleet {
	f := &natsFleet{t: t, stop: make(chan struct{})}
	name := uniqueName()
	for i := range 2 * natsServers {
		f.nodes = append(f.nodes, joinNATS(t, cluster.Servers[i%natsServers].URL, name, journal))
	}
	for _, n := range f.nodes {
		require.Eventually(t, func() bool { return !n.node.Stats().Bus.Cut && n.node.Health().Trusted }, busPatience, 5*time.Millisecond)
	}
	for i, n := range f.nodes {
		f.all.Go(func() { f.write(i, n) }) // ends with stop; halt waits
		f.all.Go(func() { f.read(i, n) })  // likewise
	}
	return f
}

func joinNATS(t *testing.T, url, name string, journal int) *fleetNode {
	t.Helper()
	client := newRedis(t, sharedRedis(t).Addr)
	store, err := redisstore.New(client, redisstore.Options{Prefix: name, JournalLength: journal})
	require.NoError(t, err)
	tier, err := shared.New(store, shared.Options{})
	require.NoError(t, err)
	conn := natsConnection(t, url)
	transport, err := natsbus.New(conn, natsbus.Options{Subject: name})
	require.NoError(t, err)
	b, err := bus.New(transport, bus.Options{HeartbeatInterval: 200 * time.Millisecond, HeartbeatTimeout: time.Second})
	require.NoError(t, err)
	node, err := nearcache.NewNode(tier, b, nearcache.NodeOptions{JournalInterval: 500 * time.Millisecond, MaxStaleness: fleetTrust})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = node.Close(ended)
		assert.NoError(t, b.Close())
	})
	cache, err := nearcache.New(node, "users", nearcache.Options[int64]{TTL: time.Hour})
	require.NoError(t, err)
	return &fleetNode{Cache: cache, node: node, conn: conn}
}

// pause reports whether to go on.
func (f *natsFleet) pause(d time.Duration) bool {
	select {
	case <-f.stop:
		return false
	case <-time.After(d):
		return true
	}
}

// write writes the keys whose turn it is for this node.
func (f *natsFleet) write(i int, n *fleetNode) {
	for version := int64(1); f.pause(20 * time.Millisecond); version++ {
		for k := i; k < fleetKeys; k += len(f.nodes) {
			h := &f.keys[k]
			h.source.Store(version)
			if n.Set(f.t.Context(), fmt.Sprint(k), version) != nil {
				continue
			}
			h.mu.Lock()
			h.acked = append(h.acked, ack{version, time.Now()})
			h.mu.Unlock()
			f.wrote.Add(1)
		}
	}
}

// read judges what the node answers.
func (f *natsFleet) read(i int, n *fleetNode) {
	load := func(_ context.Context, key string) (int64, error) {
		var k int
		_, err := fmt.Sscan(key, &k)
		return f.keys[k].source.Load(), err
	}
	for f.pause(time.Millisecond) {
		for k := range f.keys {
			asked := time.Now()
			version, err := n.Fetch(f.t.Context(), fmt.Sprint(k), load)
			if err != nil {
				continue
			}
			f.reads.Add(1)
			if want := f.keys[k].atLeast(asked, fleetTrust+fleetSlack); version < want {
				f.stale.Add(1)
				what := fmt.Sprintf("node %d answered key %d with version %d, when %d was old", i, k, version, want)
				f.worst.Store(&what)
			}
		}
	}
}

// awaitMore waits until the fleet has gone on for a while.
func (f *natsFleet) awaitMore() {
	f.t.Helper()
	reads, wrote := f.reads.Load(), f.wrote.Load()
	require.Eventually(f.t, func() bool { return f.reads.Load() > reads+5000 && f.wrote.Load() > wrote+200 },
		busPatience, 5*time.Millisecond)
}

// keepsItsBound ends the load and requires that no answer was too old.
func (f *natsFleet) keepsItsBound() {
	f.t.Helper()
	close(f.stop)
	f.all.Wait()
	f.t.Logf("%d reads, %d writes", f.reads.Load(), f.wrote.Load())
	if worst := f.worst.Load(); worst != nil {
		assert.Zero(f.t, f.stale.Load(), *worst)
	}
}

// awaitWhole waits until every node hears the bus and trusts what it has.
func (f *natsFleet) awaitWhole() {
	f.t.Helper()
	for i, n := range f.nodes {
		require.Eventually(f.t, func() bool { return !n.node.Stats().Bus.Cut && n.node.Health().Trusted },
			busPatience, 5*time.Millisecond, "node %d", i)
	}
}

// A server is killed under load, one after the other: its nodes have a gap, go
// to another server, and nobody answers with what is older than the bound.
func TestFleet_NATSServersKilled(t *testing.T) {
	t.Parallel()
	cluster := servers.NATSCluster(t, natsServers)
	f := startNATSFleet(t, cluster, 0)
	for i, s := range cluster.Servers {
		f.awaitMore()
		var clients []*fleetNode
		for _, n := range f.nodes {
			if n.conn.ConnectedUrl() == s.URL {
				clients = append(clients, n)
			}
		}
		gaps := make([]uint64, len(clients))
		for j, n := range clients {
			gaps[j] = n.node.Stats().Bus.Gaps
		}
		s.Kill()
		for j, n := range clients {
			require.Eventually(t, func() bool { return n.node.Stats().Bus.Gaps > gaps[j] }, busPatience, 5*time.Millisecond)
			require.Eventually(t, func() bool { return n.conn.IsConnected() && n.conn.ConnectedUrl() != s.URL },
				busPatience, 5*time.Millisecond, "server %d is gone", i)
		}
		f.awaitWhole()
		f.awaitMore()
		require.NoError(t, s.Restart())
		awaitCluster(t, cluster)
	}
	f.keepsItsBound()
}

// A server is cut off from the others while its nodes go on to hear themselves.
// The journal tells them what the others write.
func TestFleet_NATSRouteCut(t *testing.T) {
	t.Parallel()
	cluster := servers.NATSCluster(t, natsServers)
	f := startNATSFleet(t, cluster, 0)
	f.awaitMore()
	apart := f.nodes[0].node
	before := apart.Stats()
	cluster.Isolate(0)
	require.Eventually(t, func() bool { return apart.Stats().Bus.Gaps > before.Bus.Gaps }, busPatience, 5*time.Millisecond)
	for end := time.Now().Add(2 * (fleetTrust + fleetSlack)); time.Now().Before(end); {
		f.awaitMore()
	}
	assert.Greater(t, apart.Stats().Journal.Repaired, before.Journal.Repaired)
	assert.False(t, apart.Stats().Bus.Cut, "it hears itself")
	require.NoError(t, cluster.Rejoin(0))
	awaitCluster(t, cluster)
	f.awaitWhole()
	f.awaitMore()
	f.keepsItsBound()
}
