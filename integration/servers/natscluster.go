package servers

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// natsRoute is a way from a server to another one, by their numbers.
type natsRoute struct{ from, to int }

// NATSServers are nats-servers that form a cluster. They reach each other through
// relays, so each route can be cut by itself.
type NATSServers struct {
	// Servers are the servers, in the order in which they were started.
	Servers []*NATSServer

	relays map[natsRoute]*Relay
	ports  []int // of routes, by server
}

// connectionsPerRoute is how many a server keeps to another one: one is that of
// the system's account.
const connectionsPerRoute = server.DEFAULT_ROUTE_POOL_SIZE + 1

// NATSCluster starts a cluster for the test; see [StartNATSCluster].
func NATSCluster(t testing.TB, n int, adjust ...func(*server.Options)) *NATSServers {
	t.Helper()
	c, err := StartNATSCluster(t.Context(), n, adjust...)
	return inTest(t, c, err)
}

// StartNATSCluster starts n nats-servers and returns when all of them know each
// other, and, with [JetStream], have a leader. The functions may change the
// configuration of each.
func StartNATSCluster(ctx context.Context, n int, adjust ...func(*server.Options)) (*NATSServers, error) {
	return onFreePorts(ctx, func() (*NATSServers, error) {
		c := &NATSServers{relays: make(map[natsRoute]*Relay)}
		if err := c.start(ctx, n, adjust); err != nil {
			c.Stop()
			return nil, err
		}
		return c, nil
	})
}

func (c *NATSServers) start(ctx context.Context, n int, adjust []func(*server.Options)) error {
	for range n {
		port, err := freePort()
		if err != nil {
			return err
		}
		c.ports = append(c.ports, port)
	}
	for from := range n {
		for to := range n {
			if from == to {
				continue
			}
			relay, err := StartRelay(loopback(c.ports[to]))
			if err != nil {
				return err
			}
			c.relays[natsRoute{from, to}] = relay
		}
	}
	for i := range n {
		srv, err := StartNATS(append([]func(*server.Options){c.member(i)}, adjust...)...)
		if err != nil {
			return err
		}
		c.Servers = append(c.Servers, srv)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return c.WaitReady(ctx)
}

// member returns what makes a server number i of the cluster. It dials the others
// through relays, and tells them of an address on which nobody answers, so that
// no route goes past the relays. Of two routes between the same servers they
// give one up.
func (c *NATSServers) member(i int) func(*server.Options) {
	return func(o *server.Options) {
		o.ServerName = "nats-" + strconv.Itoa(i)
		o.Cluster = server.ClusterOpts{
			Name: "nearbus", Host: "127.0.0.1", Port: c.ports[i], Advertise: "127.0.0.1:1",
		}
		// JetStream wants every server named, itself included.
		for to, port := range c.ports {
			host := loopback(port)
			if to != i {
				host = c.relays[natsRoute{i, to}].Addr
			}
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: host})
		}
	}
}

// URL returns the addresses of all servers, as clients want them.
func (c *NATSServers) URL() string {
	urls := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		urls[i] = s.URL
	}
	return strings.Join(urls, ",")
}

// Between returns the relays between two servers: which of them carries the
// route is up to the servers.
func (c *NATSServers) Between(i, j int) []*Relay {
	return []*Relay{c.relays[natsRoute{i, j}], c.relays[natsRoute{j, i}]}
}

// around returns the relays between server i and the others.
func (c *NATSServers) around(i int) (all []*Relay) {
	for j := range c.Servers {
		if j != i {
			all = append(all, c.Between(i, j)...)
		}
	}
	return all
}

// Isolate drops all bytes between server i and the others, which notice nothing
// for as long as they do not miss each other's pings: minutes.
func (c *NATSServers) Isolate(i int) {
	for _, r := range c.around(i) {
		r.Blackhole()
	}
}

// Rejoin ends what Isolate began.
func (c *NATSServers) Rejoin(i int) error {
	var failures []error
	for _, r := range c.around(i) {
		failures = append(failures, r.Resume())
	}
	return errors.Join(failures...)
}

// WaitReady returns when every server has a route to every other one and, with
// JetStream, all know a leader that knows all.
func (c *NATSServers) WaitReady(ctx context.Context) error {
	return poll(ctx, func() error {
		leaders := 0
		for _, s := range c.Servers {
			led, err := s.inCluster(len(c.Servers))
			if err != nil {
				return err
			}
			if led {
				leaders++
			}
		}
		if c.Servers[0].options.JetStream && leaders != 1 {
			return fmt.Errorf("servers: nats cluster has %d leaders", leaders)
		}
		return nil
	})
}

// Leader returns the number of the server that leads a stream, or an error as
// long as there is none.
func (c *NATSServers) Leader(stream string) (int, error) {
	for i, s := range c.Servers {
		if s.leads(stream) {
			return i, nil
		}
	}
	return 0, fmt.Errorf("servers: stream %q has no leader", stream)
}

// Stop ends all servers and relays for good. It may be called more than once.
func (c *NATSServers) Stop() {
	for _, s := range c.Servers {
		s.Stop()
	}
	for _, r := range c.relays {
		r.Stop()
	}
}

// inCluster returns an error while the server does not know all n of its
// cluster, and whether it leads them in JetStream.
func (n *NATSServer) inCluster(size int) (leads bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server == nil {
		return false, fmt.Errorf("servers: nats %s is not running", n.Addr)
	}
	routes, err := n.server.Routez(nil)
	if err != nil {
		return false, fmt.Errorf("servers: nats %s: %w", n.Addr, err)
	}
	if want := connectionsPerRoute * (size - 1); len(routes.Routes) != want {
		return false, fmt.Errorf("servers: nats %s has %d connections to others, not %d", n.Addr, len(routes.Routes), want)
	}
	if !n.options.JetStream || !n.server.JetStreamIsLeader() {
		return false, nil
	}
	if known := len(n.server.JetStreamClusterPeers()); known != size {
		return false, fmt.Errorf("servers: nats %s knows %d servers with JetStream", n.Addr, known)
	}
	return true, nil
}

func (n *NATSServer) leads(stream string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.server != nil && n.server.JetStreamIsStreamLeader("$G", stream)
}
