package nearcache

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/coherence"
)

// Health says how far a node can vouch for what it serves. It prints as a line that says
// why it is not trusted, and as JSON with the same in it.
type Health struct {
	// Trusted says that the node has heard of every write up to MaxStaleness
	// ago at the latest. While it has not, values that it can no longer vouch
	// for come from the source, or are served with NodeOptions.ServeStale.
	//
	// With a journal it is false until that was read once, and once it was not
	// read for MaxStaleness, whatever the bus does. Without a journal it is about
	// the bus alone, false from when that is lost to when it is heard, and says
	// nothing of the shared tier; without a bus either it is true. After Close it
	// is false.
	//
	// It is false as well while there is a Mismatch.
	Trusted bool

	// Mismatch says that other nodes on the bus have another shared tier than this one, or
	// another namespace, and names some of them; empty if not. What they write is not seen
	// here then, nor the other way round, until the TTL. Another order of the servers of
	// Memcached is another shared tier, too. It is noticed by both sides, within about
	// 15 s, and ends when the others leave or are set up as this node is.
	Mismatch string

	// Behind is how long ago the node was last known to have heard of every
	// write, which is when its last whole read of the journal began. If there
	// was none yet, it counts from when the node was made. Without a journal it
	// is 0.
	Behind time.Duration

	// BusCut says that the bus cannot be heard.
	BusCut bool

	// PendingInvalidations is how many invalidations could not be delivered yet. They are tried
	// again; what they concern is read from the source on this node.
	PendingInvalidations int

	// Journal is the error of the last attempt to read the journal, nil if it
	// succeeded.
	Journal error

	// Peers counts the other nodes on the bus, as of a second ago at most. [Node.Peers] lists
	// them.
	Peers PeerCounts

	why string // it is not trusted; empty if it is
	bus bool   // there is one
}

// PeerCounts says how many other nodes on the bus are in which state.
type PeerCounts struct {
	Heard        int // that are heard
	Silent       int // that fell silent within 10 minutes without taking their leave; not of Heard. It is noticed after 4 s, in a fleet of 1,000 after 27 s
	Foreign      int // of Heard, those with another shared tier or namespace: see Health.Mismatch
	OtherOptions int // of Heard, those with an option of the node, or of a cache that both have, that is another one here
}

// Peer is another node on the bus.
type Peer struct {
	bus.Peer

	// Differs says in what it is not set up as this node: "namespace", "shared tier" or
	// "options". It is empty if in nothing that both tell.
	Differs string
}

// Peers returns the other nodes on the bus that this one hears, and those that have fallen
// silent, in no order; none without a bus. See [bus.Bus.Peers].
func (n *Node) Peers() []Peer {
	peers := n.core.Peers()
	all := make([]Peer, len(peers))
	for i := range peers {
		all[i] = Peer(peers[i])
	}
	return all
}

// Health returns the state of the node. A readiness probe may ask for Trusted, until
// it is true for the first time: when the shared tier is down, no node is trusted any
// more, but all go on from the source, and had better stay in service.
func (n *Node) Health() Health {
	t := n.core.Trust()
	h := Health{
		Trusted: t.Trusted, BusCut: t.BusCut, PendingInvalidations: t.Pending, Mismatch: t.Mismatch,
		Behind: t.Behind, Journal: t.Journal,
	}
	if t.Peers != nil {
		h.Peers, h.bus = PeerCounts(*t.Peers), true
	}
	h.why = t.Why()
	return h
}

// rounded returns d as people read it.
func rounded(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// String returns a short text for logs and probes: whether the node is trusted, why if
// it is not, and what else is amiss.
func (h Health) String() string {
	text := "trusted"
	if !h.Trusted {
		text = "not trusted"
		if h.why != "" {
			text += ": " + h.why
		}
	}
	if h.Journal != nil {
		text += "; " + h.Journal.Error()
	}
	if behind := rounded(h.Behind); behind > 0 {
		text += fmt.Sprintf("; %v behind", behind)
	}
	if h.BusCut && h.why != coherence.BusCut {
		text += "; " + coherence.BusCut
	}
	if h.Mismatch != "" && h.why != h.Mismatch {
		text += "; " + h.Mismatch
	}
	if h.PendingInvalidations > 0 {
		text += fmt.Sprintf("; invalidations owed: %d", h.PendingInvalidations)
	}
	if h.bus && !h.BusCut {
		text += "; hears " + h.Peers.String()
	}
	return text
}

// String returns a short text, such as "2 other servers, 1 more is silent".
func (p PeerCounts) String() string {
	text := "no other server"
	switch {
	case p.Heard == 1:
		text = "1 other server"
	case p.Heard > 1:
		text = fmt.Sprintf("%d other servers", p.Heard)
	}
	for _, s := range []struct {
		count int
		what  string
	}{{p.Foreign, "with another shared tier"}, {p.OtherOptions, "with other options"}, {p.Silent, "more silent"}} {
		if s.count > 0 {
			text += fmt.Sprintf(", %d %s", s.count, s.what)
		}
	}
	return text
}

// MarshalJSON returns the fields under names that begin in lower case: behind as a text,
// such as "1.5s", mismatch and journal, the text of the error, or null, and peers, with heard,
// silent, foreign and otherOptions. With them is why, which is null if the node is trusted.
func (h Health) MarshalJSON() ([]byte, error) {
	type peers struct {
		Heard        int `json:"heard"`
		Silent       int `json:"silent"`
		Foreign      int `json:"foreign"`
		OtherOptions int `json:"otherOptions"`
	}
	form := struct {
		Trusted bool    `json:"trusted"`
		Why     *string `json:"why"`
		Behind  string  `json:"behind"`
		BusCut  bool    `json:"busCut"`
		Owed    int     `json:"owed"`
		Journal *string `json:"journal"`

		Mismatch *string `json:"mismatch"`
		Peers    peers   `json:"peers"`
	}{Trusted: h.Trusted, Behind: rounded(h.Behind).String(), BusCut: h.BusCut, Owed: h.PendingInvalidations, Peers: peers(h.Peers)}
	if h.why != "" {
		form.Why = &h.why
	}
	if h.Mismatch != "" {
		form.Mismatch = &h.Mismatch
	}
	if h.Journal != nil {
		text := h.Journal.Error()
		form.Journal = &text
	}
	return json.Marshal(form)
}
