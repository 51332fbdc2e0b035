package near

import (
	"math"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/nearbus/nearbus/shared"
)

// Entry is one value of one key: the beginning of a struct that holds the value.
// It does not change once it is installed, except for what readers note in it.
// What a look at it needs comes first, on one cache line.
type Entry struct {
	next    atomic.Pointer[Entry] // written under the lock of the stripe
	hash    uint64
	space   *Space
	key     *byte        // see Key
	expires atomic.Int64 // of being a hit, on the tier's clock
	slots   *[]uint32    // of its tags; nil if it has none
	keySize uint16
	heirs   uint8 // entries in a row, up to this one, that took the place of one that the policy has, at the same cost; set before it is in place

	// FromShared says that the value was read from the shared tier, and did not
	// come from the source or a writer of this node.
	FromShared bool

	state atomic.Uint32 // whether it is in the window, and when the policy was last told of an access

	// Stamp is the stamp of the read, load or write that produced the value.
	Stamp Stamp

	// Revision is that of the record the value was read from or written to,
	// zero if it has none.
	Revision shared.Revision

	// Extra is nil for an entry that is a hit for all of its life and nothing
	// else.
	Extra *Extra

	// Partition is that of the key in the shared tier.
	Partition int32

	cost uint32 // see Charge
}

// The parts of Entry.state.
const (
	young  = 1 << 0 // in the window
	toldAt = 1      // from this bit on, a part of the time of the last access that the policy was told of
)

// maxCost is the cost of everything that costs too much to be kept.
const maxCost = math.MaxUint32

// Charge adds to what the entry counts against the bound, in bytes. It must come
// before the entry is installed.
func (e *Entry) Charge(bytes int64) {
	e.cost = uint32(min(int64(e.cost)+min(bytes, maxCost), maxCost))
}

// Name gives e the bytes of its key, which it keeps. Without it, Install makes
// them.
func (e *Entry) Name(key []byte) { e.key, e.keySize = unsafe.SliceData(key), uint16(len(key)) }

// Key returns the key of e.
func (e *Entry) Key() string { return unsafe.String(e.key, int(e.keySize)) }

// live reports whether the entry is a hit at this time.
func (e *Entry) live(now int64) bool { return e.expires.Load() > now && e.current() }

// current reports whether nothing that concerns more than its key was
// invalidated since the entry came in.
func (e *Entry) current() bool { return e.Stamp.count >= e.space.mark.Load() && e.passesTags() }

// Find returns the live entry of the key with this hash, or nil.
func (s *Space) Find(key string, hash uint64) *Entry {
	now := s.tier.coarse() // also of those who find nothing: their flights need to hear of a sleep of the machine
	for e := s.tier.head(hash).Load(); e != nil; e = e.next.Load() {
		if e.hash == hash && e.space == s && e.Key() == key {
			if e.live(now) && (now <= s.tier.trust.all.Load() || s.tier.serves(e, now)) {
				return e
			}
			return nil
		}
	}
	return nil
}

// Touch tells the policy of an access to the key with this hash; e is its entry
// or nil. Callers ask Notes, for hits and misses alike. A key
// that is accessed all the time is reported once in a tick, which is enough to
// stand out and keeps the policy out of the way of hot keys.
func (t *Tier) Touch(hash uint64, e *Entry) {
	if e != nil && !e.tell(t.coarse()) {
		return
	}
	t.notes.take()
	t.policy.touch(hash)
}

// tell reports whether the policy was not told of an access in this tick yet.
func (e *Entry) tell(now int64) bool {
	old := e.state.Load()
	tick := uint32(now/int64(Tick)) << toldAt
	return old>>toldAt<<toldAt != tick && e.state.CompareAndSwap(old, tick|old&young)
}

// Valid reports whether a result that carries stamp may be given to a reader
// of the key with this hash who begins now: nothing it depends on was
// invalidated since the stamp was taken.
func (s *Space) Valid(hash uint64, stamp Stamp) bool {
	if stamp.count < s.mark.Load() || stamp.count < s.tagged.Load() {
		return false
	}
	st := s.tier.stripeOf(hash)
	st.mu.Lock()
	defer st.mu.Unlock()
	return stamp.count >= st.markLocked(hash)
}

// Install puts e in its place for life, which is 0 for a stale value, unless an invalidation came after its
// stamp or a higher revision is there. It reports whether e is in place. The
// caller may give the value to those who waited for it only after that, and in
// either case.
func (s *Space) Install(key string, hash uint64, e *Entry, life time.Duration) bool {
	st := s.tier.stripeOf(hash)
	st.mu.Lock()
	st.noteLocked(s, key, e.Revision)
	fenced := s.fencedLocked(st, hash, e)
	placed, dropped := false, false
	if fenced && life > 0 {
		dropped = s.passLocked(st, key, hash, e.Revision)
	} else if !fenced {
		placed = s.putLocked(key, hash, e, life)
	}
	st.mu.Unlock()
	if placed {
		s.tier.admit(e)
	} else if dropped {
		s.tier.policy.drop(hash)
	}
	return placed
}

func (s *Space) fencedLocked(st *stripe, hash uint64, e *Entry) bool {
	passes := e.Stamp.count >= st.markLocked(hash) && e.Stamp.count >= s.mark.Load() &&
		(e.slots == nil || s.passes(e.Stamp.count, *e.slots))
	if s.tier.conf.Faults.IgnoreMarks || passes {
		return false
	}
	s.tier.fenced.Add(1)
	return true
}

// passLocked makes news of a fenced value of revision r that is given to those
// who wait for it, unless whatever a later reader may get covers it: the entry
// in place, or reads that began since the mark. Without the latter, two reads
// that overlap would fence each other in turn for as long as readers come.
//
// A value without a revision has no order, and is not news.
func (s *Space) passLocked(st *stripe, key string, hash uint64, r shared.Revision) (dropped bool) {
	old := s.tier.lookupLocked(hash, s, key)
	covered := st.knowsLocked(hash, r) || old != nil && old.Revision.Covers(r)
	if r.Number == 0 || covered || s.tier.conf.Faults.PassUnseen {
		return false
	}
	st.raiseLocked(hash, s.tier.count.Add(1), r)
	if old != nil {
		s.tier.removeLocked(old)
	}
	return old != nil
}

// putLocked links e in front or in the place of the entry of the same key. It
// refuses to replace a higher revision, and what is larger than the window.
func (s *Space) putLocked(key string, hash uint64, e *Entry, life time.Duration) bool {
	t := s.tier
	if int64(e.cost) > t.window.limit {
		t.tooLarge.Add(1)
		t.unlinkLocked(hash, s, key)
		return false
	}
	now := t.coarseLocked()
	if old := t.lookupLocked(hash, s, key); old != nil {
		if old.keeps(now) && old.Revision != e.Revision && old.Revision.Covers(e.Revision) || life <= 0 && old.lives(now) {
			return false
		}
		if old.cost == e.cost && old.state.Load()&young == 0 {
			e.heirs = old.heirs + 1
		}
		t.removeLocked(old)
	}
	e.hash, e.space = hash, s
	if e.key == nil {
		e.Name([]byte(key))
	}
	e.begin(now, life)
	head := t.head(hash)
	e.next.Store(head.Load())
	if e.heirs%settledHeirs == 0 {
		e.state.Store(young)
	}
	head.Store(e)
	t.entries.Add(1)
	t.bytes.Add(int64(e.cost))
	return true
}

func (t *Tier) lookupLocked(hash uint64, s *Space, key string) *Entry {
	for e := t.head(hash).Load(); e != nil; e = e.next.Load() {
		if e.hash == hash && e.space == s && e.Key() == key {
			return e
		}
	}
	return nil
}

// unlinkLocked takes the entry of the key out of the index, if there is one.
func (t *Tier) unlinkLocked(hash uint64, s *Space, key string) {
	if e := t.lookupLocked(hash, s, key); e != nil {
		t.removeLocked(e)
	}
}

// removeLocked takes e out of its chain. Readers who stand on e still find
// their way on: its own link stays.
func (t *Tier) removeLocked(e *Entry) {
	link := t.head(e.hash)
	for at := link.Load(); at != nil; at = link.Load() {
		if at == e {
			link.Store(e.next.Load())
			t.entries.Add(-1)
			t.bytes.Add(-int64(e.cost))
			return
		}
		link = &at.next
	}
}
