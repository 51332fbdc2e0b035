package generation

import (
	"math"

	"github.com/nearbus/nearbus/nearcache/internal/sparse"
	"github.com/nearbus/nearbus/shared/driver"
)

// slotState is what is known of one slot.
type slotState struct {
	watermark uint64 // highest heard; it only rises, but see slotTable.restart
	read      int64  // when the latest read of it began, on the clock of the near tier; 0 before the first
	known     bool   // watermark was read since it was last forgotten

	// told says that the watermark was raised, as the bus or the journal told, and was not
	// read since. The tag clock, which may be on another server, says nothing of the slot
	// until then: that server may have been deposed, which its journal is yet to show.
	told bool

	// lost says that there was no watermark when it was looked for, and that none was read
	// since. It counts as raised just now: no record is as new as that.
	lost bool

	// near says that an entry with this slot may have come near since the mark of
	// the slot was raised.
	near bool
}

// slotTable has the states of slots, in 12 bytes each at best. What it cannot keep, it keeps
// so that more is read, and more ends:
//
//   - read is rounded down to a readUnit. If it is too far back for 32 bits, it is 0, and the
//     watermark is not known.
//   - If there is no room for a larger table, all states are forgotten. Every slot is then as
//     one whose watermark was told of, is lost, and was not read, and may be near.
//   - Of the revisions of watermarks, which say that news is old, few are kept. What is no
//     news is taken for news then.
//
// The zero value is ready, and knows nothing of any slot.
type slotTable struct {
	// resize is asked before a table that has has bytes is made one of wants. It may refuse,
	// unless it must be. nil: there is room. Set before use.
	resize func(has, wants int64, must bool) bool

	cells *sparse.Table[cell] // nil if there are none
	base  int64               // which reads are told apart from, on the clock of the near tier

	// forgot is the highest watermark that any slot may have had when all states were
	// forgotten; 0 if they never were.
	forgot uint64

	revisions *sparse.Table[driver.Revision] // nil if there are none
}

// cell is a slotState in 12 bytes. As numbers of 32 bits, it needs none for alignment.
type cell struct {
	high, low uint32 // the watermark, and flags in the lowest bits
	read      uint32 // 0: never; else one more than the readUnits since base
}

const (
	flagKnown = 1 << iota
	flagTold
	flagLost
	flagNear
	flagBits = 4

	// beyond is a watermark for all that have no room: no value is live by it, and no store
	// has numbers as high.
	beyond = 1<<(64-flagBits) - 1

	// readUnit is what reads are rounded down to, in nanoseconds: about a millisecond.
	readUnit = 1 << 20

	// farBack is how many units before a read the base is moved to, at the least, when the
	// read is too far from it: 26 days.
	farBack = 1 << 31
)

func (c *cell) state(base int64) (s slotState) {
	word := uint64(c.high)<<32 | uint64(c.low)
	s.watermark = word >> flagBits
	if s.watermark == beyond {
		s.watermark = math.MaxUint64
	}
	s.known, s.told = word&flagKnown != 0, word&flagTold != 0
	s.lost, s.near = word&flagLost != 0, word&flagNear != 0
	if c.read > 0 {
		s.read = max(1, base+int64(c.read-1)*readUnit)
	}
	return s
}

// set takes in s. Its read must not be before base, if there was one, nor too far behind.
func (c *cell) set(s slotState, base int64) {
	word := min(s.watermark, beyond) << flagBits
	if s.known {
		word |= flagKnown
	}
	if s.told {
		word |= flagTold
	}
	if s.lost {
		word |= flagLost
	}
	if s.near {
		word |= flagNear
	}
	c.high, c.low, c.read = uint32(word>>32), uint32(word), 0
	if s.read > 0 {
		c.read = uint32((s.read-base)/readUnit) + 1
	}
}

// blank is the state of a slot that has none in the table.
func (t *slotTable) blank() slotState {
	return slotState{told: t.forgot > 0, lost: t.forgot > 0, near: t.forgot > 0}
}

// get returns the state of a slot.
func (t *slotTable) get(slot uint32) slotState {
	if c := t.cells.Find(slot); c != nil {
		return c.state(t.base)
	}
	return t.blank()
}

// put takes in the state of a slot, which is that of get with what is new. No watermark is
// above highest.
func (t *slotTable) put(slot uint32, s slotState, highest uint64) {
	if s == t.blank() && t.cells.Find(slot) == nil {
		return
	}
	if s.read-t.base >= math.MaxUint32*readUnit {
		t.move(s.read - farBack*readUnit)
	}
	c := t.cells.Take(slot)
	for c == nil {
		if size := max(2*t.cells.Size(), sparse.Smallest); !t.grow(size) {
			t.restart(highest)
		}
		c = t.cells.Take(slot)
	}
	c.set(t.since(s), t.base)
}

// since is s without a read that is before the base.
func (t *slotTable) since(s slotState) slotState {
	if s.read < t.base {
		s.read, s.known = 0, false
	}
	return s
}

// move moves the base.
func (t *slotTable) move(base int64) {
	old := t.base
	t.base = base
	for _, c := range t.cells.All() {
		c.set(t.since(c.state(old)), base)
	}
}

// grow makes the table one of so many places, if there is room.
func (t *slotTable) grow(size int) bool {
	has := t.cells.Size()
	if !t.sized(sparse.Bytes[cell](has), sparse.Bytes[cell](size), has == 0) {
		return false
	}
	cells := sparse.New[cell](size)
	if size == sparse.Slots {
		for _, c := range cells.All() {
			c.set(t.blank(), t.base)
		}
	}
	for slot, c := range t.cells.All() {
		*cells.Take(slot) = *c
	}
	t.cells = cells
	return true
}

// restart forgets all states. No watermark was above highest.
func (t *slotTable) restart(highest uint64) {
	t.sized(sparse.Bytes[cell](t.cells.Size()), sparse.Bytes[cell](sparse.Smallest), true)
	t.cells, t.forgot = sparse.New[cell](sparse.Smallest), max(highest, 1)
}

func (t *slotTable) sized(has, wants int64, must bool) bool {
	return t.resize == nil || t.resize(has, wants, must)
}

// unknow makes no watermark known.
func (t *slotTable) unknow() {
	for _, c := range t.cells.All() {
		c.low &^= flagKnown
	}
}

// mostRevisions is the largest table of revisions, which has room for three quarters as many.
// The journal tells of a write within a round or two of when it was read.
const mostRevisions = 512

// covers reports whether the watermark of a slot, as it was read, contains the write of this
// revision. That of an own write is not read: it tells nothing of others' before it.
func (t *slotTable) covers(slot uint32, r driver.Revision) bool {
	of := t.revisions.Find(slot)
	return of != nil && of.Covers(r)
}

// reads takes in the revision of a watermark that was read.
func (t *slotTable) reads(slot uint32, r driver.Revision) {
	of := t.revisions.Take(slot)
	for of == nil {
		t.growRevisions()
		of = t.revisions.Take(slot)
	}
	if !of.Covers(r) {
		*of = r
	}
}

// growRevisions makes room for another revision. If that is too much, all are forgotten.
func (t *slotTable) growRevisions() {
	has := t.revisions.Size()
	size := max(2*has, sparse.Smallest)
	if size > mostRevisions || !t.sized(sparse.Bytes[driver.Revision](has), sparse.Bytes[driver.Revision](size), has == 0) {
		t.forgetRevisions()
		return
	}
	revisions := sparse.New[driver.Revision](size)
	for slot, r := range t.revisions.All() {
		*revisions.Take(slot) = *r
	}
	t.revisions = revisions
}

// forgetRevisions forgets all revisions.
func (t *slotTable) forgetRevisions() {
	t.sized(sparse.Bytes[driver.Revision](t.revisions.Size()), sparse.Bytes[driver.Revision](sparse.Smallest), true)
	t.revisions = sparse.New[driver.Revision](sparse.Smallest)
}
