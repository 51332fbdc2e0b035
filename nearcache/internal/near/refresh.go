package near

import (
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
)

// BeginRefresh begins a read or a load of the key for nobody but the near tier. It
// leaves everything as it is, and notes until EndRefresh what else is read or written
// of the key: unlike the reads that callers wait for, which take turns, a refresh runs
// beside one.
func (s *Space) BeginRefresh(key string, hash uint64) *Write {
	st := s.tier.stripeOf(hash)
	w := &Write{space: s, key: key, hash: hash, refresh: true}
	st.mu.Lock()
	defer st.mu.Unlock()
	w.next, st.writes = st.writes, w
	return w
}

// EndRefresh ends a refresh. It must be called once.
func (w *Write) EndRefresh() {
	st := w.space.tier.stripeOf(w.hash)
	st.mu.Lock()
	defer st.mu.Unlock()
	w.unlinkLocked(st)
}

// Refresh puts e in its place for life, as Install does, unless something was read
// since the refresh began that e may be older than. If e is another value than the
// one in place, reads under way that began before are fenced: they may bring what is
// older than e after e is gone. It reports whether e is in place.
func (w *Write) Refresh(e *Entry, life time.Duration) bool {
	s, t, st := w.space, w.space.tier, w.space.tier.stripeOf(w.hash)
	st.mu.Lock()
	overtaken := w.mixed || w.seen.Number != 0 && !e.Revision.Covers(w.seen)
	overtaken = overtaken && !t.conf.Faults.Off(fault.Overlaps)
	placed := false
	if !s.fencedLocked(st, w.hash, e) && !overtaken {
		old := t.lookupLocked(w.hash, s, w.key)
		known := old != nil && old.Revision == e.Revision && e.Revision.Number != 0
		if placed = s.putLocked(w.key, w.hash, e, life); placed && !known {
			st.raiseLocked(w.hash, t.count.Add(1), e.Revision)
		}
	}
	st.noteLocked(s, w.key, e.Revision)
	st.mu.Unlock()
	t.makeRoom()
	return placed
}
