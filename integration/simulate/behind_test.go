package simulate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestBehind: loaders read replicas that are behind. With SourceLag no value from there
// outlives it. Without it, some do, and the same rules find them.
func TestBehind(t *testing.T) {
	run := func(lag time.Duration) (broken int) {
		for seed := range uint64(4) {
			p := NewPlan(seed + 1)
			p.Store, p.Bus, p.Nodes, p.Length, p.Features = Redis, OtherRedis, 3, 30*time.Second, false
			p.JournalInterval, p.MaxStaleness = 200*time.Millisecond, 500*time.Millisecond
			p.Behind, p.SourceLag = time.Second, lag
			p.draw()
			broken += len(simulate(t, p).Violations)
		}
		return broken
	}
	assert.Zero(t, run(time.Second))
	assert.Positive(t, run(0))
}
