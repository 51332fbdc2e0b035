package near_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/internal/near"
)

// TestSpace_Close: what a space has goes, what is under way leaves nothing, and its number is
// that of the next space, which has nothing of it.
func TestSpace_Close(t *testing.T) {
	tier := newTier(t, near.Config{Bytes: 1 << 20})
	stays, s := tier.Space(0), tier.Space(0)
	require.True(t, install(stays, "k", read(1, 1, tier.Stamp(), 1)))
	require.True(t, install(s, "k", read(1, 1, tier.Stamp(), 2)))
	s.InvalidateSlots([]uint32{7})
	stamp := tier.Stamp()
	write := s.Begin("written", s.Hash("written"))
	refresh := s.BeginRefresh("k", s.Hash("k"))
	s.Close()
	s.Close()
	assert.Equal(t, -1, get(s, "k"))
	assert.Equal(t, 1, get(stays, "k"))
	assert.EqualValues(t, 1, tier.Stats().Entries)

	next := tier.Space(0)
	assert.Equal(t, 2, tier.Numbers())
	require.True(t, install(next, "k", read(1, 1, tier.Stamp(), 3)))
	assert.False(t, install(s, "k", read(1, 2, stamp, 4)))
	assert.False(t, install(s, "k", read(1, 2, tier.Stamp(), 4)))
	assert.False(t, write.Finish(written(9, 4).of("written"), 1<<40))
	assert.False(t, refresh.Refresh(read(1, 9, tier.Stamp(), 4).of("k"), 1<<40))
	refresh.EndRefresh()
	s.Supersede("new", s.Hash("new"), entry(tier.Stamp(), 4).of("new"), 1<<40, tier.Stamp())
	tier.Flush()
	assert.EqualValues(t, 2, tier.Stats().Entries)
	require.NoError(t, tier.CheckInvariants())
	s.Close() // late: the number is that of another space
	require.True(t, install(next, "again", read(1, 1, tier.Stamp(), 5)))
	assert.Equal(t, 5, get(next, "again"))
}

// TestSpace_CloseDuringEverything: whatever comes in meanwhile is gone once Close has returned.
func TestSpace_CloseDuringEverything(t *testing.T) {
	tier := newTier(t, near.Config{Bytes: 1 << 20})
	stays := tier.Space(0)
	var others sync.WaitGroup
	for round := range 200 {
		s := tier.Space(0)
		begun := make(chan struct{})
		for i := range 3 {
			others.Go(func() {
				for n := range 50 {
					key := fmt.Sprint(n % 7)
					if n == 5 && i == 0 {
						close(begun)
					}
					install(s, key, read(1, uint64(n+1), tier.Stamp(), n))
					w := s.Begin(key, s.Hash(key))
					w.Finish(written(uint64(n+1), n).of(key), 1<<40)
					install(stays, key, read(1, uint64(round*50+n+1), tier.Stamp(), n))
				}
			})
		}
		<-begun
		s.Close()
		if round%2 == 0 {
			others.Wait()
			require.Equal(t, stays.Share().Entries, tier.Stats().Entries)
		}
	}
	others.Wait()
	assert.LessOrEqual(t, tier.Numbers(), 3)
	require.NoError(t, tier.CheckInvariants())
}
