package near

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/sparse"
)

// Slots is the number of slots that tags are folded into.
const Slots = sparse.Slots

// slotMarks are the marks of the slots of a space. The zero value has none.
//
// A mark never falls. Where the place for an exact one is missing, it is higher than that: a
// mark that is too high keeps values out that nobody invalidated, and never lets one in.
type slotMarks struct {
	mu    sync.Mutex // held by those who raise marks
	table atomic.Pointer[markTable]
}

// markTable has the mark of a slot as what is above a base, in 32 bits. The base is the mark of
// every slot that has no other. It does not change: another table takes the place of this one.
type markTable struct {
	base  uint64
	above *sparse.Table[atomic.Uint32]
}

// farBack is how far the base of a table is below the count of invalidations, as far as there
// are so many, when the table is made: a tagged entry that came in before goes.
const farBack = 1 << 31

// of returns the mark of a slot.
func (m *slotMarks) of(slot uint32) uint64 {
	if t := m.table.Load(); t != nil {
		return t.base + uint64(sparse.Highest(t.above, []uint32{slot}))
	}
	return 0
}

// raise raises the marks of slots of s to n, a count of invalidations.
func (m *slotMarks) raise(s *Space, slots []uint32, n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, slot := range slots {
		for !m.table.Load().raise(slot, n) {
			m.replaceLocked(s, n)
		}
	}
}

// raise reports false if the mark cannot be raised to n in this table.
func (t *markTable) raise(slot uint32, n uint64) bool {
	switch {
	case t == nil:
		return false
	case n <= t.base:
		return true
	case n-t.base > math.MaxUint32:
		return false
	}
	above := t.above.Take(slot)
	if above == nil {
		return false
	}
	above.Store(max(above.Load(), uint32(n-t.base)))
	return true
}

// replaceLocked makes the table in which a mark can be raised to n: a larger one, or one with
// a higher base. If there is no room for a larger one, every slot gets n for its mark.
func (m *slotMarks) replaceLocked(s *Space, n uint64) {
	old := m.table.Load()
	t := &markTable{base: n - min(n, farBack)}
	size, has := sparse.Smallest, int64(0)
	if old != nil {
		size, has = old.above.Size(), sparse.Bytes[atomic.Uint32](old.above.Size())
		if n-old.base <= math.MaxUint32 {
			size, t.base = 2*size, old.base
		}
	}
	if !s.Resize(has, sparse.Bytes[atomic.Uint32](size), size == sparse.Smallest) {
		size, t.base = sparse.Smallest, n
		s.Resize(has, sparse.Bytes[atomic.Uint32](size), true)
	}
	t.above = sparse.New[atomic.Uint32](size)
	if old != nil {
		for slot, above := range old.above.All() {
			if mark := old.base + uint64(above.Load()); mark > t.base {
				t.above.Take(slot).Store(uint32(mark - t.base))
			}
		}
	}
	m.table.Store(t)
}

// ShrinkSlots makes the table of s the smallest. Every slot gets a mark of now.
func (s *Space) ShrinkSlots() {
	m := &s.slots
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.table.Load()
	if old == nil || old.above.Size() <= sparse.Smallest {
		return
	}
	n := s.tier.count.Add(1)
	s.Resize(sparse.Bytes[atomic.Uint32](old.above.Size()), sparse.Bytes[atomic.Uint32](sparse.Smallest), true)
	m.table.Store(&markTable{base: n, above: sparse.New[atomic.Uint32](sparse.Smallest)})
	raise(&s.tagged, n)
}

// Tag says that e is invalid once one of these slots is invalidated. The caller
// gives the slice away. It must come before e is installed.
func (e *Entry) Tag(slots []uint32) {
	if len(slots) > 0 {
		e.others().slots, e.tagged = slots, true
		e.Charge(int64(4 * len(slots)))
	}
}

// InvalidateSlots makes every entry of the space with one of these slots
// invalid, and fences loads and writes that are under way and turn out to have
// one. Whoever misses from here on starts a read of their own: nobody knows
// what tags the result of one under way will have.
func (s *Space) InvalidateSlots(slots []uint32) {
	n := s.tier.count.Add(1)
	s.slots.raise(s, slots, n)
	raise(&s.tagged, n)
	s.tier.makeRoom() // for what the tables of the cache take
}

func raise(mark *atomic.Uint64, to uint64) {
	for old := mark.Load(); old < to; old = mark.Load() {
		if mark.CompareAndSwap(old, to) {
			return
		}
	}
}

// passes reports whether a value that has slots and whose stamp counts count
// was not invalidated since. It is asked at every look: that an entry passed
// before means nothing.
func (s *Space) passes(count uint64, slots []uint32) bool {
	if count >= s.tagged.Load() || s.tier.conf.Faults.Off(fault.TagMarks) {
		return true // no mark is higher, but for one that is about to be raised
	}
	t := s.slots.table.Load() // there is one, since tagged was raised after it was made
	return count >= t.base+uint64(sparse.Highest(t.above, slots))
}

// trustsSlots is Trusts for what tells of the slots of e, an entry of s.
func (s *Space) trustsSlots(e *Entry, now int64) bool {
	for _, slot := range e.rare.slots {
		if !s.Trusts(e.since(), s.slotPart(slot), now) {
			return false
		}
	}
	return true
}

// Tagged reports whether the value has tags.
func (e *Entry) Tagged() bool { return e.tagged }
