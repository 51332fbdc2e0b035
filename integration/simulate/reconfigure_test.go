package simulate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestReconfigure: processes with other times beside each other break no promise, while
// the bus is cut.
func TestReconfigure(t *testing.T) {
	p := NewPlan(1)
	p.Store, p.Bus, p.Nodes, p.Length, p.Only = Redis, OtherRedis, 3, 30*time.Second, []string{"reconfigure", "bus-cut"}
	p.draw()
	r := simulate(t, p)
	assert.Empty(t, r.Violations)
	frugal := 0
	for _, l := range r.fleet.lives {
		if l.frugal {
			frugal++
		}
	}
	assert.Positive(t, frugal)
	assert.Less(t, frugal, len(r.fleet.lives))
}
