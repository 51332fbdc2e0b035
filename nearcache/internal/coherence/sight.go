package coherence

import (
	"context"
	"fmt"

	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/nearcache/internal/journal"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// Sight is a key as this node sees it, beside what is near: what the shared tier has, and
// what this node knows that ends it. A look changes nothing.
type Sight struct {
	Pending bool    // an invalidation of the key is: the shared tier is not read
	Stored  *Stored // nil without a shared tier, or if it cannot be read
	Failure error   // why it cannot be read, or would not be believed

	// Ended is the news that ends the record, of which the shared tier alone does not tell;
	// and Slot the slot, with NewsTag.
	Ended News
	Slot  uint32
}

// Look returns how this node sees key. depth is as in [LookUp].
func (k *Keyspace) Look(ctx context.Context, key string, hash uint64, depth int) (s Sight, err error) {
	if err := k.Check(key); err != nil {
		return s, err
	}
	s.Pending = k.Pending.HasKey(key)
	if k.node.Tier == nil {
		return s, nil
	}
	s.Stored, s.Failure = LookUp(ctx, k.node.Tier.Tier, k.Name, key, depth)
	if s.Stored == nil {
		return s, nil
	}
	if k.node.Tier.Stats().Open {
		s.Failure = shared.ErrOpen
	}
	switch s.Stored.Fate {
	case FateUnread:
		s.Failure = s.Stored.Record.Err
	case FateLive, FateNegative:
		k.doubt(key, hash, &s)
	}
	return s, nil
}

// doubt compares a live record with what this node knows, as [Keyspace.Arrive] and
// [Records.ReadRecords] do, and takes nothing in.
func (k *Keyspace) doubt(key string, hash uint64, s *Sight) {
	n, r := k.node, &s.Stored.Record
	p, now := k.Partition(key), n.Near.Now()
	clock, _, _ := k.Clock.Get()
	unconfirmed := k.unconfirmed(key, r, now)
	read := Arrival{Hash: hash, Found: r, Entry: &near.Entry{Stamp: n.Near.Stamp()}, Basis: Basis{Revision: r.Revision}}
	switch {
	case n.proves() && behind(n.heads.Want(p, now), r.Head):
		s.Failure = journal.ErrBehind
	case n.Journal != nil && r.Revision.Epoch < n.Journal.Epoch(p), n.proves() && r.Revision.Epoch < n.heads[p].Epoch(), n.doubtful(p, r.Revision):
		s.Ended = NewsLoss
	case r.Clock < clock:
		s.Ended = NewsClear
	case !k.aboveFloor(&read):
		s.Ended = NewsGiven
	case unconfirmed != nil:
		s.Failure = unconfirmed
	default:
		k.doubtTags(s)
	}
}

// unconfirmed returns why a record is not believed before the journal is read, nil if it is.
func (k *Keyspace) unconfirmed(key string, r *shared.Found, now int64) error {
	if k.node.Journal == nil || k.verified(key, r.Slots, now) {
		return nil
	}
	switch err := k.node.Journal.Err(); {
	case err == nil:
		return errUnverified
	case k.node.Options.ServeStale:
		return nil
	default:
		return fmt.Errorf("%w: %w", errUnverified, err)
	}
}

func (k *Keyspace) doubtTags(s *Sight) {
	r := &s.Stored.Record
	for _, slot := range r.Slots {
		if k.Tags.Ends(slot, r.TagClock) || k.Pending.HasSlots([]uint32{slot}) {
			s.Ended, s.Slot = NewsTag, slot
			return
		}
	}
}

func behind(want *driver.Revision, head driver.Revision) bool {
	return want != nil && generation.Behind(head, *want)
}
