package nearcache

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared"
)

// errBehind is why a read is not believed.
var errBehind = errors.New("the server that answered is not the one that has the latest writes")

// heads are the highest revisions that this node has heard of, by partition of the
// shared tier: from the journal, from the answers to its own writes, and from the bus.
// A server that answers a read must have a head that is no lower.
//
// What the bus says may be invented. It counts until the journal was read whole by a
// round that began later.
type heads []atomic.Pointer[shared.Revision]

// raise takes in that a write of this revision was heard of.
func (h heads) raise(partition int, heard shared.Revision) {
	if len(h) == 0 || heard.Epoch == 0 {
		return
	}
	for {
		old := h[partition].Load()
		if old != nil && !behind(*old, heard) || h[partition].CompareAndSwap(old, &heard) {
			return
		}
	}
}

// of returns the head of a partition.
func (h heads) of(partition int) *shared.Revision { return h[partition].Load() }

// ofAll appends the heads of the partitions of keys to all: one of each key, or one for
// all if there is one partition.
func (h heads) ofAll(n *Node, keys []string, all []*shared.Revision) []*shared.Revision {
	if len(h) == 1 {
		return append(all, h.of(0))
	}
	for _, key := range keys {
		all = append(all, h.of(n.partition(key)))
	}
	return all
}

// learn takes in where the journal of a partition ends: read by a round that began when
// the head was before. A head that is beyond that and was known then was invented.
func (h heads) learn(partition int, end shared.Revision, before *shared.Revision) {
	if before != nil && behind(end, *before) && h[partition].CompareAndSwap(before, &end) {
		return
	}
	h.raise(partition, end)
}

// behind reports whether a server with the head has does not have the write of want yet,
// or is of before a loss of writes that want comes after.
func behind(has, want shared.Revision) bool {
	return has.Epoch < want.Epoch || has.Epoch == want.Epoch && has.Number < want.Number
}

// proven is Read for a store that proves its reads. A record counts as unread if the
// server that answered is behind what this node had heard of when the read began. A
// client may hold connections to a server that was the primary before: the journal, read
// over another connection, says nothing of those. The journal is read first and then
// the keys once more, since the connection may be another one by then.
func (r *reach) proven(ctx context.Context, keys []string) ([]shared.Found, error) {
	var room [1]*shared.Revision // for most
	for again := false; ; again = true {
		asked := r.node.heads.ofAll(r.node, keys, room[:0])
		found, err := r.Tier.Read(ctx, keys)
		if err != nil {
			return nil, err
		}
		unproven := 0
		for i := range found {
			want := asked[min(i, len(asked)-1)]
			if want != nil && !errors.Is(found[i].Err, shared.ErrUnread) && behind(found[i].Head, *want) {
				found[i] = shared.Found{Err: fmt.Errorf("%w: %w", shared.ErrUnread, errBehind)}
				unproven++
			}
		}
		switch {
		case unproven == 0:
			return found, nil
		case again && allUnread(found):
			r.node.unproven.Add(uint64(unproven))
			return nil, found[0].Err
		case again:
			r.node.unproven.Add(uint64(unproven))
			return found, nil
		}
		_ = r.node.repairs.until(ctx, func() bool { return false }) // whatever came of it, the second read tells
	}
}

// proves reports whether reads are believed only for what they prove.
func (n *Node) proves() bool {
	return n.repairs != nil && n.tier.Proves() && !n.faults.Off(fault.Proofs)
}

// heardOf takes in that the bus told of a write of this revision. An epoch that the
// journal has not told of yet is news as well.
func (n *Node) heardOf(partition func() int, rev shared.Revision) {
	if rev.Number == 0 || !n.proves() {
		return
	}
	if p := partition(); rev.Epoch >= n.repairs.epochs[p].Load() {
		n.heads.raise(p, rev)
	}
}
