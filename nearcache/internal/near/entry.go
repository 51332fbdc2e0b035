package near

import (
	"math"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared/driver"
)

// Entry is one value of one key: the beginning of a struct that holds the value,
// and after it the key. It does not change once it is installed, except for what
// readers note in it. What a look at it needs comes first, on one cache line.
//
// It has 88 bytes, so that it fills two cache lines together with a slice and a key
// of up to 16 bytes, and three together with a struct of 80. Hence what it does
// without: pointers to its key and to its space, and room for what is rare.
type Entry struct {
	next    atomic.Pointer[Entry] // written under the lock of the stripe
	hash    uint64
	expires atomic.Int64 // of being a hit, on the tier's clock
	rare    *rare        // nil for most
	space   uint32       // see Space.number
	keyAt   uint32       // how far from here the key is, see Name
	keySize uint8        // or longKey
	tagged  bool         // rare has slots

	// FromShared says that the value was read from the shared tier, and did not
	// come from the source or a writer of this node.
	FromShared bool

	state atomic.Uint32 // hits and the place in a queue, see order

	// Stamp is the stamp of the read, load or write that produced the value.
	Stamp Stamp

	// Revision is that of the record the value was read from or written to,
	// zero if it has none.
	Revision driver.Revision

	// Partition is that of the key in the shared tier.
	Partition int32

	cost uint32 // see Charge
}

// rare is what few entries have.
type rare struct {
	extra *Extra
	slots []uint32 // of its tags
}

const rareSize = int64(unsafe.Sizeof(rare{}))

// others returns what few entries have, and makes and charges it if e does not.
// e is not installed yet.
func (e *Entry) others() *rare {
	if e.rare == nil {
		e.rare = new(rare)
		e.Charge(rareSize)
	}
	return e.rare
}

// maxCost is the cost of everything that costs too much to be kept.
const maxCost = math.MaxUint32

// Charge adds to what the entry counts against the bound, in bytes. It must come
// before the entry is installed.
func (e *Entry) Charge(bytes int64) {
	e.cost = uint32(min(int64(e.cost)+min(bytes, maxCost), maxCost))
}

// longKey stands for the size of a key that is elsewhere.
const longKey = math.MaxUint8

// Name copies the key of e, of at most 254 bytes, to where there is room for it: in
// the same piece of memory, at bytes from the beginning of e. A look then finds it
// without another way through memory. Either Name or NameLong must come before e is
// installed.
func (e *Entry) Name(at uintptr, key string) {
	e.keyAt, e.keySize = uint32(at), uint8(len(key))
	copy(unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(e), at)), len(key)), key)
}

// NameLong says that the key of e is the string which is in the same piece of
// memory, at bytes from the beginning of e.
func (e *Entry) NameLong(at uintptr) { e.keyAt, e.keySize = uint32(at), longKey }

// Key returns the key of e.
func (e *Entry) Key() string {
	at := unsafe.Add(unsafe.Pointer(e), e.keyAt)
	if e.keySize == longKey {
		return *(*string)(at)
	}
	return unsafe.String((*byte)(at), int(e.keySize))
}

// is reports whether e is the entry of the key with this hash in s.
func (e *Entry) is(s *Space, key string, hash uint64) bool {
	return e.hash == hash && e.space == s.number && e.Key() == key
}

// live reports whether e, an entry of s, is a hit at this time.
func (s *Space) live(e *Entry, now int64) bool { return e.expires.Load() > now && s.current(e) }

// current reports whether nothing that concerns more than its key was
// invalidated since e, an entry of s, came in.
func (s *Space) current(e *Entry) bool {
	return s.passesMark(e) && (!e.tagged || s.passes(e.Stamp.count, e.rare.slots))
}

// passesMark reports whether e was not cleared with its space.
func (s *Space) passesMark(e *Entry) bool {
	return e.Stamp.count >= s.mark.Load() || s.tier.conf.Faults.Off(fault.CacheMark)
}

// Find returns the live entry of the key with this hash, or nil.
func (s *Space) Find(key string, hash uint64) *Entry {
	now := s.tier.coarse() // also of those who find nothing: their reads need to hear of a sleep of the machine
	for e := s.tier.head(hash).Load(); e != nil; e = e.next.Load() {
		if e.is(s, key, hash) {
			if s.live(e, now) && (now <= s.tier.trust.all.Load() || s.serves(e, now)) {
				return e
			}
			return nil
		}
	}
	return nil
}

// Valid reports whether a result that carries stamp may be given to a reader
// of the key with this hash who begins now: nothing it depends on was
// invalidated since the stamp was taken.
func (s *Space) Valid(hash uint64, stamp Stamp) bool {
	if stamp.count < s.tagged.Load() || stamp.count < s.tier.parts.highest.Load() {
		return false
	}
	return !s.Fenced(hash, stamp)
}

// Fenced reports whether what carries stamp cannot come near any more, whatever its tags and its
// partition are.
func (s *Space) Fenced(hash uint64, stamp Stamp) bool {
	st := s.tier.stripeOf(hash)
	st.mu.Lock()
	defer st.mu.Unlock()
	return stamp.count < s.mark.Load() || stamp.count < st.markLocked(hash)
}

// Fence has reads of the key with this hash that are under way bring nothing near.
func (s *Space) Fence(hash uint64) {
	st := s.tier.stripeOf(hash)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.raiseLocked(hash, s.tier.count.Add(1), driver.Revision{})
}

// Install puts e in its place for life, which is 0 for a stale value, unless an
// invalidation came after its stamp or a higher revision is there. It reports
// whether e is in place. The caller may give the value to those who waited for it
// only after that, and in either case.
//
// rival says that other reads of the key may be under way which that stamp does not fence.
// Whichever arrives first fences them: what they bring may be older, and has no number to tell
// it by, or meets an entry that did not stay.
func (s *Space) Install(key string, hash uint64, e *Entry, life time.Duration, rival bool) bool {
	st := s.tier.stripeOf(hash)
	st.mu.Lock()
	st.noteLocked(s, key, e.Revision)
	fenced := s.fencedLocked(st, hash, e)
	placed := false
	switch {
	case !fenced:
		placed = s.putLocked(key, hash, e, life)
		if rival && !s.tier.conf.Faults.Off(fault.PassedNews) {
			st.raiseLocked(hash, s.tier.count.Add(1), e.Revision)
		}
	case life > 0:
		s.passLocked(st, key, hash, e.Revision, rival)
	}
	st.mu.Unlock()
	s.tier.makeRoom()
	return placed
}

// Pass says that a value of revision r is given to those who wait for it, and may
// not come near. Older ones go, as for a fenced value of Install.
func (s *Space) Pass(key string, hash uint64, r driver.Revision, rival bool) {
	st := s.tier.stripeOf(hash)
	st.mu.Lock()
	st.noteLocked(s, key, r)
	s.passLocked(st, key, hash, r, rival)
	st.mu.Unlock()
	s.tier.fenced.Add(1)
}

// Supersede says that a value without a revision is given to those who wait for it:
// what is in place may be older, and goes, unless it has no revision either and came with
// news since stamp, when the load of the value began. e, which has that value, takes the
// place for life if nothing came after its own stamp, when its read began; it is nil if the
// value may not come near.
// No mark is raised: reads under way that bring a record meet Guard, and loads that are not
// stored have no order among themselves.
func (s *Space) Supersede(key string, hash uint64, e *Entry, life time.Duration, stamp Stamp) (placed bool) {
	st := s.tier.stripeOf(hash)
	st.mu.Lock()
	if e != nil {
		st.noteLocked(s, key, driver.Revision{})
	}
	old := s.tier.lookupLocked(hash, s, key)
	if e != nil && !s.fencedLocked(st, hash, e) {
		placed = s.putLocked(key, hash, e, life)
	}
	older := old != nil && (old.Revision.Number != 0 || stamp.count >= st.markLocked(hash))
	if !placed && older && !s.tier.conf.Faults.Off(fault.PassedNews) {
		s.tier.unlinkLocked(hash, s, key)
	}
	st.mu.Unlock()
	s.tier.makeRoom()
	return placed
}

func (s *Space) fencedLocked(st *stripe, hash uint64, e *Entry) bool {
	passes := (e.Stamp.count >= st.markLocked(hash) || s.tier.conf.Faults.Off(fault.Marks)) && s.current(e) && s.passesPartitions(e)
	if passes {
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
// What is in place may be older than a value without a revision, and so may reads under way.
func (s *Space) passLocked(st *stripe, key string, hash uint64, r driver.Revision, rival bool) {
	old := s.tier.lookupLocked(hash, s, key)
	kept := old != nil && old.Revision.Covers(r)
	if (kept && !rival) || st.knowsLocked(hash, r) || s.tier.conf.Faults.Off(fault.PassedNews) {
		return
	}
	st.raiseLocked(hash, s.tier.count.Add(1), r)
	if old != nil && !kept {
		s.tier.removeLocked(old)
	}
}

// putLocked links e in front or in the place of the entry of the same key. It
// refuses to replace a higher revision, what is too large, what is of a partition that
// was flushed since or of a space that was closed, and what the guard of the space does not
// admit.
func (s *Space) putLocked(key string, hash uint64, e *Entry, life time.Duration) bool {
	t := s.tier
	if int64(e.cost) > t.most.Load() {
		t.tooLarge.Add(1)
		t.unlinkLocked(hash, s, key)
		return false
	}
	if s.mark.Load() == closed || !s.passesPartitions(e) || s.admits != nil && !s.admits(e, hash, life <= 0) {
		t.fenced.Add(1)
		return false
	}
	now := t.coarseLocked()
	old := t.lookupLocked(hash, s, key)
	if old != nil && (s.keeps(old, now) && old.Revision != e.Revision && old.Revision.Covers(e.Revision) || life <= 0 && s.lives(old, now)) {
		return false
	}
	e.hash, e.space = hash, s.number
	e.begin(now, life)
	t.order.come(e, old) // before old leaves the index, which would take its place
	if old != nil {
		t.removeLocked(old)
	}
	head := t.head(hash)
	e.next.Store(head.Load())
	head.Store(e)
	t.entries.Add(1)
	t.bytes.Add(int64(e.cost))
	s.share.entries.Add(1)
	s.share.bytes.Add(int64(e.cost))
	return true
}

func (t *Tier) lookupLocked(hash uint64, s *Space, key string) *Entry {
	for e := t.head(hash).Load(); e != nil; e = e.next.Load() {
		if e.is(s, key, hash) {
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

// removeLocked takes e out of its chain and its queue, and reports whether it was in the
// chain. Readers who stand on e still find their way on: its own link stays.
func (t *Tier) removeLocked(e *Entry) bool {
	link := t.head(e.hash)
	for at := link.Load(); at != nil; at = link.Load() {
		if at == e {
			link.Store(e.next.Load())
			t.entries.Add(-1)
			t.bytes.Add(-int64(e.cost))
			of := t.spaceOf(e).share
			of.entries.Add(-1)
			of.bytes.Add(-int64(e.cost))
			if t.order.leave(e) == coreQueue {
				t.policy.drop(e.hash)
			}
			return true
		}
		link = &at.next
	}
	return false
}
