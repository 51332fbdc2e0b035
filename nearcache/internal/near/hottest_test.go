package near_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/internal/near"
)

// names returns the keys of entries.
func names(entries []*near.Entry) (keys []string) {
	for _, e := range entries {
		keys = append(keys, e.Key())
	}
	return keys
}

// TestHottest: what was read more often comes first, also once entries have had turns.
func TestHottest(t *testing.T) {
	tier, s := newOrdered(t)
	for i, prefix := range []string{"unread", "once", "twice", "often"} {
		load(t, tier, s, prefix, 1)
		hit(s, prefix, 1, i)
	}
	load(t, tier, tier.Space(0), "another's", 1)
	assert.Equal(t, []string{"often0", "twice0", "once0", "unread0"}, names(s.Hottest(10)))
	assert.Equal(t, []string{"often0", "twice0"}, names(s.Hottest(2)))

	load(t, tier, s, "scan", 10*room) // those that were read have had turns
	got := s.Hottest(room)
	assert.Subset(t, names(got), []string{"often0", "twice0", "once0"})
	turned := slices.IndexFunc(got, func(e *near.Entry) bool { return e.Queue() == "probation" })
	require.Positive(t, turned)
	assert.Subset(t, names(got[:turned]), []string{"often0", "twice0", "once0"})
	for _, e := range got[turned:] {
		assert.Equal(t, "probation", e.Queue())
	}
}

// TestHottest_Bounded: it returns the best of all, wherever the index has them.
func TestHottest_Bounded(t *testing.T) {
	tier, s := newOrdered(t)
	load(t, tier, s, "cold", room/2)
	load(t, tier, s, "hot", 20)
	hit(s, "hot", 20, 1)
	got := names(s.Hottest(20))
	require.Len(t, got, 20)
	for _, key := range got {
		assert.Contains(t, key, "hot")
	}
	assert.Len(t, s.Hottest(2*room), room/2+20)
	assert.Empty(t, tier.Space(0).Hottest(10))
}

// TestHottest_Lives: what was invalidated, and what is of a space that was closed, is no more.
func TestHottest_Lives(t *testing.T) {
	tier, s := newOrdered(t)
	load(t, tier, s, "k", 3)
	s.Invalidate("k1", s.Hash("k1"))
	assert.ElementsMatch(t, []string{"k0", "k2"}, names(s.Hottest(10)))
	s.Clear()
	assert.Empty(t, s.Hottest(10))
	load(t, tier, s, "l", 1)
	s.Close()
	assert.Empty(t, s.Hottest(10))
}

// TestSpare: it is what may come in before a sixteenth is left.
func TestSpare(t *testing.T) {
	tier, s := newOrdered(t)
	all := tier.Spare()
	assert.EqualValues(t, room*near.Overhead-room*near.Overhead/16, all)
	load(t, tier, s, "k", 100)
	assert.Equal(t, all-100*near.Overhead, tier.Spare())
}

func BenchmarkHottest(b *testing.B) {
	tier, err := near.New(near.Config{Bytes: 256 << 20})
	require.NoError(b, err)
	defer tier.Close()
	s := tier.Space(0)
	for i := range 1_000_000 {
		key := fmt.Sprint("key:", i)
		install(s, key, entry(tier.Stamp(), i))
		if e := s.Find(key, s.Hash(key)); i%10 == 0 && e != nil {
			e.Hit()
		}
	}
	for b.Loop() {
		s.Hottest(10_000)
	}
}
