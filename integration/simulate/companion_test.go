package simulate

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSpoiled: the oracle finds an operation that does not do what it says: a Touch or a Warm that
// stores what it has read, a Refresh that loads nothing, a Node.Invalidate that leaves out a cache,
// and a Cache.Close that closes nothing.
func TestSpoiled(t *testing.T) {
	for call, promises := range map[Call][]string{
		Touch: {"G1", "G4"}, Refresh: {"G1", "G4"}, Together: {"G1", "G4"}, CloseCaches: {"Close"},
		Warm: {"G1", "G4"},
	} {
		t.Run(string(call), func(t *testing.T) {
			p := NewPlan(7)
			p.Store, p.Bus, p.Nodes, p.Length, p.Features, p.Slow = Redis, SameRedis, 3, 30*time.Second, false, false
			p.Behind, p.SourceLag, p.Neighbours = 0, 0, 0
			p.draw()
			p.Strikes = nil
			require.Empty(t, simulate(t, p).Violations)
			p.Spoiled = call
			found := simulate(t, p).Violations
			assert.True(t, slices.ContainsFunc(found, func(v Violation) bool { return slices.Contains(promises, v.Promise) }), "%v", promisesOf(found))
		})
	}
}

func promisesOf(found []Violation) map[string]int {
	n := make(map[string]int)
	for _, v := range found {
		n[v.Promise]++
	}
	return n
}
