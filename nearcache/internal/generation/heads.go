package generation

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// Heads are the highest revisions that this node has heard of, by partition of the
// shared tier. A server that answers a read must have a head that is no lower.
type Heads []Head

// Head is what this node has heard of one partition. It is safe for use by many goroutines.
type Head struct {
	known atomic.Pointer[driver.Revision] // from the journal, and from the answers to own writes

	// told is from the bus, which anybody may write to. It counts until the journal was
	// read whole by a round that began later.
	told atomic.Pointer[driver.Revision]

	// beyond is from the bus as well, and so far ahead of the server's clock that no other
	// write goes on from it: the journal has it under a lower number, which is not known,
	// or it was invented. No read is believed until the journal was read, as above, or its
	// time is over.
	beyond atomic.Pointer[claim]

	epoch atomic.Uint64 // the latest that was heard of
	heard atomic.Int64  // when that was, the last time, on the clock of the near tier

	mu sync.Mutex // is held while an epoch begins, ends or is put in doubt

	// doubt is the highest number that was heard of in earlier epochs. The server that was
	// deposed may have gone on taking writes when this epoch had begun. What the other one
	// has up to there may be older than what callers of this node were given.
	doubt   atomic.Uint64
	doubted int64 // when a number was heard of last; protected by mu

	series series // of numbers for beyond; protected by mu
}

// series are numbers far ahead that the bus told of without a lull. One that is no higher than
// another is no news, nor is one that comes later than patience after the first: whoever
// invents them does not hold up reads for longer.
type series struct {
	highest     uint64
	first, last int64 // when they came, on the clock of the near tier
}

const (
	// patience is for how long one series holds up reads. The journal is read in less time,
	// if it can be.
	patience = 5 * time.Second

	lull = deposition // ends a series
)

// take takes in a number, and reports whether it is news, and until when.
func (s *series) take(number uint64, now int64) (until int64, news bool) {
	if s.highest == 0 || now-s.last >= int64(lull) {
		s.highest, s.first = 0, now
	}
	s.last, until = now, s.first+int64(patience)
	if number <= s.highest || now >= until {
		return 0, false
	}
	s.highest = number
	return until, true
}

// deposition is for how long a server of an earlier epoch than one that was heard of counts
// as deposed. It may as well have lost everything and have a clock that is behind, or a
// message may have named an epoch that never began: both would be for ever.
const deposition = 30 * time.Second

// Raise takes in that the shared tier answered a write, or told of one, of this revision.
// It reports whether an epoch began.
func (h *Head) Raise(heard driver.Revision, now int64) (began bool) {
	began = h.Hear(heard.Epoch, now)
	raiseHead(&h.known, heard)
	if heard.Epoch < h.epoch.Load() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.doubtLocked(heard.Number, now)
	}
	return began
}

// Hear takes in that there is this epoch, and reports whether it began since the last was
// heard of.
func (h *Head) Hear(epoch uint64, now int64) (began bool) {
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
	for _, rev := range []*driver.Revision{h.known.Load(), h.told.Load()} {
		if rev != nil && rev.Epoch < epoch {
			h.doubtLocked(rev.Number, now)
		}
	}
	h.epoch.Store(epoch)
	return old != 0
}

func (h *Head) doubtLocked(number uint64, now int64) {
	h.doubt.Store(max(h.doubt.Load(), number))
	h.doubted = now
}

// Proved takes in how far the server is that answered a read. What it stores from then on
// has higher numbers, and is not in doubt.
func (h *Head) Proved(to driver.Revision, began int64) {
	if to.Number >= h.doubt.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if to.Epoch == h.epoch.Load() && h.doubted < began {
		h.doubt.Store(min(h.doubt.Load(), to.Number))
	}
}

// Deposed reports whether a server whose journal is in this epoch was deposed: a later one
// was heard of, not long ago. If that is long ago, what was heard of it is forgotten, and
// what is said by own writes of it, for which forget is called first.
func (h *Head) Deposed(epoch uint64, now int64, forget func()) bool {
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
	h.known.Store(&driver.Revision{Epoch: epoch})
	h.told.Store(nil)
	h.beyond.Store(nil)
	h.epoch.Store(epoch)
	return false
}

// Epoch returns the latest epoch that was heard of.
func (h *Head) Epoch() uint64 { return h.epoch.Load() }

// Doubtful reports whether what the shared tier has under this number may be older than what
// a server took that was deposed.
func (h *Head) Doubtful(number uint64) bool { return number <= h.doubt.Load() }

// claim is a revision that reads have to prove until a time, on the clock of the near tier.
type claim struct {
	driver.Revision
	until int64
}

// Hearsay is what the bus alone had told of a partition.
type Hearsay struct {
	told   *driver.Revision
	beyond *claim
}

// Hearsay returns what the bus told of that was not read in the journal since.
func (h *Head) Hearsay() Hearsay { return Hearsay{h.told.Load(), h.beyond.Load()} }

// Tell takes in that the bus told of this revision, of the latest epoch or a later one, when
// the clock of the server had not passed the number newest. It reports whether an epoch
// began. The number may be ahead of the clock, if that was set back.
func (h *Head) Tell(rev driver.Revision, newest uint64, now int64) (began bool) {
	switch known := h.known.Load(); {
	case rev.Number <= newest+clockAhead, known != nil && rev.Number <= known.Number+clockAhead:
		began = h.Hear(rev.Epoch, now)
		raiseHead(&h.told, rev)
	case rev.Epoch == h.epoch.Load():
		h.claims(rev, now)
	}
	return began
}

// claims takes in that the bus told of a revision far ahead.
func (h *Head) claims(rev driver.Revision, now int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if until, news := h.series.take(rev.Number, now); news {
		h.beyond.Store(&claim{rev, until})
	}
}

func raiseHead(at *atomic.Pointer[driver.Revision], heard driver.Revision) {
	for heard.Epoch != 0 {
		old := at.Load()
		if old != nil && !Behind(*old, heard) {
			return
		}
		to := heard // allocated only here
		if at.CompareAndSwap(old, &to) {
			return
		}
	}
}

// Known is Of without what the bus alone had told.
func (h Heads) Known(partition int) *driver.Revision { return h[partition].known.Load() }

// Of returns the head of a partition, nil if there is none.
func (h Heads) Of(partition int) *driver.Revision {
	known, told := h.Known(partition), h[partition].told.Load()
	if known == nil || told != nil && Behind(*known, *told) {
		return told
	}
	return known
}

// Want returns what a server has to have that is to answer a read of a partition which
// begins now: its head, or more than any server has while that is not known; nil if there is
// none.
func (h Heads) Want(partition int, now int64) *driver.Revision {
	if beyond := h[partition].beyond.Load(); beyond != nil && now < beyond.until {
		return &beyond.Revision
	}
	return h.Of(partition)
}

// JournalRead takes in that the journal of the partition was read whole, by a round that
// began when the bus had told of before: what it told then is in it, or was invented.
func (h *Head) JournalRead(before Hearsay) {
	if before.told != nil {
		h.told.CompareAndSwap(before.told, nil)
	}
	if before.beyond != nil {
		h.beyond.CompareAndSwap(before.beyond, nil)
	}
}

// Behind reports whether a server with the head has does not have the write of want yet,
// or is of before a loss of writes that want comes after.
func Behind(has, want driver.Revision) bool {
	return has.Epoch < want.Epoch || has.Epoch == want.Epoch && has.Number < want.Number
}
