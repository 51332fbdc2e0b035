package servers

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// NATSPair are two nats-servers that are no cluster and pass messages on to each
// other over a line of relays.
type NATSPair struct {
	// Servers are the two servers. With a leaf node, the first one is its hub.
	Servers []*NATSServer

	ports [2]int    // on which the servers listen for each other
	line  [2]*Relay // in front of the ports
}

// pairing says what kind of pair it is.
type pairing struct {
	member func(p *NATSPair, i int, o *server.Options) // makes a server number i
	met    func(*server.Server) bool                   // it is connected to the other one
}

// nowhere is an address on which nobody answers. Servers tell others of it, so
// that no connection goes past the relays.
const nowhere = "127.0.0.1:1"

// NATSLeaf starts a hub and a leaf node for the test; see [StartNATSLeaf].
func NATSLeaf(t testing.TB, adjust ...func(*server.Options)) *NATSPair {
	t.Helper()
	p, err := StartNATSLeaf(t.Context(), adjust...)
	return inTest(t, p, err)
}

// StartNATSLeaf starts a nats-server without a cluster, the hub, and a leaf node
// of it, and returns when they are connected. The functions may change the
// configuration of each.
func StartNATSLeaf(ctx context.Context, adjust ...func(*server.Options)) (*NATSPair, error) {
	return startPair(ctx, adjust, pairing{
		member: func(p *NATSPair, i int, o *server.Options) {
			if i == 0 {
				o.LeafNode.Host, o.LeafNode.Port, o.LeafNode.Advertise = "127.0.0.1", p.ports[0], nowhere
				return
			}
			o.LeafNode.Remotes = []*server.RemoteLeafOpts{{URLs: p.to(0)}}
		},
		met: func(s *server.Server) bool { return s.NumLeafNodes() == 1 },
	})
}

// NATSGateways starts a super-cluster for the test; see [StartNATSGateways].
func NATSGateways(t testing.TB, adjust ...func(*server.Options)) *NATSPair {
	t.Helper()
	p, err := StartNATSGateways(t.Context(), adjust...)
	return inTest(t, p, err)
}

// StartNATSGateways starts a super-cluster: two clusters of one nats-server each,
// with gateways to each other. It returns when they are connected. The functions
// may change the configuration of each.
func StartNATSGateways(ctx context.Context, adjust ...func(*server.Options)) (*NATSPair, error) {
	name := func(i int) string { return "cluster-" + strconv.Itoa(i) }
	return startPair(ctx, adjust, pairing{
		member: func(p *NATSPair, i int, o *server.Options) {
			o.Gateway = server.GatewayOpts{
				Name: name(i), Host: "127.0.0.1", Port: p.ports[i], Advertise: nowhere,
				Gateways: []*server.RemoteGatewayOpts{{Name: name(1 - i), URLs: p.to(1 - i)}},
			}
		},
		met: func(s *server.Server) bool { return s.NumOutboundGateways() == 1 },
	})
}

// to returns the way to server number i.
func (p *NATSPair) to(i int) []*url.URL {
	return []*url.URL{{Scheme: "nats", Host: p.line[i].Addr}}
}

func startPair(ctx context.Context, adjust []func(*server.Options), kind pairing) (*NATSPair, error) {
	return onFreePorts(ctx, func() (*NATSPair, error) {
		p := &NATSPair{}
		err := p.start(adjust, kind)
		if err == nil {
			err = p.await(ctx, kind)
		}
		if err != nil {
			p.Stop()
			return nil, err
		}
		return p, nil
	})
}

func (p *NATSPair) start(adjust []func(*server.Options), kind pairing) (err error) {
	for i := range p.ports {
		if p.ports[i], err = freePort(); err != nil {
			return err
		}
		if p.line[i], err = StartRelay(loopback(p.ports[i])); err != nil {
			return err
		}
	}
	for i := range p.ports {
		member := func(o *server.Options) { kind.member(p, i, o) }
		srv, err := StartNATS(append([]func(*server.Options){member}, adjust...)...)
		if err != nil {
			return err
		}
		p.Servers = append(p.Servers, srv)
	}
	return nil
}

// await returns when the servers are connected.
func (p *NATSPair) await(ctx context.Context, kind pairing) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return poll(ctx, func() error {
		for _, s := range p.Servers {
			if !kind.met(s.server) {
				return fmt.Errorf("servers: nats %s is not connected to the other one", s.Addr)
			}
		}
		return nil
	})
}

// Stall holds back all that passes between the servers, which notice nothing for
// as long as they do not miss each other's pings: minutes.
func (p *NATSPair) Stall() {
	for _, r := range p.line {
		r.Stall()
	}
}

// Delay passes bytes on between the servers so much later.
func (p *NATSPair) Delay(d time.Duration) {
	for _, r := range p.line {
		r.Delay(d)
	}
}

// Resume ends what Stall and Delay began: what was held back arrives.
func (p *NATSPair) Resume() error {
	var failures []error
	for _, r := range p.line {
		failures = append(failures, r.Resume())
	}
	return errors.Join(failures...)
}

// Stop ends servers and relays for good. It may be called more than once.
func (p *NATSPair) Stop() {
	for _, s := range p.Servers {
		s.Stop()
	}
	for _, r := range p.line {
		if r != nil {
			r.Stop()
		}
	}
}
