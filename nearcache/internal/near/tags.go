package near

import (
	"sync/atomic"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
)

// Slots is the number of slots that tags are folded into.
const Slots = 1 << 16

// slotPage is the number of slots whose marks are kept together. The marks of a
// page take 2 KiB and are made with the first of them.
const slotPage = 1 << 8

// slotMarks are the marks of the slots of a space. The zero value has none.
type slotMarks struct {
	pages [Slots / slotPage]atomic.Pointer[[slotPage]atomic.Uint64]
}

// of returns the mark of a slot, nil if it has none.
func (m *slotMarks) of(slot uint32) *atomic.Uint64 {
	page := m.pages[slot%Slots/slotPage].Load()
	if page == nil {
		return nil
	}
	return &page[slot%slotPage]
}

// make returns the mark of a slot, and makes one if there is none.
func (m *slotMarks) make(slot uint32) *atomic.Uint64 {
	if mark := m.of(slot); mark != nil {
		return mark
	}
	m.pages[slot%Slots/slotPage].CompareAndSwap(nil, new([slotPage]atomic.Uint64))
	return m.of(slot)
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
	for _, slot := range slots {
		raise(s.slots.make(slot), n)
	}
	raise(&s.tagged, n)
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
	if s.tier.conf.Faults.Off(fault.TagMarks) {
		return true
	}
	for _, slot := range slots {
		if mark := s.slots.of(slot); mark != nil && count < mark.Load() {
			return false
		}
	}
	return true
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
