package simulate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestGarbage: nodes count what they cannot read on the bus and in the shared tier, and
// break no promise. The counters show that the names are those of the fleet.
func TestGarbage(t *testing.T) {
	p := NewPlan(1)
	p.Store, p.Bus, p.Nodes, p.Length, p.Only = Redis, SameRedis, 2, 60*time.Second, []string{"garbage-bus", "garbage-records"}
	p.draw()
	require.NotEmpty(t, p.Strikes)
	r := simulate(t, p)
	assert.Empty(t, r.Violations)
	var malformed, corrupt uint64
	for _, l := range r.fleet.lives {
		malformed += l.bus.Stats().Malformed
		corrupt += l.shared.Stats().Corrupt
	}
	assert.Positive(t, malformed)
	assert.Positive(t, corrupt)
}
