package near

import (
	"slices"
	"time"
)

// News is word of a write that this node did not make, or did not wait for.
type News struct {
	Epoch, Revision uint64 // zero if unknown

	// Own marks the echo of a write of this node.
	Own bool
}

// Apply applies news of the key: it fences loads that are under way and takes
// the entry out, unless the entry contains the write already.
//
// The echo of an own write that has not been answered yet is left to that
// write: it may arrive before the answer, and the answer decides. Origin alone
// never justifies a skip.
func (s *Space) Apply(key string, hash uint64, news News) {
	t, st := s.tier, s.tier.stripeOf(hash)
	st.mu.Lock()
	e := t.lookupLocked(hash, s, key)
	covered := e != nil && e.covers(news.Epoch, news.Revision)
	if news.Own && (covered || st.echoLocked(s, key, news)) {
		t.skipped.Add(1)
		st.mu.Unlock()
		return
	}
	st.raiseLocked(hash, t.count.Add(1))
	if covered {
		t.skipped.Add(1)
	} else if e != nil {
		t.removeLocked(e)
		t.invalidated.Add(1)
	}
	st.mu.Unlock()
	if e != nil && !covered {
		t.policy.drop(hash)
	}
}

// echoLocked notes the echo in the unanswered own writes of the key, and
// reports whether there are any.
func (st *stripe) echoLocked(s *Space, key string, news News) bool {
	if news.Revision == 0 {
		return false
	}
	found := false
	for _, w := range st.writes {
		if w.space == s && w.key == key {
			w.noteLocked(news)
			found = true
		}
	}
	return found
}

// Invalidate raises the mark of the key and takes its entry out.
func (s *Space) Invalidate(key string, hash uint64) { s.Apply(key, hash, News{}) }

// Write is an own write under way. It begins with Begin and must be ended with
// Finish or Abort.
type Write struct {
	space *Space
	key   string
	hash  uint64
	mark  uint64 // the mark that Begin raised
	stamp uint64 // taken before that, for the mark of the space

	// Guarded by the lock of the stripe: the highest echo heard since Begin,
	// and whether there were echoes that cannot be compared.
	echo  News
	mixed bool
}

func (w *Write) noteLocked(news News) {
	switch {
	case w.echo.Revision == 0:
		w.echo = news
	case w.echo.Epoch != news.Epoch || news.Epoch == 0 && w.echo.Revision != news.Revision:
		w.mixed = true
	case news.Revision > w.echo.Revision:
		w.echo = news
	}
}

// Begin raises the mark of the key before a write is sent, so that nothing
// older is served from here on.
func (s *Space) Begin(key string, hash uint64) *Write {
	t, st := s.tier, s.tier.stripeOf(hash)
	w := &Write{space: s, key: key, hash: hash, stamp: t.count.Load()}
	st.mu.Lock()
	defer st.mu.Unlock()
	w.mark = t.count.Add(1)
	st.raiseLocked(hash, w.mark)
	t.unlinkLocked(hash, s, key)
	st.writes = append(st.writes, w)
	return w
}

// Abort ends a write that leaves no value here: a delete, or one that failed
// or whose outcome is unknown. The mark is raised again, because readers may
// have read the old value since Begin.
func (w *Write) Abort() { w.Finish(nil, 0) }

// Finish ends an answered write. It raises the mark again and, in the same
// step, puts e, the value written, in its place for life, if nothing else
// touched the key since Begin: no other write, no invalidation, no echo of a
// later write. It reports whether e is in place.
//
// The entry keeps the stamp of Begin: a flush that came in between makes it
// invalid.
func (w *Write) Finish(e *Entry, life time.Duration) bool {
	s, t, st := w.space, w.space.tier, w.space.tier.stripeOf(w.hash)
	st.mu.Lock()
	st.writes = slices.DeleteFunc(st.writes, func(o *Write) bool { return o == w })
	alone := w.aloneLocked(st, e)
	st.raiseLocked(w.hash, t.count.Add(1))
	t.unlinkLocked(w.hash, s, w.key)
	placed := false
	if e != nil && alone {
		e.Stamp = w.stamp
		placed = s.putLocked(w.key, w.hash, e, life)
	}
	st.mu.Unlock()
	if placed {
		t.admit(e)
	} else {
		t.policy.drop(w.hash)
	}
	return placed
}

// aloneLocked reports whether nothing else touched the key since Begin.
func (w *Write) aloneLocked(st *stripe, e *Entry) bool {
	if e == nil || w.space.tier.conf.TrustOwnWrites {
		return true
	}
	overtaken := w.mixed || w.echo.Revision != 0 && !e.covers(w.echo.Epoch, w.echo.Revision)
	return !overtaken && st.markLocked(w.hash) == w.mark
}
