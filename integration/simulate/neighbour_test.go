package simulate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestNeighbours: what a fleet in another namespace does on the same servers changes
// nothing. Without the namespace both sides find values of the other.
func TestNeighbours(t *testing.T) {
	for _, store := range []Store{Redis, Memcached} {
		p := NewPlan(1)
		p.Store, p.Bus, p.Nodes, p.Length, p.Neighbours, p.MinReplicas = store, OtherRedis, 2, 10*time.Second, 2, 0
		p.draw()
		assert.Empty(t, simulate(t, p).Violations, "%s", store)
	}
}
