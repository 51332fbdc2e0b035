package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/bustest"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/integration/servers"
)

// natsServers is how many servers a cluster of NATS has in these tests.
const natsServers = 3

// known is a transport whose Ready waits until all servers of the cluster know
// of the subscription. Without it they do so a moment later, for which a bus
// makes up, see [bus.Spreading], and the suite of the transport does not wait.
type known struct {
	*natsbus.Transport
	subject string
	probes  []*nats.Conn // one for each server
}

var probe = []byte("probe ")

func (k *known) Receive(ctx context.Context, sink bus.Sink) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	name := uniqueName()
	heard := map[string]bool{}
	all := make(chan struct{})
	return k.Transport.Receive(ctx, bus.Sink{
		Ready: func() { go k.knock(ctx, name, all) }, // ends with ctx, or when all is closed
		Gap:   sink.Gap,
		Deliver: func(payload []byte) {
			switch {
			case !bytes.HasPrefix(payload, probe):
				sink.Deliver(payload)
			case bytes.Contains(payload, []byte(name+" ")) && len(heard) < len(k.probes):
				if heard[string(payload)] = true; len(heard) == len(k.probes) {
					close(all)
					sink.Ready()
				}
			}
		},
	})
}

// knock publishes at each server until all were heard.
func (k *known) knock(ctx context.Context, name string, all <-chan struct{}) {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for {
		for i, conn := range k.probes {
			_ = conn.Publish(k.subject, fmt.Appendf(nil, "%s%s %d", probe, name, i)) // Again, a moment later.
		}
		select {
		case <-ctx.Done():
			return
		case <-all:
			return
		case <-ticker.C:
		}
	}
}

func TestBus_ConformanceOnNATSCluster(t *testing.T) {
	t.Parallel()
	// Clients are not told of ways to the servers past the relays.
	cluster := servers.NATSCluster(t, natsServers, func(o *server.Options) { o.Cluster.NoAdvertise = true })
	relays := make([]*servers.Relay, natsServers)
	probes := make([]*nats.Conn, natsServers)
	for i, s := range cluster.Servers {
		relays[i], probes[i] = servers.RelayTo(t, s.Addr), natsConnection(t, s.URL)
	}
	var joined atomic.Int64
	bustest.Run(t, bustest.Harness{
		Join: func(subject string) (bus.Transport, error) {
			i := int(joined.Add(1)) % natsServers
			return &known{natsTransport(t, "nats://"+relays[i].Addr, subject), subject, probes}, nil
		},
		Break: func(context.Context, string) error {
			for _, r := range relays {
				r.Cut()
			}
			return nil
		},
	}, false)
}

// clusterBus returns a bus through one server of a cluster.
func clusterBus(t *testing.T, cluster *servers.NATSServers, i int) *busNode {
	t.Helper()
	return startBus(t, natsTransport(t, cluster.Servers[i].URL, "cluster"))
}

// requireHearing wants nodes to hear each other.
func requireHearing(t *testing.T, nodes ...*busNode) {
	t.Helper()
	for i, from := range nodes {
		for j, to := range nodes {
			require.Eventually(t, func() bool {
				name := fmt.Sprintf("%d to %d", i, j)
				from.tell(t, name)
				return to.has(name)
			}, busPatience, 20*time.Millisecond, "%d hears %d", j, i)
		}
	}
}

// A server dies: its clients go to another one, and all that were its clients
// have a gap.
func TestBus_NATSClusterServerKilled(t *testing.T) {
	t.Parallel()
	cluster := servers.NATSCluster(t, natsServers)
	moved, stays := clusterBus(t, cluster, 0), clusterBus(t, cluster, 1)
	requireHearing(t, moved, stays)
	cluster.Servers[0].Kill()
	moved.awaitGap(t)
	moved.awaitReady(t, 2)
	requireHearing(t, moved, stays)
}

// TestHazard20_NATSRouteCut: each node hears itself through its own server, and
// no client library knows that the servers do not hear each other.
func TestHazard20_NATSRouteCut(t *testing.T) {
	t.Parallel()
	cluster := servers.NATSCluster(t, natsServers)
	apart, one, two := clusterBus(t, cluster, 0), clusterBus(t, cluster, 1), clusterBus(t, cluster, 2)
	requireHearing(t, apart, one, two)
	before := make(map[*busNode]uint64)
	for _, n := range []*busNode{apart, one, two} {
		before[n] = n.Stats().Silences
	}
	cluster.Isolate(0)
	for _, n := range []*busNode{apart, one, two} {
		require.Eventually(t, func() bool { return n.Stats().Silences > before[n] }, busPatience, 5*time.Millisecond)
		require.Eventually(t, func() bool { return n.Stats().Connected }, busPatience, 5*time.Millisecond, "it hears itself")
	}
	apart.tell(t, "apart")
	one.tell(t, "together")
	two.awaitKey(t, "together")
	assert.False(t, apart.has("together"))
	assert.False(t, two.has("apart"))

	gaps, _ := apart.counts()
	require.NoError(t, cluster.Rejoin(0))
	requireHearing(t, apart, one, two)
	require.Eventually(t, func() bool { now, _ := apart.counts(); return now > gaps }, busPatience, 5*time.Millisecond,
		"what was sent meanwhile is found to be missing")
}

// A server learns of a subscription at another one later than the subscriber
// believes, and nothing that it takes until then is missed by anybody.
func TestBus_NATSClusterLearnsLate(t *testing.T) {
	t.Parallel()
	cluster := servers.NATSCluster(t, natsServers)
	writer := clusterBus(t, cluster, 1)
	for _, r := range cluster.Between(0, 1) {
		r.Delay(500 * time.Millisecond)
	}
	reader := clusterBus(t, cluster, 0)
	writer.tell(t, "too early")
	writer.tell(t, "too early as well")
	require.Eventually(t, func() bool {
		writer.tell(t, "later")
		return reader.has("later")
	}, busPatience, 50*time.Millisecond)
	require.False(t, reader.has("too early"), "the delay makes no difference")
	reader.awaitReady(t, 2) // also where all took so long that the reader has a gap
}
