package near_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/internal/near"
)

// TestWalk_ComesInMeanwhile: what is judged by the old mark while a walk goes by an empty head is taken out
// by it.
func TestWalk_ComesInMeanwhile(t *testing.T) {
	for name, end := range map[string]func(tier *near.Tier, s *near.Space){
		"FlushPartitions": func(tier *near.Tier, _ *near.Space) { tier.FlushPartitions([]bool{true}) },
		"Close":           func(_ *near.Tier, s *near.Space) { s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			tier := newTier(t, near.Config{Bytes: 1 << 20, Partitions: 1, MaxStaleness: time.Minute})
			s := tier.Space(0)
			ended := make(chan struct{})
			s.Guard(func(*near.Entry, uint64, bool) bool {
				go func() { end(tier, s); close(ended) }()
				select {
				case <-ended: // without a look at what comes in
				case <-time.After(50 * time.Millisecond):
				}
				return true
			})
			require.True(t, install(s, "k", read(1, 1, tier.Stamp(), 1)))
			<-ended
			assert.Zero(t, tier.Stats().Entries)
		})
	}
}
