package near

import (
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/shared"
)

// Extra is what an entry may be beside a hit for all of its life. Find does not
// know of it: an entry that is more than that stops being a hit early, or never
// is one, and whoever missed asks FindLate.
type Extra struct {
	// Absent says that the source has no value. Such an entry is never a hit.
	Absent bool

	// Fresh is how long the entry is a hit, if that is shorter than its life.
	// After that it is to be refreshed.
	Fresh time.Duration

	// Keep is how much longer than its life the entry is kept, as a stale value
	// for those who have no other. An invalidation that allows it begins that
	// early.
	Keep time.Duration

	// Pause is how long the first Claim has to wait.
	Pause time.Duration

	until atomic.Int64 // end of its life; 0 once it was invalidated
	kept  int64        // end of being kept; set when it comes in
	retry atomic.Int64 // see Claim
	tried atomic.Int64 // see Tried

	// outlived is the revision of the invalidation that the entry was kept
	// through last, zero if unknown. Guarded by the lock of the stripe.
	outlived shared.Revision
}

// ExtraOverhead is what an Extra costs, in bytes.
const ExtraOverhead = 96

// Use is what an entry that is no hit may be used for.
type Use uint8

// The uses of an entry.
const (
	Nothing Use = iota
	Serve       // it lives: it is late, or says that there is no value
	Stale       // it is for those who have no other value
)

// begin sets the life of an entry that comes in.
func (e *Entry) begin(now int64, life time.Duration) {
	x := e.Extra
	if x == nil {
		e.expires.Store(now + int64(life))
		return
	}
	x.until.Store(now + int64(life))
	x.retry.Store(now + int64(x.Pause))
	x.kept = now + int64(life) + int64(x.Keep)
	switch {
	case x.Absent:
		e.expires.Store(0)
	default:
		e.expires.Store(now + int64(max(0, min(life, x.Fresh))))
	}
}

// until returns the end of the life of e.
func (e *Entry) until() int64 {
	if e.Extra != nil {
		return e.Extra.until.Load()
	}
	return e.expires.Load()
}

// lives reports whether e may be served, as a hit or otherwise.
func (e *Entry) lives(now int64) bool { return e.until() > now && e.current() }

// keeps reports whether e may still be of use.
func (e *Entry) keeps(now int64) bool {
	return e.current() && (e.until() > now || e.Extra != nil && e.Extra.kept > now)
}

// keepLocked makes e, which an invalidation of revision r concerns, a stale
// value. It reports false if e has to go.
func (e *Entry) keepLocked(now int64, r shared.Revision) bool {
	x := e.Extra
	if x == nil || x.Keep == 0 || x.Absent || !e.keeps(now) {
		return false
	}
	e.expires.Store(0)
	x.until.Store(0)
	x.tried.Store(0)
	x.outlived = r
	return true
}

// outlivedLocked reports whether e was kept through this very write. A later
// one that it was kept through says nothing of those before it: one of them may
// have been a delete.
func (e *Entry) outlivedLocked(r shared.Revision) bool {
	return e.Extra != nil && r.Number != 0 && e.Extra.outlived == r
}

// FindLate returns the entry of the key with this hash if it is no hit, or no
// longer, and is of some use.
func (s *Space) FindLate(key string, hash uint64) (*Entry, Use) {
	t := s.tier
	for e := t.head(hash).Load(); e != nil; e = e.next.Load() {
		if e.hash != hash || e.space != s || e.Key() != key {
			continue
		}
		now := t.coarse()
		switch {
		case e.Extra == nil || !e.keeps(now):
			return nil, Nothing
		case e.until() > now && (t.trusted(e, now) || t.conf.ServeStale):
			return e, Serve
		case e.Extra.Absent || e.Extra.Keep == 0:
			return nil, Nothing
		default:
			return e, Stale
		}
	}
	return nil, Nothing
}

// Claim reports whether the caller is the one to refresh e now: the first since
// the pause of the last one ended. It begins another pause.
func (e *Entry) Claim(pause time.Duration) bool {
	now, old := e.space.tier.coarse(), e.Extra.retry.Load()
	return old <= now && e.Extra.retry.CompareAndSwap(old, now+int64(pause))
}

// Tried says that it was in vain tried to get a newer value than the stale one
// in e, and that it is to be given without another attempt for this long, or
// until it is invalidated again.
func (e *Entry) Tried(pause time.Duration) {
	e.Extra.tried.Store(e.space.tier.coarse() + int64(pause))
}

// Resting reports whether the time of Tried has not ended.
func (e *Entry) Resting() bool { return e.Extra.tried.Load() > e.space.tier.coarse() }

// DropStale takes the entry of the key out if it is nothing but a stale value:
// something newer was given to a caller.
func (s *Space) DropStale(key string, hash uint64) {
	t, st := s.tier, s.tier.stripeOf(hash)
	st.mu.Lock()
	e := t.lookupLocked(hash, s, key)
	dropped := e != nil && e.Extra != nil && !e.lives(t.coarseLocked())
	if dropped {
		t.removeLocked(e)
	}
	st.mu.Unlock()
	if dropped {
		t.policy.drop(hash)
	}
}

// BeginKeeping is Begin for an invalidation, which may leave a stale value.
func (s *Space) BeginKeeping(key string, hash uint64) *Write { return s.begin(key, hash, true) }

// Invalidated ends a write of BeginKeeping that has been given revision r, zero
// if that is unknown.
func (w *Write) Invalidated(r shared.Revision) {
	w.written = r
	w.Abort()
}
