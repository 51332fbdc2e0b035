package coherence

import (
	"context"
	"errors"
	"fmt"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/nearcache/internal/journal"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// wantsOf appends what servers of the partitions of keys have to have to all: one of each key, or one for
// all if there is one partition. hearsay says that what the bus alone told counts.
func (n *Node) wantsOf(keys []string, hearsay bool, now int64, all []*driver.Revision) []*driver.Revision {
	want := func(partition int) *driver.Revision {
		if hearsay {
			return n.heads.Want(partition, now)
		}
		return n.heads.Known(partition)
	}
	if len(n.heads) == 1 {
		return append(all, want(0))
	}
	for _, key := range keys {
		all = append(all, want(n.partition(key)))
	}
	return all
}

// proven is Read for a store that proves its reads. A record counts as unread if the
// server that answered is behind what this node had heard of when the read began. A
// client may hold connections to a server that was the primary before: the journal, read
// over another connection, says nothing of those. The journal is read first and then
// the keys once more, since the connection may be another one by then. What the bus had told
// of when the read began is in the journal by then, or was invented; what it told since is no
// matter of this read. So nobody who invents numbers has a read wait twice.
func (r *observedTier) proven(ctx context.Context, keys []string) ([]shared.Found, error) {
	var room [1]*driver.Revision // for most
	hearsay := true
	for again := false; ; again = true {
		began := r.node.Near.Now()
		asked := r.node.wantsOf(keys, hearsay, began, room[:0])
		found, err := r.read(ctx, keys)
		if err != nil {
			return nil, err
		}
		unproven := 0
		for i := range found {
			want := asked[min(i, len(asked)-1)]
			switch {
			case errors.Is(found[i].Err, shared.ErrUnread):
			case want == nil || !generation.Behind(found[i].Head, *want):
				p := r.node.partition(keys[i])
				r.node.sees(p, found[i].Head)
				r.node.heads[p].Proved(found[i].Head, began)
			default:
				found[i] = shared.Found{Err: fmt.Errorf("%w: %w", shared.ErrUnread, journal.ErrBehind)}
				unproven++
			}
		}
		if unproven == 0 {
			return found, nil
		}
		if again {
			r.node.Unproven.Add(uint64(unproven))
			if allUnread(found) {
				return nil, found[0].Err
			}
			return found, nil
		}
		hearsay = r.wait(ctx, func() bool { return false }) != nil
	}
}

// sees takes in that the shared tier has a write of this revision to a key of a partition.
func (n *Node) sees(partition int, rev driver.Revision) {
	if len(n.heads) > 0 && !n.elsewhere(partition, rev.Epoch) {
		n.reaches(partition, rev)
	}
}

// reaches takes in that a partition has a write of this revision.
func (n *Node) reaches(partition int, rev driver.Revision) {
	if n.heads[partition].Raise(rev, n.Near.Now()) {
		n.Journal.Lost() // writes may be lost: the journal is read at once
	}
}

// elsewhere reports whether this is the epoch of another partition and not of this one: a
// key has moved between the two, and nobody was deposed. See package shardstore.
func (n *Node) elsewhere(partition int, epoch uint64) bool {
	if epoch == n.heads[partition].Epoch() {
		return false
	}
	return n.Journal.HasEpoch(partition, epoch)
}

// lost reports whether a server took a write to a key of a partition that was deposed.
func (n *Node) lost(partition int, rev driver.Revision) bool {
	return n.proves() && !n.elsewhere(partition, rev.Epoch) && n.deposed(partition, rev)
}

// deposed reports whether a server that is as far as this in a partition was deposed.
func (n *Node) deposed(partition int, at driver.Revision) bool {
	return n.proves() && n.heads[partition].Deposed(at.Epoch, n.Near.Now(), func() { n.acked.Forget(partition, at.Epoch) })
}

// doubtful reports whether what the shared tier has under this revision may be older than
// what a server took that was deposed.
func (n *Node) doubtful(partition int, rev driver.Revision) bool {
	return n.proves() && n.heads[partition].Doubtful(rev.Number)
}

// proves reports whether reads are believed only for what they prove.
func (n *Node) proves() bool {
	return n.Journal != nil && n.Tier.Proves() && !n.Faults.Off(fault.Proofs)
}

// heardOf takes in that m tells of a write of this revision, to the key that has this name
// in the shared tier, unless that is another shared tier. An epoch that the journal has not
// told of yet is news as well. It reports whether a server took the write that was deposed:
// then it is lost, and what the shared tier has may be older.
func (n *Node) heardOf(m *bus.Message, name func() string, rev driver.Revision) (lost bool) {
	if rev.Number == 0 || rev.Epoch == 0 || !n.proves() || n.foreign(m) {
		return false
	}
	key := name()
	p := n.partition(key)
	if n.elsewhere(p, rev.Epoch) {
		return false
	}
	h := &n.heads[p]
	if rev.Epoch < h.Epoch() {
		return true
	}
	if h.Tell(rev, n.Tier.Newest(key), n.Near.Now()) {
		n.Journal.Lost() // writes may be lost: the journal is read at once
	}
	return false
}
