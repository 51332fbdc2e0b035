package generation

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/nearbus/nearbus/nearcache/internal/sparse"
	"github.com/nearbus/nearbus/shared/driver"
)

// Tags is what this node knows of the tags of a cache: of its tag clock, a
// number in the shared tier that every InvalidateTags raises, and of the
// watermarks of its slots, the tag clock as it was when a tag of the slot was
// last invalidated.
//
// A record carries the tag clock as its writer knew it before the write or load
// began, and is live while no watermark of its slots is above that. Since no
// watermark is above the tag clock, a record whose tag clock is the newest one
// needs no look at watermarks.
type Tags struct {
	InUse    atomic.Bool // values with tags were seen, or an InvalidateTags heard of: the tag clock is read along
	Expected atomic.Bool // a loader was given that may return tags

	mu    sync.Mutex // protects the fields below
	clock number     // forgotten whenever a watermark is

	highest uint64 // watermark of any slot that was heard of
	heard   Heard  // InvalidateTags, own ones included, by the revisions of watermarks
	most    int    // that there were in heard, which takes room for so many
	slots   slotTable
}

// Count has resize asked before what is known of slots takes more bytes or less: wants in the
// place of has. It may refuse more unless it must be. Under the lock of t, it takes no other. It
// must come before t is used.
func (t *Tags) Count(resize func(has, wants int64, must bool) bool) { t.slots.resize = resize }

// Expect says that loaders may return tags. Most calls find that said already, and
// write nothing that others read.
func (t *Tags) Expect() {
	if !t.Expected.Load() {
		t.Expected.Store(true)
	}
}

// putLocked takes in the state of a slot, which is that of get with what is new.
func (t *Tags) putLocked(slot uint32, s slotState) { t.slots.put(slot, s, t.highest) }

const (
	heardBytes = 56 // what one of heard takes at most, in a map
	fewHeard   = 64 // for so many, the map may stay
)

// hearLocked takes in a revision that the journal will tell of.
func (t *Tags) hearLocked(r driver.Revision) {
	t.heard.Add(r)
	t.countHeardLocked(max(t.most, len(t.heard)))
}

// tookLocked reports whether a revision was heard that the journal tells of now.
func (t *Tags) tookLocked(r driver.Revision) bool {
	took := t.heard.Take(r)
	if took && t.most > fewHeard && 4*len(t.heard) <= t.most { // the map stays as large as it was
		left := make(Heard, len(t.heard))
		maps.Copy(left, t.heard)
		t.heard = left
		t.countHeardLocked(len(left))
	}
	return took
}

func (t *Tags) countHeardLocked(most int) {
	if most != t.most {
		t.slots.sized(int64(t.most)*heardBytes, int64(most)*heardBytes, true)
		t.most = most
	}
}

// Shrink forgets what is known of slots, as where there is no room for a larger table, and what was
// heard of: the journal tells of it as news.
func (t *Tags) Shrink() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.slots.cells.Size() > sparse.Smallest {
		t.slots.restart(t.highest)
	}
	if t.slots.revisions.Size() > sparse.Smallest {
		t.slots.forgetRevisions()
	}
	t.heard = nil
	t.countHeardLocked(0)
}

// Get returns the tag clock and whether it can be relied on. How often anything
// was forgotten is for learn and learnSlots.
func (t *Tags) Get() (clock uint64, known bool, forgot uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.clock.get()
}

// ForgetAll makes the next reads read tag clock and watermarks: there was a gap.
func (t *Tags) ForgetAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clock.forget()
	t.slots.unknow()
}

// Forget makes the next reads read the tag clock and the watermarks of these
// slots: one was raised. The caller raises their marks in the near tier next.
func (t *Tags) Forget(slots ...uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clock.forget()
	for _, slot := range slots {
		s := t.slots.get(slot)
		s.known, s.near = false, false
		t.putLocked(slot, s)
	}
}

// Doubt makes the next reads read the watermark of a slot: it may have been raised, or may
// still be.
func (t *Tags) Doubt(slot uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.slots.get(slot)
	s.known = false
	t.putLocked(slot, s)
	t.clock.forget()
}

// Hear is forget for a slot whose watermark was raised, as the bus says, by the write of
// this revision. The first value with tags that is loaded then is not dead on arrival.
func (t *Tags) Hear(slot uint32, r driver.Revision) {
	t.InUse.Store(true)
	t.mu.Lock()
	t.hearLocked(r)
	s := t.slots.get(slot)
	s.told = true
	t.putLocked(slot, s)
	t.mu.Unlock()
	t.Forget(slot)
}

// Repair takes in that the watermark of a slot was raised by the write of this revision, as
// the journal says. It reports whether that is news, and then whether something may be near
// that it ends: the caller raises the mark of the slot next.
func (t *Tags) Repair(slot uint32, r driver.Revision) (ended, news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tookLocked(r) || t.slots.covers(slot, r) {
		return false, false
	}
	s := t.slots.get(slot)
	ended = s.near
	s.known, s.near, s.told = false, false, true
	t.putLocked(slot, s)
	t.clock.forget()
	return ended, true
}

// Covers reports whether what this node knows of the slot contains the write of
// this revision.
func (t *Tags) Covers(slot uint32, r driver.Revision) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, heard := t.heard[r]
	return heard || t.slots.covers(slot, r)
}

// Learn takes in the tag clock read from the shared tier, by a read that began
// at this time, when things had been forgotten this often.
func (t *Tags) Learn(clock uint64, at int64, forgot uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clock.value = max(t.clock.value, clock)
	t.clock.read(at, forgot)
}

// Advance takes in what the journal tells of the tag clock. If the clock is ahead of the
// journal, what it is now has to be read: see Clear.Raise.
func (t *Tags) Advance(clock uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case clock >= driver.MaxRevision:
	case clock < t.clock.value && t.clock.value-clock >= clockAhead:
		t.clock.forget()
	default:
		t.clock.value = max(t.clock.value, clock)
	}
}

// SlotRead is a watermark as it was read from the shared tier.
type SlotRead struct {
	Slot      uint32
	Watermark uint64
	Revision  driver.Revision
}

// Lose takes in that there are no watermarks of these slots: nobody knows what they have
// ended.
func (t *Tags) Lose(slots []uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, slot := range slots {
		s := t.slots.get(slot)
		s.known, s.lost = false, true
		t.putLocked(slot, s)
	}
}

// Made takes in that this node made the watermarks of writes, and that was confirmed, with
// the tag clock that it had read. A raise that this node was told of may be above that one:
// then the store knows better, and the watermark is to be read. It returns what LearnSlots
// does.
func (t *Tags) Made(writes []SlotRead) (risen []uint32) {
	risen = t.Wrote(writes)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range writes {
		s := t.slots.get(w.Slot)
		s.lost = s.lost && s.told
		t.putLocked(w.Slot, s)
	}
	return risen
}

// LearnSlots takes in watermarks, as learn does the tag clock. It returns the
// slots of which something may be near that the watermark ends, and nobody told
// of it: the caller raises their marks.
func (t *Tags) LearnSlots(reads []SlotRead, at int64, forgot uint64) (risen []uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range reads {
		s := t.slots.get(r.Slot)
		if r.Watermark > s.watermark && s.near {
			risen = append(risen, r.Slot)
			s.near = false
		}
		s.watermark = max(s.watermark, r.Watermark)
		t.highest = max(t.highest, r.Watermark)
		s.read, s.lost = max(s.read, at), false
		if forgot == t.clock.forgot {
			s.known, s.told = true, false
		}
		t.putLocked(r.Slot, s)
		t.slots.reads(r.Slot, r.Revision)
		t.clock.value = max(t.clock.value, r.Watermark) // what this node writes is not dead on arrival
	}
	return risen
}

// Wrote takes in watermarks that this node wrote, and that were confirmed. What
// is there may be higher: it is not known. It returns what learnSlots does.
func (t *Tags) Wrote(writes []SlotRead) (risen []uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range writes {
		s := t.slots.get(r.Slot)
		if r.Watermark > s.watermark && s.near {
			risen = append(risen, r.Slot)
		}
		s.watermark = max(s.watermark, r.Watermark)
		t.highest = max(t.highest, r.Watermark)
		t.hearLocked(r.Revision) // the journal will tell of it
		s.known, s.near = false, false
		t.putLocked(r.Slot, s)
	}
	return risen
}

// Missing appends to dst the slots of a record that have to be read before it
// can be judged. clockSure and slotsSure say that this node would have heard of
// changes of what it knows; of the tag clock also that it was just read.
func (t *Tags) Missing(r *driver.Record, clockSure, slotsSure bool, dst []uint32) []uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	doubt := false
	for _, slot := range r.Slots {
		s := t.slots.get(slot)
		if s.watermark > r.TagClock {
			return dst // dead
		}
		doubt = doubt || s.told || s.lost
	}
	if clockSure && !doubt && t.clock.known && r.TagClock >= t.clock.value {
		return dst
	}
	for _, slot := range r.Slots {
		if !slotsSure || !t.slots.get(slot).known {
			dst = append(dst, slot)
		}
	}
	return dst
}

// Unseen appends to dst the slots of which no watermark was ever read, or none is there.
func (t *Tags) Unseen(slots, dst []uint32) []uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, slot := range slots {
		if s := t.slots.get(slot); s.watermark == 0 || s.lost {
			dst = append(dst, slot)
		}
	}
	return dst
}

// Judge reports whether a record with slots is live by what is known, and since
// when this node would have heard that it is not. horizons tell up to when the
// journal of the tag clock and of each slot was applied; nil without a journal.
func (t *Tags) Judge(r *driver.Record, horizons *Horizons) (since int64, live bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	bySlots := int64(1<<63 - 1)
	for i, slot := range r.Slots {
		s := t.slots.get(slot)
		if s.lost || s.watermark > r.TagClock {
			return 0, false
		}
		at := s.read
		if horizons != nil && s.known {
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
	if bySlots == 0 {
		return 0, false // never read
	}
	for _, slot := range r.Slots {
		t.nearLocked(slot)
	}
	return bySlots, true
}

// Horizons are the horizons of the partitions that the tag clock and the
// slots of a record are in.
type Horizons struct {
	Clock int64
	Slots []int64
}

// Admits is asked before a value with these slots comes near, whose write or load
// began when this node knew the tag clock as clock. It reports whether no watermark
// that this node knows has ended it. If one turns out to be higher from here on, its
// mark is raised.
func (t *Tags) Admits(slots []uint32, clock uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	live := clock >= t.slots.forgot // or a watermark that was forgotten may have ended it
	for _, slot := range slots {
		live = t.nearLocked(slot).watermark <= clock && live
	}
	return live
}

// nearLocked notes that something with a slot may have come near, and returns the state of the
// slot.
func (t *Tags) nearLocked(slot uint32) slotState {
	s := t.slots.get(slot)
	if !s.near {
		s.near = true
		t.putLocked(slot, s)
	}
	return s
}

// Ends reports whether a value that carries this tag clock is ended by the watermark of a slot,
// as far as that is known.
func (t *Tags) Ends(slot uint32, clock uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.slots.get(slot).watermark > clock
}

// Newest returns the highest watermark of slots that this node knows, or knew: the number may
// be too high, if some were forgotten.
func (t *Tags) Newest(slots []uint32) (watermark uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	watermark = t.slots.forgot
	for _, slot := range slots {
		watermark = max(watermark, t.slots.get(slot).watermark)
	}
	return watermark
}

// Unknown returns the slots whose watermarks were not read since they were forgotten.
func (t *Tags) Unknown(slots []uint32) (unknown []uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, slot := range slots {
		if !t.slots.get(slot).known {
			unknown = append(unknown, slot)
		}
	}
	return unknown
}

// Ended returns the highest watermark that this node knows: a value whose load began
// when the tag clock was lower may have been ended, whatever its tags turn out to be.
func (t *Tags) Ended() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.highest
}
