package coherence

import (
	"fmt"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

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

// BusCut is what a node without a journal cannot do without.
const BusCut = "the bus is not heard"

// Why says why the node is not trusted; empty if it is.
func (t *Trust) Why() string {
	switch {
	case t.Trusted:
		return ""
	case t.Closed:
		return "the node is closed"
	case t.Mismatch != "":
		return t.Mismatch
	case !t.Journaled:
		return BusCut
	case !t.Read:
		return "the journal was not read yet"
	}
	return fmt.Sprintf("the journal was not read for %v", t.Behind.Round(time.Millisecond))
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

// JournalState is how far a node has read the journal of one partition.
type JournalState struct {
	Partition int
	Applied   driver.Revision // up to there; zero if it was not read
	Known     driver.Revision // the highest that the node has heard of, as far as it knows
	Behind    time.Duration   // since the last read of it to its end began; -1 if there was none
}

// JournalStates returns how far the node has read each journal; none if there is none.
func (n *Node) JournalStates() []JournalState {
	if n.Journal == nil {
		return nil
	}
	all := make([]JournalState, len(n.heads))
	for p := range all {
		s := JournalState{Partition: p, Behind: -1}
		if applied := n.Journal.Applied(p); applied != nil {
			s.Applied, s.Behind = *applied, time.Duration(n.Near.Now()-n.Near.HorizonOf(p))
		}
		if head := n.heads.Of(p); head != nil {
			s.Known = *head
		}
		all[p] = s
	}
	return all
}
