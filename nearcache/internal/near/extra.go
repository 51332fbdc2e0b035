package near

import (
	"math"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/nearbus/nearbus/shared/driver"
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

	// Pause is how long a Claim has to wait after the entry came in, or after another.
	Pause time.Duration

	// Left is how long the record of the entry lives yet, if somebody asked; see Ends. 0: it is
	// not known.
	Left time.Duration

	until atomic.Int64 // end of its life; 0 once it was invalidated
	kept  int64        // end of being kept; set when it comes in
	ends  int64        // end of the record, likewise; 0: it is not known
	retry atomic.Int64 // see Claim
	tried atomic.Int64 // see Tried

	// outlived is the revision of the invalidation that the entry was kept
	// through last, zero if unknown. Guarded by the lock of the stripe.
	outlived driver.Revision
}

// Extend makes e more than a hit for all of its life. It must come before e is
// installed.
func (e *Entry) Extend(x *Extra) {
	e.others().extra = x
	e.Charge(int64(unsafe.Sizeof(*x)))
}

// Extra returns what e is beside a hit for all of its life, or nil.
func (e *Entry) Extra() *Extra {
	if e.rare == nil {
		return nil
	}
	return e.rare.extra
}

// EndsIn notes how long the record of e lives yet, for [Extra.Ends]. It must come before e is
// installed, and after Extend if that comes at all.
func (e *Entry) EndsIn(left time.Duration) {
	if e.Extra() == nil {
		e.Extend(&Extra{Fresh: math.MaxInt64}) // it is a hit for all of its life
	}
	e.Extra().Left = left
}

// Ends returns when the record of e ends, as it was when e came in, on the clock of the tier; 0
// if that is not known.
func (e *Entry) Ends() int64 {
	if x := e.Extra(); x != nil {
		return x.ends
	}
	return 0
}

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
	x := e.Extra()
	if x == nil {
		e.expires.Store(now + int64(life))
		return
	}
	x.until.Store(now + int64(life))
	x.retry.Store(now + int64(x.Pause))
	x.kept = now + int64(life) + int64(x.Keep)
	if x.Left > 0 {
		x.ends = now + int64(x.Left)
	}
	switch {
	case x.Absent:
		e.expires.Store(0)
	default:
		e.expires.Store(now + int64(max(0, min(life, x.Fresh))))
	}
}

// until returns the end of the life of e.
func (e *Entry) until() int64 {
	if x := e.Extra(); x != nil {
		return x.until.Load()
	}
	return e.expires.Load()
}

// lives reports whether e, an entry of s, may be served, as a hit or otherwise.
func (s *Space) lives(e *Entry, now int64) bool { return e.until() > now && s.current(e) }

// keeps reports whether e, an entry of s, may still be of use.
func (s *Space) keeps(e *Entry, now int64) bool {
	x := e.Extra()
	return s.current(e) && (e.until() > now || x != nil && x.kept > now)
}

// keepLocked makes e, an entry of s which an invalidation of revision r concerns,
// a stale value. It reports false if e has to go.
func (s *Space) keepLocked(e *Entry, now int64, r driver.Revision) bool {
	x := e.Extra()
	if x == nil || x.Keep == 0 || x.Absent || !s.keeps(e, now) {
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
func (e *Entry) outlivedLocked(r driver.Revision) bool {
	x := e.Extra()
	return x != nil && r.Number != 0 && x.outlived == r
}

// FindLate returns the entry of the key with this hash if it is no hit, or no
// longer, and is of some use.
func (s *Space) FindLate(key string, hash uint64) (*Entry, Use) {
	t := s.tier
	for e := t.head(hash).Load(); e != nil; e = e.next.Load() {
		if !e.is(s, key, hash) {
			continue
		}
		now, x := t.coarse(), e.Extra()
		switch {
		case x == nil || !s.keeps(e, now):
			return nil, Nothing
		case e.until() > now && (s.trusted(e, now) || t.conf.ServeStale):
			return e, Serve
		case x.Absent || x.Keep == 0:
			return nil, Nothing
		default:
			return e, Stale
		}
	}
	return nil, Nothing
}

// Claim reports whether the caller is the one to refresh x, which FindLate found,
// now: the first since the pause of the last one ended. It begins another pause.
func (t *Tier) Claim(x *Extra) bool {
	now, old := t.coarse(), x.retry.Load()
	return old <= now && x.retry.CompareAndSwap(old, now+int64(x.Pause))
}

// Tried says that it was in vain tried to get a newer value than the stale one
// with x, and that it is to be given without another attempt for this long, or
// until it is invalidated again.
func (t *Tier) Tried(x *Extra, pause time.Duration) { x.tried.Store(t.coarse() + int64(pause)) }

// Resting reports whether the time of Tried has not ended.
func (t *Tier) Resting(x *Extra) bool { return x.tried.Load() > t.coarse() }

// DropStale takes the entry of the key out if it is nothing but a stale value:
// something newer was given to a caller.
func (s *Space) DropStale(key string, hash uint64) {
	t, st := s.tier, s.tier.stripeOf(hash)
	st.mu.Lock()
	defer st.mu.Unlock()
	e := t.lookupLocked(hash, s, key)
	if e != nil && e.Extra() != nil && !s.lives(e, t.coarseLocked()) {
		t.removeLocked(e)
	}
}

// BeginKeeping is Begin for an invalidation, which may leave a stale value.
func (s *Space) BeginKeeping(key string, hash uint64) *Write { return s.begin(key, hash, true) }

// Invalidated ends a write of BeginKeeping that has been given revision r, zero
// if that is unknown.
func (w *Write) Invalidated(r driver.Revision) {
	w.written = r
	w.Abort()
}
