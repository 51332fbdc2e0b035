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
// shared tier. A server that answers a read must have a head that is no lower.
type heads []head

type head struct {
	known atomic.Pointer[shared.Revision] // from the journal, and from the answers to own writes

	// told is from the bus, which anybody may write to. It counts until the journal was
	// read whole by a round that began later.
	told atomic.Pointer[shared.Revision]
}

// raise takes in that the shared tier answered a write, or told of one, of this revision.
func (h heads) raise(partition int, heard shared.Revision) {
	if len(h) > 0 {
		raiseHead(&h[partition].known, heard)
	}
}

func raiseHead(at *atomic.Pointer[shared.Revision], heard shared.Revision) {
	for heard.Epoch != 0 {
		old := at.Load()
		if old != nil && !behind(*old, heard) || at.CompareAndSwap(old, &heard) {
			return
		}
	}
}

// of returns the head of a partition, nil if there is none.
func (h heads) of(partition int) *shared.Revision {
	known, told := h[partition].known.Load(), h[partition].told.Load()
	if known == nil || told != nil && behind(*known, *told) {
		return told
	}
	return known
}

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

// journalRead takes in that the journal of a partition was read whole, by a round that
// began when the bus had told of before: what it told then is in it, or was invented.
func (h heads) journalRead(partition int, before *shared.Revision) {
	if before != nil {
		h[partition].told.CompareAndSwap(before, nil)
	}
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
		if unproven == 0 {
			return found, nil
		}
		if again {
			r.node.unproven.Add(uint64(unproven))
			if allUnread(found) {
				return nil, found[0].Err
			}
			return found, nil
		}
		_ = r.node.repairs.until(ctx, func() bool { return false }) // whatever came of it, the second read tells
	}
}

// proves reports whether reads are believed only for what they prove.
func (n *Node) proves() bool {
	return n.repairs != nil && n.tier.Proves() && !n.faults.Off(fault.Proofs)
}

// heardOf takes in that the bus told of a write of this revision, to the key that has this
// name in the shared tier. An epoch that the journal has not told of yet is news as well. A
// number that the clock of the server has not passed was invented, or is that of a
// watermark, which may be ahead.
func (n *Node) heardOf(name func() string, rev shared.Revision) {
	if rev.Number == 0 || !n.proves() {
		return
	}
	key := name()
	if p := n.partition(key); rev.Epoch >= n.repairs.epochs[p].Load() && rev.Number <= n.tier.Newest(key) {
		raiseHead(&n.heads[p].told, rev)
	}
}
