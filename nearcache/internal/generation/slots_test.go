package generation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/internal/sparse"
	"github.com/nearbus/nearbus/shared/driver"
)

// budget counts what tags say that they take, and refuses more than a limit.
type budget struct{ limit, bytes int64 }

func (b *budget) resize(has, wants int64, must bool) bool {
	if wants > has && !must && b.bytes+wants-has > b.limit {
		return false
	}
	b.bytes += wants - has
	return true
}

const noLimit = 1 << 40

// twin is tags beside exact ones, which are told the same, and what both have to agree on.
type twin struct {
	t      *testing.T
	dice   *rand.Rand
	tags   Tags
	exact  exactTags
	now    int64
	clock  uint64            // of all, in the shared tier
	truth  map[uint32]uint64 // watermarks, likewise
	slots  uint32            // that there are
	forgot [2]uint64         // when the latest read of both began
	began  int64
}

func newTwin(t *testing.T, slots uint32, limit int64, seed uint64) *twin {
	w := &twin{t: t, dice: rand.New(rand.NewPCG(seed, 2)), slots: slots, now: 1, clock: 1, truth: map[uint32]uint64{}}
	w.exact.slots = map[uint32]*exactSlot{}
	w.tags.Count((&budget{limit: limit}).resize)
	return w
}

func (w *twin) slot() uint32 { return w.dice.Uint32N(w.slots) * 2654435761 % Slots }

func (w *twin) rev(number uint64) driver.Revision { return driver.Revision{Epoch: 1, Number: number} }

// step has something happen, and holds what both say of it against each other.
func (w *twin) step(pass time.Duration) {
	w.now += w.dice.Int64N(int64(pass))
	slot := w.slot()
	switch w.dice.IntN(14) {
	case 12:
		w.tags.Lose([]uint32{slot})
		w.exact.of(slot).known, w.exact.of(slot).lost = false, true
	case 13:
		w.made(slot)
	case 0:
		w.begin()
	case 1, 2:
		w.learn(slot)
	case 3:
		w.write(slot)
	case 4:
		w.clock++
		w.truth[slot] = w.clock
		w.tags.Hear(slot, w.rev(w.clock))
		w.exact.hear(slot, w.rev(w.clock))
	case 5:
		w.repair(slot)
	case 6:
		w.tags.Doubt(slot)
		w.exact.doubt(slot)
	case 7:
		w.tags.Forget(slot)
		w.exact.forget(slot)
	case 8:
		if w.dice.IntN(50) == 0 {
			w.tags.ForgetAll()
			w.exact.forgetAll()
		}
	case 9:
		w.admit(slot)
	default:
		w.judge(slot)
	}
	w.look(slot)
}

func (w *twin) begin() {
	_, _, w.forgot[0] = w.tags.Get()
	w.forgot[1], w.began = w.exact.clock.forgot, w.now
}

func (w *twin) learn(slot uint32) {
	if w.dice.IntN(4) > 0 {
		w.begin()
	}
	if w.dice.IntN(2) == 0 {
		w.tags.Learn(w.clock, w.began, w.forgot[0])
		w.exact.learn(w.clock, w.began, w.forgot[1])
	}
	read := SlotRead{slot, max(1, w.truth[slot]), w.rev(max(1, w.truth[slot]))}
	risen := w.tags.LearnSlots([]SlotRead{read}, w.began, w.forgot[0])
	if w.exact.learnSlot(read, w.began, w.forgot[1]) {
		assert.Equal(w.t, []uint32{slot}, risen)
	}
	w.raised(risen)
}

// raised says that the marks of slots are raised, whoever had that done.
func (w *twin) raised(slots []uint32) {
	for _, slot := range slots {
		w.exact.of(slot).nears = false
	}
}

func (w *twin) write(slot uint32) {
	w.clock++
	w.truth[slot] = w.clock
	w.begin()
	w.tags.Learn(w.clock, w.began, w.forgot[0])
	w.exact.learn(w.clock, w.began, w.forgot[1])
	written := SlotRead{slot, w.clock, w.rev(w.clock)}
	risen := w.tags.Wrote([]SlotRead{written})
	if w.exact.wrote(written) {
		assert.Equal(w.t, []uint32{slot}, risen)
	}
}

// made has the watermark of a slot made, with the tag clock as it is.
func (w *twin) made(slot uint32) {
	w.truth[slot] = max(w.truth[slot], w.clock)
	w.begin()
	w.tags.Learn(w.clock, w.began, w.forgot[0])
	w.exact.learn(w.clock, w.began, w.forgot[1])
	written := SlotRead{slot, w.clock, w.rev(w.clock)}
	risen := w.tags.Made([]SlotRead{written})
	if w.exact.wrote(written) {
		assert.Equal(w.t, []uint32{slot}, risen)
	}
	s := w.exact.of(slot)
	s.lost = s.lost && s.told
}

func (w *twin) repair(slot uint32) {
	number := max(1, w.truth[slot])
	if w.dice.IntN(2) == 0 {
		number = 1 + w.dice.Uint64N(number)
	}
	ended, news := w.tags.Repair(slot, w.rev(number))
	exactEnded, exactNews := w.exact.repair(slot, w.rev(number))
	assert.True(w.t, news || !exactNews, "what is news stays news")
	assert.True(w.t, ended || !exactEnded)
	if news {
		w.raised([]uint32{slot})
	}
}

// record returns one with a few slots, slot among them, of about now.
func (w *twin) record(slot uint32) *driver.Record {
	r := &driver.Record{Slots: []uint32{slot}, TagClock: w.clock - min(w.clock, w.dice.Uint64N(4)*w.dice.Uint64N(uint64(w.slots)))}
	for range w.dice.IntN(3) {
		r.Slots = append(r.Slots, w.slot())
	}
	return r
}

func (w *twin) judge(slot uint32) {
	r := w.record(slot)
	for _, sure := range []bool{false, true} {
		missing := w.tags.Missing(r, sure, true, nil)
		for _, want := range w.exact.missing(r, sure, true) {
			assert.Contains(w.t, missing, want, "what had to be read has to be read")
		}
	}
	var horizons *Horizons
	if w.dice.IntN(2) == 0 {
		horizons = &Horizons{Clock: w.now - 5, Slots: make([]int64, len(r.Slots))}
		for i := range horizons.Slots {
			horizons.Slots[i] = w.dice.Int64N(w.now)
		}
	}
	since, live := w.tags.Judge(r, horizons)
	exactSince, exactLive := w.exact.judge(r, horizons)
	if live {
		assert.True(w.t, exactLive, "what is dead stays dead")
		assert.LessOrEqual(w.t, since, exactSince, "and is no younger")
		for _, slot := range r.Slots {
			w.exact.of(slot).nears = true
		}
	}
}

func (w *twin) admit(slot uint32) {
	r := w.record(slot)
	admitted := w.tags.Admits(r.Slots, r.TagClock)
	assert.True(w.t, w.exact.admits(r.Slots, r.TagClock) || !admitted, "what is kept out stays out")
}

// look compares what both know of a slot, which changes nothing.
func (w *twin) look(slot uint32) {
	one, s := []uint32{slot}, w.exact.of(slot)
	assert.True(w.t, w.exact.knows(s) || len(w.tags.Unknown(one)) == 1)
	assert.True(w.t, s.watermark > 0 && !s.lost || len(w.tags.Unseen(one, nil)) == 1)
	assert.GreaterOrEqual(w.t, w.tags.Newest(one), s.watermark)
	assert.Equal(w.t, w.exact.highest, w.tags.Ended())
	number := 1 + w.dice.Uint64N(w.clock)
	assert.True(w.t, w.exact.covers(slot, w.rev(number)) || !w.tags.Covers(slot, w.rev(number)))
	clock, known, _ := w.tags.Get()
	assert.Equal(w.t, w.exact.clock.value, clock)
	assert.True(w.t, w.exact.clock.known || !known)
}

// TestTags_NoLessThanExact: whatever exact tags judge dead, keep out, have read, take for news
// or end, tags do as well: with few slots and many, when time passes that has no room in 32
// bits, and when there is no room for what they know.
func TestTags_NoLessThanExact(t *testing.T) {
	for name, c := range map[string]struct {
		slots uint32
		pass  time.Duration
		limit int64
	}{
		"few":          {10, 10 * time.Millisecond, noLimit},
		"many":         {40_000, time.Millisecond, noLimit},
		"months":       {20, 24 * time.Hour, noLimit},
		"months, many": {1000, 24 * time.Hour, noLimit},
		"little room":  {500, 10 * time.Millisecond, 8 << 10},
		"no room":      {40, 10 * time.Millisecond, 0},
		"both":         {200, 24 * time.Hour, 4 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTwin(t, c.slots, c.limit, uint64(c.slots))
			for range 20_000 {
				w.step(c.pass)
				if t.Failed() {
					t.FailNow()
				}
			}
			if c.limit == noLimit {
				assert.Zero(t, w.tags.slots.forgot)
			} else {
				assert.NotZero(t, w.tags.slots.forgot, "the test sees what it is for")
			}
			checkTags(t, &w.tags)
		})
	}
}

// TestTags_Exact: while there is room and no month passes, nothing of what decides on values
// is lost, but for a millisecond and old revisions.
func TestTags_Exact(t *testing.T) {
	w := newTwin(t, 30_000, noLimit, 7)
	for range 50_000 {
		w.step(time.Millisecond)
	}
	for slot, want := range w.exact.slots {
		s := w.tags.slots.get(slot)
		assert.Equal(t, want.watermark, s.watermark)
		assert.LessOrEqual(t, want.read-s.read, int64(readUnit))
	}
}

// TestTags_Bytes: tables take what a node can spare for each of many caches, and say so.
func TestTags_Bytes(t *testing.T) {
	for _, c := range []struct {
		slots int
		most  int64
	}{{0, 0}, {1, 600}, {100, 10 << 10}, {1000, 48 << 10}, {Slots, 800_000}} {
		t.Run(fmt.Sprint(c.slots), func(t *testing.T) {
			b := budget{limit: noLimit}
			var tags Tags
			tags.Count(b.resize)
			for slot := range uint32(c.slots) {
				one := []SlotRead{{slot, 1 << 50, driver.Revision{Epoch: 1, Number: 1 << 50}}}
				tags.LearnSlots(one, 1, 0)
				tags.Admits([]uint32{slot}, 1<<50)
			}
			assert.LessOrEqual(t, b.bytes, c.most)
			want := sparse.Bytes[cell](tags.slots.cells.Size()) + sparse.Bytes[driver.Revision](tags.slots.revisions.Size()) +
				int64(tags.most)*heardBytes
			assert.Equal(t, want, b.bytes)
		})
	}
}

// TestTags_HeardBytes: the room of what was heard and not told by the journal is counted, and
// given back.
func TestTags_HeardBytes(t *testing.T) {
	b := budget{limit: noLimit}
	var tags Tags
	tags.Count(b.resize)
	for number := range uint64(2 * MaxHeard) {
		tags.Hear(7, driver.Revision{Epoch: 1, Number: number + 1})
	}
	assert.GreaterOrEqual(t, b.bytes, int64(MaxHeard*heardBytes))
	for _, r := range slices.Collect(func(yield func(driver.Revision) bool) {
		for r := range tags.heard {
			if !yield(r) {
				return
			}
		}
	}) {
		tags.Repair(7, r)
	}
	assert.Less(t, b.bytes, int64(1024+fewHeard*heardBytes))
}

// TestSlotTable_Beyond: a watermark that has no room ends everything.
func TestSlotTable_Beyond(t *testing.T) {
	tags := new(Tags)
	tags.LearnSlots([]SlotRead{{7, 1<<63 + 5, driver.Revision{Epoch: 1, Number: 1}}}, 1, 0)
	_, live := tags.Judge(&driver.Record{Slots: []uint32{7}, TagClock: 1<<63 + 4}, nil)
	assert.False(t, live)
	require.False(t, tags.Admits([]uint32{7}, 1<<63+4))
}

// TestTags_ForgottenInAnArray: slots whose states were forgotten stay so when the table has come
// to be an array, where each slot has a place: something of theirs may be near.
func TestTags_ForgottenInAnArray(t *testing.T) {
	b := &budget{}
	var tags Tags
	tags.Count(b.resize)
	learn := func(slot uint32) {
		tags.LearnSlots([]SlotRead{{slot, 5, driver.Revision{Epoch: 1, Number: 5}}}, 1, 0)
	}
	tags.Admits([]uint32{Slots - 1}, 5)
	for slot := range uint32(10) { // more than there is room for
		learn(slot)
	}
	b.limit = noLimit
	for slot := range uint32(30_000) {
		learn(slot)
	}
	require.Equal(t, Slots, tags.slots.cells.Size())
	ended, news := tags.Repair(Slots-1, driver.Revision{Epoch: 1, Number: 9})
	assert.Equal(t, []any{true, true}, []any{ended, news})
}
