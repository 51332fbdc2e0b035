package integration_test

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/bustest"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/integration/servers"
)

// replicated are options of a stream that each server of a cluster keeps.
func replicated(name string) natsbus.StreamOptions {
	opts := streamOptions(name)
	opts.Replicas = natsServers
	return opts
}

func TestBus_ConformanceOnReplicatedJetStream(t *testing.T) {
	t.Parallel()
	cluster := servers.NATSCluster(t, natsServers, servers.JetStream)
	js := manager(t, cluster.URL())
	var joined atomic.Int64
	bustest.Run(t, bustest.Harness{
		Join: func(subject string) (bus.Transport, error) {
			i := int(joined.Add(1)) % natsServers
			return natsStream(t, cluster.Servers[i].URL, replicated(subject)), nil
		},
		Break: func(ctx context.Context, subject string) error {
			return js.DeleteStream(ctx, streamOptions(subject).Stream)
		},
	}, false)
}

// publishing publishes numbers one after the other, until stop is closed.
type publishing struct {
	stop, done chan struct{}
	stored     []string        // what the stream said that it has
	unsure     map[string]bool // what it may have
	count      atomic.Int64    // of stored
}

func startPublishing(t *testing.T, transport bus.Transport) *publishing {
	p := &publishing{stop: make(chan struct{}), done: make(chan struct{}), unsure: map[string]bool{}}
	go func() { // ends with stop
		defer close(p.done)
		for i := 0; ; i++ {
			select {
			case <-p.stop:
				return
			default:
			}
			p.publish(t, transport, strconv.Itoa(i))
		}
	}()
	return p
}

func (p *publishing) publish(t *testing.T, transport bus.Transport, payload string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := transport.Publish(ctx, []byte(payload)); err != nil {
		p.unsure[payload] = true
		return
	}
	p.stored = append(p.stored, payload)
	p.count.Add(1)
}

func (p *publishing) awaitMore(t *testing.T, n int64) {
	t.Helper()
	from := p.count.Load()
	require.Eventually(t, func() bool { return p.count.Load() >= from+n }, busPatience, 5*time.Millisecond)
}

// The leader of the stream dies again and again: what it acknowledged arrives
// once and in order, and nobody is told of a gap.
func TestStream_ReplicasOutliveTheLeader(t *testing.T) {
	t.Parallel()
	cluster := servers.NATSCluster(t, natsServers, servers.JetStream)
	opts := replicated(uniqueName())
	publisher := natsStream(t, cluster.URL(), opts)
	var listeners []*listening
	for _, s := range cluster.Servers {
		listeners = append(listeners, listen(t, natsStream(t, s.URL, opts)))
	}
	p := startPublishing(t, publisher)
	for range natsServers {
		p.awaitMore(t, 50)
		leader := awaitLeader(t, cluster, opts.Stream)
		cluster.Servers[leader].Kill()
		p.awaitMore(t, 50)
		require.NoError(t, cluster.Servers[leader].Restart())
		awaitCluster(t, cluster)
	}
	p.awaitMore(t, 50)
	close(p.stop)
	<-p.done
	for _, l := range listeners {
		l.requireStored(t, p)
	}
}

func awaitLeader(t *testing.T, cluster *servers.NATSServers, stream string) (leader int) {
	t.Helper()
	require.Eventually(t, func() (ok bool) {
		var err error
		leader, err = cluster.Leader(stream)
		return err == nil
	}, busPatience, 5*time.Millisecond)
	return leader
}

func awaitCluster(t *testing.T, cluster *servers.NATSServers) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), busPatience)
	defer cancel()
	require.NoError(t, cluster.WaitReady(ctx))
}

// requireStored wants all that was stored, once and in order, and no end.
func (l *listening) requireStored(t *testing.T, p *publishing) {
	t.Helper()
	last := p.stored[len(p.stored)-1]
	require.Eventually(t, func() bool { return slices.Contains(l.has(), last) }, busPatience, 5*time.Millisecond)
	var heard []string
	for _, payload := range l.has() {
		if !p.unsure[payload] {
			heard = append(heard, payload)
		}
	}
	assert.Equal(t, p.stored, heard)
	select {
	case <-l.done:
		require.NoError(t, l.err, "the subscription ended")
	default:
	}
}

// A server that has lost its cluster does not take what it cannot keep, and
// says nothing new: its clients notice by their own heartbeats.
func TestStream_ServerWithoutMajority(t *testing.T) {
	t.Parallel()
	cluster := servers.NATSCluster(t, natsServers, servers.JetStream)
	opts := replicated(uniqueName())
	apart := startBus(t, natsStream(t, cluster.Servers[0].URL, opts))
	one, two := startBus(t, natsStream(t, cluster.Servers[1].URL, opts)), startBus(t, natsStream(t, cluster.Servers[2].URL, opts))
	requireHearing(t, apart, one, two)
	cluster.Isolate(0)
	apart.awaitGap(t)
	require.Eventually(t, func() bool { return !apart.Stats().Connected }, busPatience, 5*time.Millisecond)
	requireHearing(t, one, two) // perhaps after a gap: the leader may have been cut off
	one.tell(t, "meanwhile")
	assert.False(t, apart.has("meanwhile"))
	require.NoError(t, cluster.Rejoin(0))
	requireHearing(t, apart, one, two)
}

// telling publishes at a node without a pause, until stop is closed.
func telling(n *busNode, stop <-chan struct{}, told *atomic.Int64) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		if n.Publish(context.Background(), bus.Invalidation{Op: bus.OpDelete, Cache: "users", Key: strconv.Itoa(i)}) == nil {
			told.Add(1)
		}
	}
}

// TestStream_NoGapWhenTheLeaderEnds: nodes that stay connected have no gap when the
// leader of the stream hands over, nor when it dies and an election takes 4 to 9 s,
// if HeartbeatTimeout is longer.
func TestStream_NoGapWhenTheLeaderEnds(t *testing.T) {
	t.Parallel()
	for name, dies := range map[string]bool{"hands over": false, "dies": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := servers.NATSCluster(t, natsServers, servers.JetStream)
			opts := replicated(uniqueName())
			natsStream(t, cluster.URL(), opts) // makes it
			leader := awaitLeader(t, cluster, opts.Stream)
			stop := make(chan struct{})
			var told atomic.Int64
			var nodes []*busNode
			var all sync.WaitGroup
			for i, s := range cluster.Servers {
				if i == leader {
					continue
				}
				n := startBusWith(t, natsStream(t, s.URL, opts), bus.Options{HeartbeatTimeout: busPatience})
				nodes = append(nodes, n)
				all.Go(func() { telling(n, stop, &told) })
			}
			awaitTold := func(n int64) {
				from := told.Load()
				require.Eventually(t, func() bool { return told.Load() >= from+n }, 2*busPatience, 5*time.Millisecond)
			}
			awaitTold(50)
			if dies {
				cluster.Isolate(leader)
			}
			cluster.Servers[leader].Kill()
			awaitLeader(t, cluster, opts.Stream)
			awaitTold(50)
			close(stop)
			all.Wait()
			for i, from := range nodes {
				last := strconv.Itoa(i) + " says no more"
				from.tell(t, last)
				for _, n := range nodes {
					n.awaitKey(t, last)
				}
			}
			for _, n := range nodes {
				n.mu.Lock()
				assert.Empty(t, n.gaps)
				n.mu.Unlock()
			}
		})
	}
}
