package coherence

import (
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/bus"
)

// Peer is another process of the fleet, as nearcache.Peer.
type Peer struct {
	bus.Peer
	Differs string
}

// PeerCounts are as nearcache.PeerCounts.
type PeerCounts struct{ Heard, Silent, Foreign, OtherOptions int }

// company is whom this node has heard of, for the log.
type company struct {
	log    *slog.Logger
	known  map[uint64]bus.Peer // by incarnation, as in the latest look
	counts atomic.Pointer[PeerCounts]

	// size is how many nodes there are, this one among them. Of those who fell silent not all are
	// remembered: as long as there are any, it does not fall.
	size atomic.Int64
}

// look takes in who is there, and tells who joined, left, and is heard again. That a process has
// fallen silent is a gap, which is told as that.
func (c *company) look(peers []bus.Peer, own *self) {
	now := make(map[uint64]bus.Peer, len(peers))
	var joined, returned, left []bus.Peer
	var counts PeerCounts
	for _, p := range peers {
		now[p.Incarnation] = p
		was, known := c.known[p.Incarnation]
		switch {
		case p.Silent:
		case !known:
			joined = append(joined, p)
		case was.Silent:
			returned = append(returned, was)
		}
		counts.add(&p, own)
	}
	for id, p := range c.known {
		if _, there := now[id]; !there && !p.Silent {
			left = append(left, p)
		}
	}
	c.known = now
	c.counts.Store(&counts)
	if size := int64(1 + counts.Heard); counts.Silent == 0 || size > c.size.Load() {
		c.size.Store(size)
	}
	if len(joined) > 0 {
		c.log.Info("nearcache: other servers joined", "servers", namesOf(joined), "count", len(joined), "heard", counts.Heard)
	}
	if len(returned) > 0 {
		c.log.Info("nearcache: other servers that had fallen silent are heard again", "servers", namesOf(returned), "after", silentFor(returned))
	}
	if len(left) > 0 {
		c.log.Info("nearcache: other servers left", "servers", namesOf(left), "count", len(left), "heard", counts.Heard)
	}
}

// add counts a peer beside what this node is.
func (c *PeerCounts) add(p *bus.Peer, own *self) {
	if p.Silent {
		c.Silent++
		return
	}
	c.Heard++
	switch own.differs(&p.About) {
	case "namespace", "shared tier":
		c.Foreign++
	case "options":
		c.OtherOptions++
	}
}

// self is what this node compares others with.
type self struct {
	bus.About
	unlike map[uint64]bool // digests of those whose options differ in something that both have
}

// differs says in what another process is not set up as this one; empty if in nothing that both
// tell.
func (own *self) differs(a *bus.About) string {
	unlike := func(x, y uint64) bool { return x != 0 && y != 0 && x != y }
	switch {
	case unlike(a.Namespace, own.Namespace):
		return "namespace"
	case unlike(a.Tier, own.Tier):
		return "shared tier"
	case own.unlike[a.Options]:
		return "options"
	}
	return ""
}

func namesOf(peers []bus.Peer) string {
	names := make([]string, len(peers))
	for i := range peers {
		names[i] = strconv.Quote(peers[i].Node)
	}
	return few(names)
}

// silentFor returns for how long the one of peers was not heard that was not for longest.
func silentFor(peers []bus.Peer) (longest time.Duration) {
	for i := range peers {
		longest = max(longest, time.Since(peers[i].Heard))
	}
	return longest.Round(time.Millisecond)
}

// Peers returns the other nodes on the bus, in no order; none without a bus.
func (n *Node) Peers() []Peer {
	if n.census == nil {
		return nil
	}
	own := n.census.self.Load()
	if own == nil {
		own = &self{}
	}
	peers := n.Bus.Peers()
	all := make([]Peer, len(peers))
	for i, p := range peers {
		all[i] = Peer{Peer: p, Differs: own.differs(&p.About)}
	}
	return all
}

// peerCounts returns how many other nodes there are, as of the latest look; nil without a bus.
func (n *Node) peerCounts() *PeerCounts {
	if n.census == nil {
		return nil
	}
	if counts := n.census.company.counts.Load(); counts != nil {
		return counts
	}
	return &PeerCounts{}
}
