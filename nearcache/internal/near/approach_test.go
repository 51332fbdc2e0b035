package near_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/internal/near"
)

// TestApproach: it gets to every entry that is there, and is content with none.
func TestApproach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := newTier(t, near.Config{})
		s := tier.Space(0)
		var hashes []uint64
		for i := range 200 {
			key := fmt.Sprint("a", i)
			hashes = append(hashes, s.Hash(key))
			if i%2 == 0 {
				require.True(t, install(s, key, entry(tier.Stamp(), i)))
			}
		}
		assert.EqualValues(t, 100*'a', s.Approach(hashes), "the first byte of each key that is there")
		assert.Zero(t, s.Approach(nil))
	})
}
