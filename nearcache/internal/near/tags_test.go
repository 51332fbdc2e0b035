package near_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/near"
)

func withSlots(v *value, slots ...uint32) *value {
	v.Tag(slots)
	return v
}

func TestTags(t *testing.T) {
	t.Run("end what has their slot", func(t *testing.T) {
		tier := newTier(t, near.Config{})
		s, other := tier.Space(0), tier.Space(0)
		require.True(t, install(s, "a", withSlots(entry(tier.Stamp(), 1), 5, 300)))
		require.True(t, install(s, "b", withSlots(entry(tier.Stamp(), 2), 6, near.Slots-1)))
		require.True(t, install(s, "c", entry(tier.Stamp(), 3)))
		require.True(t, install(other, "a", withSlots(entry(tier.Stamp(), 4), 5)))
		assert.Equal(t, 1, get(s, "a"))
		s.InvalidateSlots([]uint32{300})
		assert.Equal(t, -1, get(s, "a"))
		assert.Equal(t, 2, get(s, "b"))
		assert.Equal(t, 3, get(s, "c"))
		assert.Equal(t, 4, get(other, "a"))
		s.InvalidateSlots([]uint32{0, near.Slots - 1})
		assert.Equal(t, -1, get(s, "b"))
		assert.Equal(t, 3, get(s, "c"))
		require.True(t, install(s, "a", withSlots(entry(tier.Stamp(), 5), 5, 300)))
		assert.Equal(t, 5, get(s, "a"))
	})
	t.Run("fence what was under way", func(t *testing.T) {
		tier := newTier(t, near.Config{})
		s := tier.Space(0)
		stamp := tier.Stamp()
		s.InvalidateSlots([]uint32{5})
		assert.False(t, install(s, "a", withSlots(entry(stamp, 1), 4, 5)))
		assert.Equal(t, -1, get(s, "a"))
		assert.EqualValues(t, 1, tier.Stats().Fenced)
		assert.True(t, install(s, "b", withSlots(entry(stamp, 2), 4)), "it has another")
		assert.True(t, install(s, "c", entry(stamp, 3)), "it has none")
	})
	t.Run("let nobody join what was under way", func(t *testing.T) {
		tier := newTier(t, near.Config{})
		s, other := tier.Space(0), tier.Space(0)
		stamp := tier.Stamp()
		assert.True(t, s.Valid(s.Hash("a"), stamp))
		s.InvalidateSlots([]uint32{5})
		assert.False(t, s.Valid(s.Hash("a"), stamp))
		assert.True(t, s.Valid(s.Hash("a"), tier.Stamp()))
		assert.True(t, other.Valid(s.Hash("a"), stamp))
	})
	t.Run("end an own write that was under way", func(t *testing.T) {
		tier := newTier(t, near.Config{})
		s := tier.Space(0)
		w := s.Begin("a", s.Hash("a"))
		s.InvalidateSlots([]uint32{5})
		w.Finish(withSlots(written(1, 1), 5).of("a"), time.Minute)
		assert.Equal(t, -1, get(s, "a"))
		w = s.Begin("a", s.Hash("a"))
		require.True(t, w.Finish(withSlots(written(2, 2), 5).of("a"), time.Minute))
		assert.Equal(t, 2, get(s, "a"))
	})
	t.Run("make room for an older revision", func(t *testing.T) {
		tier := newTier(t, near.Config{})
		s := tier.Space(0)
		require.True(t, install(s, "a", withSlots(read(7, 2, tier.Stamp(), 2), 5)))
		s.InvalidateSlots([]uint32{5})
		require.True(t, install(s, "a", read(7, 1, tier.Stamp(), 1)), "what is dead is not newer")
		assert.Equal(t, 1, get(s, "a"))
	})
	t.Run("count for memory", func(t *testing.T) {
		tier := newTier(t, near.Config{})
		s := tier.Space(0)
		require.True(t, install(s, "a", withSlots(entry(tier.Stamp(), 1), 1, 2, 3)))
		extra := 32
		if strconv.IntSize == 32 {
			extra = 16
		}
		assert.EqualValues(t, near.Overhead+extra+12, tier.Stats().Bytes)
	})
	if fault.Compiled {
		t.Run("end nothing without marks", func(t *testing.T) {
			tier := newTier(t, near.Config{Faults: fault.Without(fault.TagMarks)})
			s := tier.Space(0)
			require.True(t, install(s, "a", withSlots(entry(tier.Stamp(), 1), 5)))
			s.InvalidateSlots([]uint32{5})
			assert.Equal(t, 1, get(s, "a"), "the tests see what they are for")
		})
	}
}

// TestTrust_OfSlots: an entry is trusted no further than the partitions that
// tell of its slots.
func TestTrust_OfSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := newTier(t, near.Config{Partitions: 3, MaxStaleness: 5 * time.Second})
		s := tier.Space(0)
		s.Place(func() int { return 0 }, func(slot uint32) int { return int(slot % 3) })
		require.True(t, install(s, "a", withSlots(entry(tier.Stamp(), 1), 0, 1)))
		require.True(t, install(s, "b", withSlots(entry(tier.Stamp(), 2), 0, 2)))
		require.True(t, install(s, "c", entry(tier.Stamp(), 3)))
		time.Sleep(4 * time.Second)
		tier.Confirm(0, tier.Now())
		tier.Confirm(1, tier.Now())
		time.Sleep(4 * time.Second)
		assert.Equal(t, 1, get(s, "a"))
		assert.Equal(t, -1, get(s, "b"), "nobody told of slot 2")
		assert.Equal(t, 3, get(s, "c"))
		tier.Confirm(2, tier.Now())
		assert.Equal(t, 2, get(s, "b"))
		time.Sleep(4 * time.Second)
		read := withSlots(entry(tier.Stamp(), 4), 0, 2)
		read.FromShared = true
		require.True(t, install(s, "d", read))
		tier.Confirm(0, tier.Now())
		tier.Confirm(1, tier.Now())
		time.Sleep(2 * time.Second)
		assert.Equal(t, -1, get(s, "d"), "that it was read 2 s ago says nothing of slot 2")
	})
}
