package near

import (
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared/driver"
)

// News is word of a write that this node did not make, or did not wait for.
type News struct {
	Revision driver.Revision // zero if unknown

	// Own marks the echo of a write of this node.
	Own bool

	// Keep allows to keep a stale value.
	Keep bool
}

// Apply applies news of the key: it fences loads that are under way and takes
// the entry out, unless the entry contains the write already.
//
// The echo of an own write that has not been answered yet is left to that
// write: it may arrive before the answer, and the answer decides. Origin alone
// never justifies a skip. Apply reports whether an entry was taken out.
func (s *Space) Apply(key string, hash uint64, news News) (dropped bool) {
	t, st := s.tier, s.tier.stripeOf(hash)
	st.mu.Lock()
	e := t.lookupLocked(hash, s, key)
	covered := e != nil && (e.Revision.Covers(news.Revision) || e.outlivedLocked(news.Revision))
	if news.Own && (covered || news.Revision.Number != 0 && st.noteLocked(s, key, news.Revision)) {
		t.skipped.Add(1)
		st.mu.Unlock()
		return false
	}
	st.raiseLocked(hash, t.count.Add(1), driver.Revision{}) // anybody can send a number
	kept := false
	if covered {
		t.skipped.Add(1)
	} else if e != nil && !t.conf.Faults.Off(fault.Removals) {
		if kept = news.Keep && s.keepLocked(e, t.coarseLocked(), news.Revision); !kept {
			t.removeLocked(e)
		}
		t.invalidated.Add(1)
	}
	st.mu.Unlock()
	return e != nil && !covered && !kept
}

// noteLocked notes in the unanswered own writes and the refreshes of the key that r
// was heard of or read, and reports whether there are any writes.
func (st *stripe) noteLocked(s *Space, key string, r driver.Revision) (found bool) {
	for w := st.writes; w != nil; w = w.next {
		if w.space == s && w.key == key {
			w.noteLocked(r)
			found = found || !w.refresh
		}
	}
	return found
}

// Invalidate raises the mark of the key and takes its entry out.
func (s *Space) Invalidate(key string, hash uint64) { s.Apply(key, hash, News{}) }

// Write is an own write under way, which begins with Begin and must be ended with
// Finish or Abort; or a refresh, see BeginRefresh.
type Write struct {
	next  *Write // guarded by the lock of the stripe
	space *Space
	key   string
	hash  uint64
	mark  uint64 // the mark that Begin raised
	stamp Stamp  // taken before that, for the mark of the space
	keep  bool   // it may leave a stale value

	refresh bool // it is no write

	written driver.Revision // of an invalidation, once it is known

	// Guarded by the lock of the stripe: the highest revision seen since Begin,
	// in an echo or a read, and whether there were some that cannot be compared.
	seen  driver.Revision
	mixed bool
}

func (w *Write) noteLocked(r driver.Revision) {
	switch {
	case r.Number == 0:
		w.mixed = true
	case w.seen.Number == 0 || r.Covers(w.seen):
		w.seen = r
	case !w.seen.Covers(r):
		w.mixed = true
	}
}

// Hash returns the hash of the key that is written.
func (w *Write) Hash() uint64 { return w.hash }

// Begin raises the mark of the key before a write is sent, so that nothing
// older is served from here on.
func (s *Space) Begin(key string, hash uint64) *Write { return s.begin(key, hash, false) }

func (s *Space) begin(key string, hash uint64, keep bool) *Write {
	t, st := s.tier, s.tier.stripeOf(hash)
	t.coarse() // a write is to know of a sleep of the machine, too: there may have been a Clear
	w := &Write{space: s, key: key, hash: hash, stamp: t.Stamp(), keep: keep}
	st.mu.Lock()
	defer st.mu.Unlock()
	w.mark = t.count.Add(1)
	st.raiseLocked(hash, w.mark, driver.Revision{})
	w.clearLocked()
	w.next, st.writes = st.writes, w
	return w
}

// Abort ends a write that leaves no value here: a delete, or one that failed
// or whose outcome is unknown. The mark is raised again, because readers may
// have read the old value since Begin.
func (w *Write) Abort() { w.Finish(nil, 0) }

// Finish ends an answered write. It raises the mark again and, in the same
// step, puts e, the value written, in its place for life, if nothing else
// touched the key since Begin: no other write, no invalidation, no echo and no
// read of a later write. It reports whether e is in place.
//
// The entry keeps the stamp of Begin: a flush that came in between makes it
// invalid.
func (w *Write) Finish(e *Entry, life time.Duration) bool {
	s, t, st := w.space, w.space.tier, w.space.tier.stripeOf(w.hash)
	st.mu.Lock()
	w.unlinkLocked(st)
	alone := w.aloneLocked(st, e)
	var written driver.Revision
	if e != nil {
		written = e.Revision
	}
	st.raiseLocked(w.hash, t.count.Add(1), written)
	w.clearLocked()
	placed := false
	if e != nil && alone {
		e.Stamp = w.stamp
		placed = s.putLocked(w.key, w.hash, e, life)
	}
	st.mu.Unlock()
	t.makeRoom()
	return placed
}

// clearLocked takes the entry of the key out, or makes a stale value of it.
func (w *Write) clearLocked() {
	t := w.space.tier
	e := t.lookupLocked(w.hash, w.space, w.key)
	if e != nil && (!w.keep || !w.space.keepLocked(e, t.coarseLocked(), w.written)) {
		t.removeLocked(e)
	}
}

func (w *Write) unlinkLocked(st *stripe) {
	for link := &st.writes; *link != nil; link = &(*link).next {
		if *link == w {
			*link = w.next
			return
		}
	}
}

// aloneLocked reports whether nothing else touched the key since Begin.
func (w *Write) aloneLocked(st *stripe, e *Entry) bool {
	if e == nil || w.space.tier.conf.Faults.Off(fault.OwnWrites) {
		return true
	}
	overtaken := w.mixed || w.seen.Number != 0 && !e.Revision.Covers(w.seen)
	return !overtaken && st.markLocked(w.hash) == w.mark
}
