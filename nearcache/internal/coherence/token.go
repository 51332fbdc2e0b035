package coherence

import (
	"context"
	"fmt"

	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared/driver"
)

// Token stands for writes that a node had acknowledged: see nearcache.ConsistencyToken.
type Token struct {
	Partition     uint32
	Epoch, Number uint64 // the highest revision that was acknowledged in the partition
	Clock         uint64 // of the cache: what was cleared
	Tags          uint64 // the tag clock: what tags have invalidated
}

// Token returns the token of a key, as far as this node has written.
func (rs *Records) Token(key string) Token {
	clock, _, _ := rs.Clock.Get()
	tags, _, _ := rs.Tags.Get()
	if rs.node.Journal == nil {
		return Token{Number: 1, Clock: clock, Tags: tags}
	}
	p := rs.node.partition(rs.StoreKey(key))
	rev := rs.node.acked.Get(p)
	return Token{Partition: uint32(p), Epoch: rev.Epoch, Number: rev.Number, Clock: clock, Tags: tags}.orNothing()
}

// orNothing returns the zero Token if t stands for no write.
func (t Token) orNothing() Token {
	if t.Number == 0 && t.Clock == 0 && t.Tags == 0 {
		return Token{}
	}
	return t
}

// Horizon returns up to when every write that concerns key has been applied
// here, 0 if there is no journal that tells.
func (rs *Records) Horizon(key string) int64 {
	if rs.node.Journal == nil {
		return 0
	}
	if rs.Tags.InUse.Load() {
		return rs.node.Near.Horizon() // any partition may have what its tags are judged by
	}
	return min(rs.node.Near.HorizonOf(rs.node.partition(rs.StoreKey(key))), rs.node.Near.HorizonOf(rs.clockPartition()))
}

// HasApplied reports whether this node has applied everything that t stands
// for, so that whatever is near is no older.
func (rs *Records) HasApplied(key string, t Token) bool {
	switch {
	case t == Token{}:
		return true
	case rs.node.Journal == nil || rs.Clock.Applied() < t.Clock:
		return false
	case t.Number == 0:
		return true // there was a Clear or a tag, and nothing else
	case t.Partition != uint32(rs.node.partition(rs.StoreKey(key))):
		return false // the token of another key
	}
	applied := rs.node.Journal.Applied(int(t.Partition))
	return applied != nil && applied.Epoch == t.Epoch && applied.Number >= t.Number
}

// CatchUp has the journals read before a read of the shared tier, if t stands for a Clear or
// an InvalidateTags that this node has not heard of. What tells of them may be on other
// servers than the key, whose heads a token does not have. After that each server must have
// what was acknowledged before. If this node still has not heard of it, it is lost.
func (rs *Records) CatchUp(ctx context.Context, t Token) error {
	if !rs.node.proves() || len(rs.node.heads) == 1 || rs.hasHeard(t) {
		return nil
	}
	if err := rs.node.Journal.Wait(ctx, func() bool { return false }); err != nil && !rs.hasHeard(t) {
		return fmt.Errorf("%w: %w", ErrUnproven, err)
	}
	return nil
}

// hasHeard reports whether this node knows of all Clears and InvalidateTags that t stands for.
func (rs *Records) hasHeard(t Token) bool {
	tags, _, _ := rs.Tags.Get()
	return rs.Clock.Applied() >= t.Clock && tags >= t.Tags
}

// Contains reports whether the entry of key was written after everything that t
// stands for: revisions rise along a partition.
func (rs *Records) Contains(key string, e *near.Entry, t Token) bool {
	return rs.node.Journal != nil && t.Epoch != 0 && e.Revision.Epoch == t.Epoch && e.Revision.Number >= t.Number &&
		t.Partition == uint32(rs.node.partition(rs.StoreKey(key))) && rs.Clock.Applied() >= t.Clock
}

// Missing reports whether a server whose read of key had this head lacks what t stands for.
func (rs *Records) Missing(key string, head driver.Revision, t Token) bool {
	return rs.node.proves() && t.Number > 0 && t.Partition == uint32(rs.Partition(key)) &&
		generation.Behind(head, driver.Revision{Epoch: t.Epoch, Number: t.Number})
}
