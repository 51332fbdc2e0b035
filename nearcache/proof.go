package nearcache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/bus"
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

	epoch atomic.Uint64 // the latest that was heard of
	heard atomic.Int64  // when that was, the last time, on the clock of the near tier

	mu sync.Mutex // is held while an epoch begins, ends or is put in doubt

	// doubt is the highest number that was heard of in earlier epochs. The server that was
	// deposed may have gone on taking writes when this epoch had begun. What the other one
	// has up to there may be older than what callers of this node were given.
	doubt   atomic.Uint64
	doubted int64 // when a number was heard of last; protected by mu
}

// deposition is for how long a server of an earlier epoch than one that was heard of counts
// as deposed. It may as well have lost everything and have a clock that is behind, or a
// message may have named an epoch that never began: both would be for ever.
const deposition = 30 * time.Second

// raise takes in that the shared tier answered a write, or told of one, of this revision.
// It reports whether an epoch began.
func (h *head) raise(heard shared.Revision, now int64) (began bool) {
	began = h.hear(heard.Epoch, now)
	raiseHead(&h.known, heard)
	if heard.Epoch < h.epoch.Load() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.doubtLocked(heard.Number, now)
	}
	return began
}

// hear takes in that there is this epoch, and reports whether it began since the last was
// heard of.
func (h *head) hear(epoch uint64, now int64) (began bool) {
	if epoch < h.epoch.Load() {
		return false
	}
	if before := h.heard.Swap(now); epoch == h.epoch.Load() && now-before < int64(deposition/2) {
		return false // it is not about to be forgotten
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.epoch.Load()
	if epoch <= old {
		return false
	}
	for _, rev := range []*shared.Revision{h.known.Load(), h.told.Load()} {
		if rev != nil && rev.Epoch < epoch {
			h.doubtLocked(rev.Number, now)
		}
	}
	h.epoch.Store(epoch)
	return old != 0
}

func (h *head) doubtLocked(number uint64, now int64) {
	h.doubt.Store(max(h.doubt.Load(), number))
	h.doubted = now
}

// proved takes in how far the server is that answered a read. What it stores from then on
// has higher numbers, and is not in doubt.
func (h *head) proved(to shared.Revision, began int64) {
	if to.Number >= h.doubt.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if to.Epoch == h.epoch.Load() && h.doubted < began {
		h.doubt.Store(min(h.doubt.Load(), to.Number))
	}
}

// deposed reports whether a server whose journal is in this epoch was deposed: a later one
// was heard of, not long ago. If that is long ago, what was heard of it is forgotten, and
// what is said by own writes of it, for which forget is called first.
func (h *head) deposed(epoch uint64, now int64, forget func()) bool {
	if epoch >= h.epoch.Load() {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case epoch >= h.epoch.Load():
		return false
	case now-h.heard.Load() < int64(deposition):
		return true
	}
	forget()
	h.known.Store(&shared.Revision{Epoch: epoch})
	h.told.Store(nil)
	h.epoch.Store(epoch)
	return false
}

func raiseHead(at *atomic.Pointer[shared.Revision], heard shared.Revision) {
	for heard.Epoch != 0 {
		old := at.Load()
		if old != nil && !behind(*old, heard) {
			return
		}
		to := heard // allocated only here
		if at.CompareAndSwap(old, &to) {
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
		began, asked := r.node.near.Now(), r.node.heads.ofAll(r.node, keys, room[:0])
		found, err := r.Tier.Read(ctx, keys)
		if err != nil {
			return nil, err
		}
		unproven := 0
		for i := range found {
			want := asked[min(i, len(asked)-1)]
			switch {
			case errors.Is(found[i].Err, shared.ErrUnread):
			case want == nil || !behind(found[i].Head, *want):
				p := r.node.partition(keys[i])
				r.node.sees(p, found[i].Head)
				r.node.heads[p].proved(found[i].Head, began)
			default:
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

// sees takes in that the shared tier has a write of this revision to a key of a partition.
func (n *Node) sees(partition int, rev shared.Revision) {
	if len(n.heads) > 0 && !n.elsewhere(partition, rev.Epoch) {
		n.reaches(partition, rev)
	}
}

// reaches takes in that a partition has a write of this revision.
func (n *Node) reaches(partition int, rev shared.Revision) {
	if n.heads[partition].raise(rev, n.near.Now()) {
		n.epochBegan()
	}
}

// elsewhere reports whether this is the epoch of another partition and not of this one: a
// key has moved between the two, and nobody was deposed. See package shardstore.
func (n *Node) elsewhere(partition int, epoch uint64) bool {
	if epoch == n.heads[partition].epoch.Load() {
		return false
	}
	for p := range n.repairs.epochs {
		if p != partition && n.repairs.epochs[p].Load() == epoch {
			return true
		}
	}
	return false
}

// epochBegan has the journal read at once: writes may be lost.
func (n *Node) epochBegan() {
	n.repairs.losses.Add(1)
	n.repairs.soon()
}

// lost reports whether a server took a write to a key of a partition that was deposed.
func (n *Node) lost(partition int, rev shared.Revision) bool {
	return n.proves() && !n.elsewhere(partition, rev.Epoch) && n.deposed(partition, rev)
}

// deposed reports whether a server that is as far as this in a partition was deposed.
func (n *Node) deposed(partition int, at shared.Revision) bool {
	return n.proves() && n.heads[partition].deposed(at.Epoch, n.near.Now(), func() { n.acked.forget(partition, at.Epoch) })
}

// doubtful reports whether what the shared tier has under this revision may be older than
// what a server took that was deposed.
func (n *Node) doubtful(partition int, rev shared.Revision) bool {
	return n.proves() && rev.Number <= n.heads[partition].doubt.Load()
}

// proves reports whether reads are believed only for what they prove.
func (n *Node) proves() bool {
	return n.repairs != nil && n.tier.Proves() && !n.faults.Off(fault.Proofs)
}

// heardOf takes in that m tells of a write of this revision, to the key that has this name
// in the shared tier, unless that is another shared tier. An epoch that the journal has not
// told of yet is news as well. A number that the clock of the server has not passed was
// invented, or is that of a watermark, which may be ahead. It reports whether a server took
// the write that was deposed: then it is lost, and what the shared tier has up to there may
// be older.
func (n *Node) heardOf(m *bus.Message, name func() string, rev shared.Revision) (lost bool) {
	if rev.Number == 0 || rev.Epoch == 0 || !n.proves() || n.stranger(m) {
		return false
	}
	key := name()
	p := n.partition(key)
	if rev.Number > n.tier.Newest(key) || n.elsewhere(p, rev.Epoch) {
		return false
	}
	if h := &n.heads[p]; rev.Epoch >= h.epoch.Load() {
		if h.hear(rev.Epoch, n.near.Now()) {
			n.epochBegan()
		}
		raiseHead(&h.told, rev)
		return false
	}
	return true
}
