package coherence

import "time"

// Trust is how far a node can vouch for what it serves: see nearcache.Health.
type Trust struct {
	Trusted   bool
	Closed    bool
	BusCut    bool
	Journaled bool          // there is a journal
	Read      bool          // it was read once
	Behind    time.Duration // since when a whole read of it began; since the node began, if there was none
	Journal   error         // of the last attempt to read it
	Mismatch  string
	Pending   int
	Peers     *PeerCounts // nil without a bus
}

// Trust returns how far the node can vouch for what it serves.
func (n *Node) Trust() Trust {
	cut := n.Cut.Load()
	t := Trust{
		Trusted: !cut, Closed: n.Context.Err() != nil, BusCut: cut, Journaled: n.Journal != nil,
		Mismatch: n.mismatch(), Pending: n.pending(),
		Peers: n.peerCounts(),
	}
	if t.Journaled {
		horizon := n.Near.Horizon()
		t.Read, t.Behind, t.Journal = horizon > 0, time.Duration(n.Near.Now()-horizon), n.Journal.Err()
		t.Trusted = t.Read && t.Behind <= n.Options.MaxStaleness
	}
	t.Trusted = t.Trusted && !t.Closed && t.Mismatch == ""
	return t
}
