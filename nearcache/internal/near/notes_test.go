package near_test

import (
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"github.com/nearbus/nearbus/nearcache/internal/near"
)

const manyAccesses = 64 * 100

// noted returns of how many accesses the policy is to be told.
func noted(tier *near.Tier, first, every uint64) (n int) {
	for i := range uint64(manyAccesses) {
		if tier.Notes(first + i*every) {
			n++
		}
	}
	return n
}

// TestNotes_AreFewWhileEverythingFits: and work that repeats itself does not hide
// from them.
func TestNotes_AreFewWhileEverythingFits(t *testing.T) {
	tier := newTier(t, near.Config{})
	for _, every := range []uint64{1, 2, 3, 5, 7, 16, 31, 64, 1000, 1 << 20} {
		for first := range min(every, 64) {
			assert.InDelta(t, manyAccesses/64, noted(tier, first, every), 30, "every %d from %d", every, first)
		}
	}
}

func TestNotes_ArePaidForByWhatIsGivenUp(t *testing.T) {
	bubble(t, near.Config{}, func(t *testing.T, tier *near.Tier, s *near.Space) {
		for i := 0; tier.Stats().Evicted == 0; i++ {
			install(s, strconv.Itoa(i), entry(tier.Stamp(), i))
		}
		synctest.Wait() // for the policy
		assert.Equal(t, manyAccesses, noted(tier, 0, 1))
		for range 16 * tier.Stats().Evicted {
			tier.Touch(1, nil)
		}
		assert.InDelta(t, manyAccesses/64, noted(tier, 0, 1), 30)
	})
}
