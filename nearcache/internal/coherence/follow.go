package coherence

import (
	"strconv"
	"strings"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/journal"
	"github.com/nearbus/nearbus/nearcache/internal/telemetry"
	"github.com/nearbus/nearbus/shared/driver"
)

// follower returns what follows the journals for n.
func (n *Node) follower() *journal.Follower {
	conf := journal.Config{
		Tier: n.Tier, Owner: journalOwner{n}, Heads: n.heads, Acked: n.acked,
		Proves: n.proves, OnBus: n.Bus != nil, Deaf: n.Cut.Load, RoundTrip: n.roundTrip, Fleet: n.fleet,
		Interval: n.Options.JournalInterval, MaxStaleness: n.Options.MaxStaleness, Logger: n.Options.Logger,
		Done: n.own, Stopped: ErrClosed,
	}
	if n.Bus != nil {
		conf.Suspect = n.Bus.Probe
	}
	return journal.New(conf)
}

// roundTrip returns what the latest one of the bus took.
func (n *Node) roundTrip() time.Duration { return n.Bus.Stats().RoundTrip }

// fleet returns how many nodes there are, this one among them, as far as it has heard.
func (n *Node) fleet() int { return int(max(1, n.census.company.size.Load())) }

// journalOwner is a node as its follower of the journals sees it.
type journalOwner struct{ n *Node }

// Now implements [journal.Owner].
func (f journalOwner) Now() int64 { return f.n.Near.Now() }

// Confirm implements [journal.Owner].
func (f journalOwner) Confirm(partition int, at int64) { f.n.Near.Confirm(partition, at) }

// Broke implements [journal.Owner].
func (f journalOwner) Broke(partition int) { f.n.Near.Broke(partition) }

// Apply implements [journal.Owner].
func (f journalOwner) Apply(e *driver.JournalEntry) (dropped bool) { return f.n.repair(e) }

// Reached implements [journal.Owner].
func (f journalOwner) Reached(partition int, rev driver.Revision) { f.n.reaches(partition, rev) }

// Deposed implements [journal.Owner].
func (f journalOwner) Deposed(partition int, at driver.Revision) bool {
	return f.n.deposed(partition, at)
}

// Restored implements [journal.Owner].
func (f journalOwner) Restored() { signal(f.n.restored) }

// Arrive implements [journal.Owner].
func (f journalOwner) Arrive(call bus.BarrierRequest) { f.n.Bus.Ack(call) }

// Ended implements [journal.Owner].
func (f journalOwner) Ended(began time.Time, entries int, repaired uint64, err error) {
	f.n.Took(telemetry.Repair, "", entries, began, err)
	if repaired > 0 {
		f.n.Happened(telemetry.Note{Kind: telemetry.Repaired, Count: int(repaired)})
	}
}

// Flush implements [journal.Owner].
func (f journalOwner) Flush(lost []bool, first bool) {
	if !first {
		f.n.Happened(telemetry.Note{Kind: telemetry.Reset})
	}
	for _, one := range lost {
		if !one {
			f.n.flushPartitions(lost)
			return
		}
	}
	f.n.flush()
}

// repair applies one entry of the journal, and reports whether it took
// something out that the bus should have.
func (n *Node) repair(e *driver.JournalEntry) bool {
	if name, key, ok := strings.Cut(e.Key, ":"); ok && !strings.HasSuffix(name, tagInfix) {
		c := n.caches.find(name)
		return c != nil && c.repair(key, e.Revision)
	}
	return n.repairClocks(e)
}

// repairClocks applies an entry of the journal that is of no key.
func (n *Node) repairClocks(e *driver.JournalEntry) bool {
	if name, ok := strings.CutSuffix(e.Key, clockSuffix); ok {
		c := n.caches.find(name)
		return c != nil && c.advance(e.Revision.Number)
	}
	if name, ok := strings.CutSuffix(e.Key, tagClockSuffix); ok {
		if c := n.caches.find(name); c != nil {
			c.advanceTags(e.Revision.Number)
		}
		return false
	}
	name, slot, _ := strings.Cut(e.Key, slotInfix)
	number, err := strconv.ParseUint(slot, 10, 16)
	c := n.caches.find(name)
	return err == nil && c != nil && c.repairSlot(uint32(number), e.Revision)
}

// Hears reports whether this node would have heard by now of whatever was
// invalidated, but for the bound on staleness.
func (n *Node) Hears() bool {
	if n.Journal != nil {
		return n.Near.Trusted()
	}
	return n.Bus != nil && !n.Cut.Load()
}

// partition returns the partition of a key of the shared tier.
func (n *Node) partition(storeKey string) int {
	if n.Journal == nil {
		return 0
	}
	return n.Tier.Partition(storeKey)
}

// epoch returns the epoch of a partition, 0 if it is not known.
func (n *Node) epoch(partition int) uint64 {
	if n.Journal == nil {
		return 0
	}
	return n.Journal.Epoch(partition)
}

// Losses returns how often the shared tier turned out to have lost writes, or may have.
func (n *Node) Losses() uint64 {
	if n.Journal == nil {
		return 0
	}
	return n.Journal.Losses()
}

// superseded reports whether a record of this revision was there before the
// shared tier lost writes: then it may be what one of them had replaced. A
// record of a later epoch is news of such a loss.
func (n *Node) superseded(partition int, rev driver.Revision) bool {
	if n.Journal == nil {
		return false
	}
	epoch := n.Journal.Epoch(partition)
	if epoch != 0 && rev.Epoch > epoch {
		n.Journal.Trigger()
	}
	if n.proves() {
		epoch = max(epoch, n.heads[partition].Epoch())
	}
	return rev.Epoch < epoch
}
