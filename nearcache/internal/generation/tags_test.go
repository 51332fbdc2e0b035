package generation

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/driver"
)

// newTags returns tags whose invariants are checked when the test ends.
func newTags(t *testing.T) *Tags {
	tags := new(Tags)
	t.Cleanup(func() { checkTags(t, tags) })
	return tags
}

// checkTags holds what is derived from the slots against the slots.
func checkTags(t *testing.T, tags *Tags) {
	t.Helper()
	for slot := range tags.slots.cells.All() {
		s := tags.slots.get(slot)
		require.LessOrEqual(t, s.watermark, tags.highest)
		require.LessOrEqual(t, s.watermark, tags.clock.value, "no watermark is above the tag clock")
		require.True(t, s.read > 0 || !s.known, "what is known was read")
	}
	require.LessOrEqual(t, len(tags.heard), MaxHeard)
}

// TestTags_Random: whatever is heard in whatever order, the invariants hold, and numbers rise.
func TestTags_Random(t *testing.T) {
	tags, dice := newTags(t), rand.New(rand.NewPCG(1, 2))
	truth := uint64(1)
	for range 50_000 {
		slot := uint32(dice.IntN(768))
		before, _, forgot := tags.Get()
		switch dice.IntN(10) {
		case 0:
			truth++
			tags.Learn(truth, int64(truth), forgot)
			tags.Wrote([]SlotRead{{slot, truth, driver.Revision{Epoch: 1, Number: truth}}})
		case 1:
			tags.LearnSlots([]SlotRead{{slot, truth, driver.Revision{Epoch: 1, Number: truth}}}, int64(truth), forgot)
		case 2:
			tags.Forget(slot)
		case 3:
			tags.Hear(slot, driver.Revision{Epoch: 1, Number: truth + 1})
		case 4:
			tags.Repair(slot, driver.Revision{Epoch: 1, Number: truth})
		case 5:
			tags.Advance(truth)
		case 6:
			tags.Admits([]uint32{slot}, truth)
		case 8:
			tags.Lose([]uint32{slot})
		case 9:
			tags.Learn(truth, int64(truth), forgot)
			tags.Made([]SlotRead{{slot, truth, driver.Revision{Epoch: 1, Number: truth}}})
		case 7:
			if dice.IntN(100) == 0 {
				tags.ForgetAll()
			}
		}
		after, _, _ := tags.Get()
		require.GreaterOrEqual(t, after, before)
	}
}

// TestTags_ReadBeforeForgotten: a read that began before the number was forgotten does not
// make it known.
func TestTags_ReadBeforeForgotten(t *testing.T) {
	tags := newTags(t)
	_, _, forgot := tags.Get()
	tags.ForgetAll()
	tags.Learn(5, 1, forgot)
	tags.LearnSlots([]SlotRead{{7, 4, driver.Revision{Epoch: 1, Number: 4}}}, 1, forgot)
	clock, known, _ := tags.Get()
	assert.Equal(t, uint64(5), clock)
	assert.False(t, known)
	assert.Equal(t, []uint32{7}, tags.Unknown([]uint32{7}))
	_, _, forgot = tags.Get()
	tags.LearnSlots([]SlotRead{{7, 4, driver.Revision{Epoch: 1, Number: 4}}}, 2, forgot)
	assert.Empty(t, tags.Unknown([]uint32{7}))
}

// TestTags_EndsWhatIsNear: a watermark that rises unheard is told of once, and only where
// something with its slot may be near.
func TestTags_EndsWhatIsNear(t *testing.T) {
	tags := newTags(t)
	read := []SlotRead{{7, 4, driver.Revision{Epoch: 1, Number: 4}}}
	assert.Empty(t, tags.LearnSlots(read, 1, 0))
	assert.True(t, tags.Admits([]uint32{7}, 4))
	assert.False(t, tags.Admits([]uint32{7}, 3))
	read[0].Watermark = 9
	assert.Equal(t, []uint32{7}, tags.LearnSlots(read, 2, 0))
	assert.Empty(t, tags.LearnSlots(read, 3, 0))
	assert.Equal(t, uint64(9), tags.Ended())
}

// TestTags_Advance: a node that hears of an InvalidateTags from the journal alone knows
// the tag clock that it raised, or what it loads next would be dead on arrival. A clock that
// is far ahead of the journal has to be read.
func TestTags_Advance(t *testing.T) {
	var tags Tags
	tags.Learn(100, 1, 0)
	tags.Advance(200)
	clock, known, _ := tags.Get()
	assert.Equal(t, []any{uint64(200), true}, []any{clock, known})
	tags.Advance(150)
	tags.Advance(driver.MaxRevision)
	clock, known, _ = tags.Get()
	assert.Equal(t, []any{uint64(200), true}, []any{clock, known})
	tags.Learn(200+clockAhead, 2, 0)
	tags.Advance(200)
	clock, known, _ = tags.Get()
	assert.Equal(t, []any{200 + clockAhead, false}, []any{clock, known})
}

// TestTags_NewsDuringARead: a read of the tag clock and of a watermark that news came into
// may have found what was there before. It makes neither of them known.
func TestTags_NewsDuringARead(t *testing.T) {
	const slot = 7
	found := []SlotRead{{slot, 100, driver.Revision{Epoch: 1, Number: 100}}}
	later := driver.Revision{Epoch: 1, Number: 200}
	for name, news := range map[string]func(*Tags){
		"a gap":       (*Tags).ForgetAll,
		"own write":   func(tags *Tags) { tags.Forget(slot) },
		"unsure":      func(tags *Tags) { tags.Doubt(slot) },
		"the bus":     func(tags *Tags) { tags.Hear(slot, later) },
		"the journal": func(tags *Tags) { tags.Repair(slot, later) },
		"clock ahead": func(tags *Tags) { tags.Advance(1) },
		"nothing":     func(*Tags) {},
	} {
		var tags Tags
		tags.Learn(2*clockAhead, 1, 0)
		_, _, forgot := tags.Get()
		news(&tags)
		tags.Learn(100, 2, forgot)
		tags.LearnSlots(found, 2, forgot)
		_, known, _ := tags.Get()
		assert.Equal(t, name == "nothing", known, name)
		assert.Equal(t, name == "nothing", len(tags.Unknown([]uint32{slot})) == 0, name)
	}
}

// TestTags_OwnWritesAreNoNews: the journal tells nothing new of a write of this node, whatever
// was read or written since. Of another's write that came before it, it does.
func TestTags_OwnWritesAreNoNews(t *testing.T) {
	const slot = 7
	at := func(number uint64) driver.Revision { return driver.Revision{Epoch: 1, Number: number} }
	write := func(tags *Tags, number uint64) {
		tags.Learn(number, 1, 0)
		tags.Wrote([]SlotRead{{slot, number, at(number)}})
	}
	read := func(tags *Tags, number uint64) { tags.LearnSlots([]SlotRead{{slot, number, at(number)}}, 1, 0) }
	for name, since := range map[string]func(*Tags){
		"nothing":                   func(*Tags) {},
		"a read that began before":  func(tags *Tags) { read(tags, 100) },
		"a read":                    func(tags *Tags) { read(tags, 300) },
		"a read, and another write": func(tags *Tags) { read(tags, 300); write(tags, 400) },
	} {
		tags := newTags(t)
		write(tags, 200)
		since(tags)
		tags.Admits([]uint32{slot}, 1000)
		assert.True(t, tags.Covers(slot, at(200)), name)
		ended, news := tags.Repair(slot, at(200))
		assert.Equal(t, []any{false, false}, []any{ended, news}, name)
		_, news = tags.Repair(slot, at(150))
		assert.Equal(t, name == "nothing" || name == "a read that began before", news, name)
	}
}

// TestTags_ToldAndNotRead: of a tag whose invalidation was told of, the watermark decides and
// not the tag clock, which a server may have answered that was deposed.
func TestTags_ToldAndNotRead(t *testing.T) {
	const slot = 7
	raised := driver.Revision{Epoch: 1, Number: 200}
	for name, tell := range map[string]func(*Tags){
		"bus":     func(tags *Tags) { tags.Hear(slot, raised) },
		"journal": func(tags *Tags) { tags.Repair(slot, raised) },
	} {
		tags := newTags(t)
		r := &driver.Record{Slots: []uint32{slot}, TagClock: 100}
		tags.Learn(100, 1, 0)
		assert.Empty(t, tags.Missing(r, true, true, nil), name)
		tell(tags)
		_, _, forgot := tags.Get()
		tags.Learn(100, 2, forgot) // as it was before
		assert.Equal(t, []uint32{slot}, tags.Missing(r, true, true, nil), name)
		tags.LearnSlots([]SlotRead{{slot, 200, raised}}, 3, forgot)
		_, live := tags.Judge(r, nil)
		assert.False(t, live, name)
		r.TagClock = 200
		assert.Empty(t, tags.Missing(r, true, true, nil), name)
	}
}

// TestTags_Lost: a record of a slot whose watermark is not there is dead, as new as it may be
// and whatever was known before, until a watermark was read, or this node made one and was
// told of none.
func TestTags_Lost(t *testing.T) {
	const slot = 7
	slots, before := []uint32{slot}, []SlotRead{{slot, 4, driver.Revision{Epoch: 1, Number: 4}}}
	made := []SlotRead{{slot, 9, driver.Revision{Epoch: 1, Number: 10}}}
	r := &driver.Record{Slots: slots, TagClock: 9}
	for name, c := range map[string]struct {
		then func(*Tags)
		live bool
	}{
		"nothing":               {func(*Tags) {}, false},
		"it is read":            {func(tags *Tags) { tags.LearnSlots(made, 3, 0) }, true},
		"news":                  {func(tags *Tags) { tags.Hear(slot, made[0].Revision) }, false},
		"it is made":            {func(tags *Tags) { tags.Made(made) }, true},
		"it is made after news": {func(tags *Tags) { tags.Hear(slot, made[0].Revision); tags.Made(made) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			tags := newTags(t)
			tags.Learn(9, 1, 0)
			tags.LearnSlots(before, 1, 0)
			_, live := tags.Judge(r, nil)
			require.True(t, live)
			assert.Empty(t, tags.Unseen(slots, nil))
			tags.Lose(slots)
			c.then(tags)
			_, live = tags.Judge(r, nil)
			assert.Equal(t, c.live, live)
			if !c.live {
				assert.Equal(t, slots, tags.Missing(r, true, true, nil), "it is read although the record's tag clock is the newest")
				assert.Equal(t, slots, tags.Unseen(slots, nil), "and made before a value is stored")
			}
		})
	}
}
