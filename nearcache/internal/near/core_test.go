package near_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/internal/near"
)

const (
	coreRoom = 500      // entries for which there is room in a tier with a core
	coreCost = 33 << 10 // of each
)

// loads installs values under so many keys with this prefix.
type loads func(prefix string, n int) []*value

// pass has others come, who are read for a while.
func (load loads) pass(s *near.Space, name string, round int) {
	prefix := fmt.Sprint(name, round, ":")
	for i := range 10 {
		load(fmt.Sprint(prefix, i, ":"), 10)
		hit(s, fmt.Sprint(prefix, i, ":"), 10, 2)
	}
}

// cored runs test with a tier that has a core, and loads keys into it.
func cored(t *testing.T, test func(t *testing.T, tier *near.Tier, s *near.Space, load loads)) {
	synctest.Test(t, func(t *testing.T) {
		tier := newTier(t, near.Config{Bytes: 16 << 20})
		s := tier.Space(0)
		test(t, tier, s, func(prefix string, n int) (loaded []*value) {
			for i := range n {
				v := entry(tier.Stamp(), i)
				v.Charge(coreCost - near.Overhead)
				require.True(t, install(s, fmt.Sprint(prefix, i), v))
				synctest.Wait() // for ristretto
				loaded = append(loaded, v)
			}
			return loaded
		})
	})
}

// settled returns how many of these are in the core.
func settled(values []*value) (n int) {
	for _, v := range values {
		if v.Queue() == "core" {
			n++
		}
	}
	return n
}

func TestCore_IsWhatIsReadAtEveryTurn(t *testing.T) {
	cored(t, func(t *testing.T, tier *near.Tier, s *near.Space, load loads) {
		hot := load("hot", 420)
		assert.False(t, tier.Opened(), "there is nothing to decide")
		for round := 0; settled(hot) == 0; round++ {
			require.Less(t, round, 100)
			hit(s, "hot", len(hot), 3)
			load.pass(s, "more", round)
		}
		assert.LessOrEqual(t, settled(hot), coreRoom/16)

		tier.LosePolicy()
		synctest.Wait()
		for round := 0; settled(hot) > 0; round++ {
			require.Less(t, round, 100, "they stay in the core although ristretto does not have them")
			hit(s, "hot", len(hot), 3)
			load.pass(s, "later", round)
		}
	})
}

// TestCore_GivesWay: the popular of yesterday go when those of today come.
func TestCore_GivesWay(t *testing.T) {
	cored(t, func(t *testing.T, tier *near.Tier, s *near.Space, load loads) {
		old := load("old", 420)
		for round := 0; settled(old) == 0; round++ {
			require.Less(t, round, 100)
			hit(s, "old", len(old), 3)
			load.pass(s, "a", round)
		}
		today := load("today", 420)
		for round := 0; settled(old) > 0 || settled(today) == 0; round++ {
			require.Less(t, round, 100)
			hit(s, "today", len(today), 3)
			load.pass(s, "b", round)
		}
	})
}
