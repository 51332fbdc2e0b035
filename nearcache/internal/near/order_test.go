package near_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/internal/near"
)

// room is for how many entries there is room in tiers of these tests.
const room = 1000

func newOrdered(t *testing.T) (*near.Tier, *near.Space) {
	tier := newTier(t, near.Config{Bytes: room * near.Overhead})
	return tier, tier.Space(0)
}

// load installs a value under each of some keys, and returns the entries.
func load(t *testing.T, tier *near.Tier, s *near.Space, prefix string, n int) (loaded []*value) {
	t.Helper()
	for i := range n {
		v := entry(tier.Stamp(), i)
		require.True(t, install(s, fmt.Sprint(prefix, i), v))
		loaded = append(loaded, v)
	}
	return loaded
}

// hit reads the keys so many times each, and returns how many were there.
func hit(s *near.Space, prefix string, n, times int) (found int) {
	for i := range n {
		key := fmt.Sprint(prefix, i)
		e := s.Find(key, s.Hash(key))
		if e == nil {
			continue
		}
		found++
		for range times {
			e.Hit()
		}
	}
	return found
}

func TestOrder_WhatFitsStays(t *testing.T) {
	tier, s := newOrdered(t)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() { load(t, tier, s, fmt.Sprint(g, ":"), room/8) })
	}
	wg.Wait()
	for g := range 8 {
		assert.Equal(t, room/8, hit(s, fmt.Sprint(g, ":"), room/8, 0))
	}
	assert.Zero(t, tier.Stats().Evicted)
	load(t, tier, s, "one too many", 1)
	assert.EqualValues(t, 1, tier.Stats().Evicted)
}

func TestOrder_AScanLeavesWhatIsRead(t *testing.T) {
	tier, s := newOrdered(t)
	load(t, tier, s, "hot", room/2)
	hit(s, "hot", room/2, 2)
	load(t, tier, s, "scan", 10*room)
	assert.Equal(t, room/2, hit(s, "hot", room/2, 0))
}

func TestOrder_AGhostComesBackForGood(t *testing.T) {
	tier, s := newOrdered(t)
	v := load(t, tier, s, "k", 1)[0]
	assert.Equal(t, "probation", v.Queue())
	load(t, tier, s, "others", room)
	require.Equal(t, -1, get(s, "k0"))
	v = load(t, tier, s, "k", 1)[0]
	assert.Equal(t, "main", v.Queue())
	load(t, tier, s, "more", room/2)
	assert.Equal(t, 0, get(s, "k0"))

	load(t, tier, s, "long", 10*room)
	require.Equal(t, -1, get(s, "others1"))
	v = load(t, tier, s, "others", 2)[1]
	assert.Equal(t, "probation", v.Queue(), "ghosts do not stay")
}

func TestOrder_WhatTakesAPlaceKeepsIt(t *testing.T) {
	tier, s := newOrdered(t)
	load(t, tier, s, "hot", 1)
	hit(s, "hot", 1, 2)
	load(t, tier, s, "others", room)
	v := entry(tier.Stamp(), 7)
	v.Charge(100)
	require.True(t, install(s, "hot0", v))
	assert.Equal(t, "main", v.Queue())

	s.Invalidate("hot0", s.Hash("hot0"))
	assert.Equal(t, "none", v.Queue())
	v = load(t, tier, s, "hot", 1)[0]
	assert.Equal(t, "main", v.Queue(), "it had earned its place before it was written")
}

// TestOrder_TurnsAreFew: nobody waits for a walk through all entries although every one
// was a hit, and there is never much too much.
func TestOrder_TurnsAreFew(t *testing.T) {
	tier, s := newOrdered(t)
	load(t, tier, s, "k", room)
	for range 10 {
		hit(s, "k", room, 3)
		before := tier.Turns()
		load(t, tier, s, "more", 1)
		assert.LessOrEqual(t, tier.Turns()-before, 64)
		assert.LessOrEqual(t, tier.Stats().Bytes, int64(room*near.Overhead*65/64))
		s.Invalidate("more0", s.Hash("more0"))
	}
	for i := range 200 {
		load(t, tier, s, fmt.Sprint("and more", i, ":"), 1)
		hit(s, "k", room, 3)
		hit(s, fmt.Sprint("and more", i, ":"), 1, 3)
		require.LessOrEqual(t, tier.Stats().Bytes, int64(room*near.Overhead*65/64))
	}
}

// TestOrder_AtRandom has everything happen that can, and the queues agree with the index.
func TestOrder_AtRandom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := newTier(t, near.Config{Bytes: 16 << 20})
		s := tier.Space(0)
		r := rand.New(rand.NewPCG(1, 2))
		cores := 0
		for i := range 60_000 {
			key := fmt.Sprint(int(r.ExpFloat64() * 300))
			switch e := s.Find(key, s.Hash(key)); {
			case r.IntN(50) == 0:
				s.Invalidate(key, s.Hash(key))
			case e == nil || r.IntN(20) == 0:
				v := entry(tier.Stamp(), i)
				v.Charge(int64(20_000 + r.IntN(20_000)))
				require.True(t, install(s, key, v))
			default:
				e.Hit()
				if e.Queue() == "core" {
					cores++
				}
			}
			if i%1000 == 0 {
				synctest.Wait()
				require.NoError(t, tier.CheckInvariants())
			}
		}
		assert.Positive(t, cores)
		assert.Positive(t, tier.Stats().Evicted)
	})
}
