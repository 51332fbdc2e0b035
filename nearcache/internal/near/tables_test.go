package near_test

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/internal/near"
)

// TestMarks_NoLowerThanExact: no mark is lower than the count of the latest invalidation of its
// slot. It is no higher while there is room, but for what is two billion invalidations back;
// and no mark is higher than the count, so that what is loaded next comes near.
func TestMarks_NoLowerThanExact(t *testing.T) {
	for name, c := range map[string]struct {
		slots uint32
		jump  uint64 // between two invalidations, now and then
		bytes int64
		exact bool
	}{
		"few":         {10, 1, 64 << 20, true},
		"all":         {near.Slots, 1, 64 << 20, true},
		"billions":    {1000, 1 << 31, 64 << 20, false},
		"more":        {1000, 1 << 33, 64 << 20, false},
		"little room": {1000, 1, 64 << 10, false},
		"both":        {1000, 1 << 31, 64 << 10, false},
	} {
		t.Run(name, func(t *testing.T) {
			tier := newTier(t, near.Config{Bytes: c.bytes})
			s, other := tier.Space(0), tier.Space(0)
			dice, marks := rand.New(rand.NewPCG(1, 2)), map[uint32]uint64{}
			for range 50_000 {
				if dice.IntN(20) == 0 {
					tier.Invalidations(tier.Count() + dice.Uint64N(c.jump))
				}
				slots := []uint32{dice.Uint32N(c.slots), dice.Uint32N(c.slots)}
				s.InvalidateSlots(slots)
				other.InvalidateSlots(slots[:1])
				marks[slots[0]], marks[slots[1]] = tier.Count()-1, tier.Count()-1
				slot := dice.Uint32N(c.slots)
				for _, slot := range append(slots, slot) {
					switch mark, exact := s.Mark(slot), marks[slot]; {
					case mark < exact, mark > tier.Count(), mark > exact && c.exact:
						t.Fatalf("the mark of slot %d is %d, want %d; count %d", slot, mark, exact, tier.Count())
					case mark > exact && c.bytes > 1<<20 && tier.Count()-mark < 1<<30:
						t.Fatalf("the mark of slot %d is %d, want %d: what came lately stays; count %d", slot, mark, exact, tier.Count())
					}
				}
			}
			require.NoError(t, tier.CheckInvariants())
			assert.LessOrEqual(t, tier.Stats().Tables, max(c.bytes/2, 512))
			assert.Equal(t, tier.Stats().Tables, s.Share().Tables+other.Share().Tables)
		})
	}
}

// TestMarks_Bytes: the marks of all slots take 4 bytes each, those of a few little, and those
// of none nothing.
func TestMarks_Bytes(t *testing.T) {
	tier := newTier(t, near.Config{Bytes: 64 << 20})
	for slots, most := range map[uint32]int64{0: 0, 1: 128, 100: 3 << 10, near.Slots: 4*near.Slots + 64} {
		s := tier.Space(0)
		for slot := range slots {
			s.InvalidateSlots([]uint32{slot})
		}
		assert.LessOrEqual(t, s.Share().Tables, most, slots)
	}
}

// TestTables_CountAgainstBytes: what tables take, entries have not.
func TestTables_CountAgainstBytes(t *testing.T) {
	const bytes = 2 << 20
	tier := newTier(t, near.Config{Bytes: bytes})
	s := tier.Space(0)
	fill := func(from int) {
		for i := range 20_000 {
			e := entry(tier.Stamp(), 1)
			e.Charge(120)
			install(s, strconv.Itoa(from+i), e)
		}
	}
	sum := func() int64 { stats := tier.Stats(); return stats.Bytes + stats.Tables }
	fill(0)
	require.Greater(t, sum(), int64(bytes*9/10))
	for range 5 {
		tagged := tier.Space(0)
		for slot := uint32(0); slot < near.Slots; slot += 16 {
			some := make([]uint32, 16)
			for i := range some {
				some[i] = slot + uint32(i)
			}
			tagged.InvalidateSlots(some)
			assert.LessOrEqual(t, sum(), int64(bytes+bytes/64), "at once, and not with the next entry")
		}
	}
	assert.Greater(t, tier.Stats().Tables, int64(bytes/4))
	assert.LessOrEqual(t, tier.Stats().Tables, int64(bytes/2+1024), "and half is for entries")
	fill(50_000)
	require.Greater(t, sum(), int64(bytes*9/10))
	require.LessOrEqual(t, sum(), int64(bytes+bytes/64))
	require.NoError(t, tier.CheckInvariants())
}

// TestMarks_WithoutRoom: where there is no room for marks, every invalidation of a tag ends all
// that is tagged, and what is loaded next comes near.
func TestMarks_WithoutRoom(t *testing.T) {
	tier := newTier(t, near.Config{Bytes: 64 << 10})
	s := tier.Space(0)
	require.True(t, s.Resize(0, 64<<10, true))
	for slot := range uint32(100) {
		require.True(t, install(s, "a", withSlots(entry(tier.Stamp(), 1), slot+100)))
		require.True(t, install(s, "b", entry(tier.Stamp(), 2)))
		s.InvalidateSlots([]uint32{slot + 100})
		assert.Equal(t, -1, get(s, "a"))
	}
}

// TestMarks_Beside: looks go on beside raises, and none misses a raise that is over.
func TestMarks_Beside(t *testing.T) {
	tier := newTier(t, near.Config{Bytes: 64 << 20})
	s := tier.Space(0)
	var raisers, lookers sync.WaitGroup
	done := make(chan struct{})
	for part := range uint32(4) {
		raisers.Go(func() { // ends when all slots of its part are marked
			for slot := part; slot < near.Slots; slot += 4 {
				before := tier.Count()
				s.InvalidateSlots([]uint32{slot})
				if s.Mark(slot) <= before {
					t.Errorf("the mark of slot %d was lost", slot)
				}
			}
		})
		lookers.Go(func() { // ends with done
			for slot := part; ; slot += 7 {
				select {
				case <-done:
					return
				default:
					s.Mark(slot % near.Slots)
				}
			}
		})
	}
	raisers.Wait()
	close(done)
	lookers.Wait()
	for slot := range uint32(near.Slots) {
		require.NotZero(t, s.Mark(slot))
	}
}
