package generation

import "github.com/nearbus/nearbus/shared/driver"

// exactTags is what Tags is held against: it forgets nothing, rounds nothing and has no bound.
// A method that may leave something near is told whether it does.
type exactTags struct {
	clock   number
	highest uint64
	heard   Heard
	flushed int
	slots   map[uint32]*exactSlot
}

type exactSlot struct {
	watermark   uint64
	read        int64
	known       bool
	flushed     int
	revision    driver.Revision
	told, nears bool
	lost        bool
}

func (t *exactTags) of(slot uint32) *exactSlot {
	if t.slots[slot] == nil {
		t.slots[slot] = new(exactSlot)
	}
	return t.slots[slot]
}

func (t *exactTags) knows(s *exactSlot) bool { return s.known && s.flushed == t.flushed }

func (t *exactTags) forgetAll() {
	t.clock.forget()
	t.flushed++
}

func (t *exactTags) forget(slot uint32) {
	t.clock.forget()
	s := t.of(slot)
	s.known, s.nears = false, false
}

func (t *exactTags) doubt(slot uint32) {
	t.of(slot).known = false
	t.clock.forget()
}

func (t *exactTags) hear(slot uint32, r driver.Revision) {
	t.heard.Add(r)
	t.of(slot).told = true
	t.forget(slot)
}

func (t *exactTags) repair(slot uint32, r driver.Revision) (ended, news bool) {
	s := t.of(slot)
	if t.heard.Take(r) || s.revision.Covers(r) {
		return false, false
	}
	ended = s.nears
	s.known, s.nears, s.told = false, false, true
	t.clock.forget()
	return ended, true
}

func (t *exactTags) covers(slot uint32, r driver.Revision) bool {
	_, heard := t.heard[r]
	return heard || t.of(slot).revision.Covers(r)
}

func (t *exactTags) learn(clock uint64, at int64, forgot uint64) {
	t.clock.value = max(t.clock.value, clock)
	t.clock.read(at, forgot)
}

func (t *exactTags) learnSlot(r SlotRead, at int64, forgot uint64) (risen bool) {
	s := t.of(r.Slot)
	if r.Watermark > s.watermark && s.nears {
		risen, s.nears = true, false
	}
	s.watermark = max(s.watermark, r.Watermark)
	t.highest = max(t.highest, r.Watermark)
	s.read, s.lost = max(s.read, at), false
	if forgot == t.clock.forgot {
		s.known, s.flushed, s.told = true, t.flushed, false
	}
	if !s.revision.Covers(r.Revision) {
		s.revision = r.Revision
	}
	t.clock.value = max(t.clock.value, r.Watermark)
	return risen
}

func (t *exactTags) wrote(r SlotRead) (risen bool) {
	s := t.of(r.Slot)
	risen = r.Watermark > s.watermark && s.nears
	s.watermark = max(s.watermark, r.Watermark)
	t.highest = max(t.highest, r.Watermark)
	t.heard.Add(r.Revision)
	s.known, s.nears = false, false
	return risen
}

// missing returns nil for a record that is dead.
func (t *exactTags) missing(r *driver.Record, clockSure, slotsSure bool) (missing []uint32) {
	told := false
	for _, slot := range r.Slots {
		if t.of(slot).watermark > r.TagClock {
			return nil
		}
		told = told || t.of(slot).told || t.of(slot).lost
	}
	if clockSure && !told && t.clock.known && r.TagClock >= t.clock.value {
		return nil
	}
	for _, slot := range r.Slots {
		if !slotsSure || !t.knows(t.of(slot)) {
			missing = append(missing, slot)
		}
	}
	return missing
}

func (t *exactTags) judge(r *driver.Record, horizons *Horizons) (since int64, live bool) {
	bySlots := int64(1<<63 - 1)
	for i, slot := range r.Slots {
		s := t.of(slot)
		if s.lost || s.watermark > r.TagClock {
			return 0, false
		}
		at := s.read
		if horizons != nil && t.knows(s) {
			at = max(at, horizons.Slots[i])
		} else if horizons == nil && at > 0 {
			at = bySlots
		}
		bySlots = min(bySlots, at)
	}
	if t.clock.at > 0 && r.TagClock >= t.clock.value {
		byClock := t.clock.at
		if horizons == nil {
			byClock = 1<<63 - 1
		} else if t.clock.known {
			byClock = max(byClock, horizons.Clock)
		}
		bySlots = max(bySlots, byClock)
	}
	return bySlots, bySlots != 0
}

func (t *exactTags) admits(slots []uint32, clock uint64) bool {
	live := true
	for _, slot := range slots {
		t.of(slot).nears = true
		live = live && t.of(slot).watermark <= clock
	}
	return live
}
