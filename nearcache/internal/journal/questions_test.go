package journal

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/shared/driver"
)

// TestHasReached: a node has reached what another one knows once it has applied as much of
// each journal. A journal that there is none of is nothing to wait for.
func TestHasReached(t *testing.T) {
	f := &Follower{applied: make([]atomic.Pointer[driver.Revision], 2)}
	f.applied[0].Store(&driver.Revision{Epoch: 1, Number: 5})
	for name, c := range map[string]struct {
		known bus.Position
		want  bool
	}{
		"reached":           {bus.Position{Partition: 0, Epoch: 1, Revision: 5}, true},
		"not yet":           {bus.Position{Partition: 0, Epoch: 1, Revision: 6}, false},
		"another epoch":     {bus.Position{Partition: 0, Epoch: 2, Revision: 5}, false},
		"never read":        {bus.Position{Partition: 1, Epoch: 1, Revision: 1}, false},
		"no such partition": {bus.Position{Partition: 2, Epoch: 1, Revision: 1}, true},
	} {
		assert.Equal(t, c.want, f.hasReached(bus.Positions{Partitions: 2, Known: []bus.Position{c.known}}), name)
	}
	assert.True(t, f.hasReached(bus.Positions{Partitions: 3, Known: []bus.Position{{Partition: 1}}}), "cannot be compared")
}
