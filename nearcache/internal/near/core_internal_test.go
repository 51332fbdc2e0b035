package near

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inCore returns an order whose core has one entry with so many hits, and whose policy has none.
func inCore(hits uint32) (*order, *Entry) {
	o, e := &order{}, &Entry{cost: small}
	o.init(&policy{}, &tables{})
	o.limit.Store(1 << 20)
	o.enter(e, coreQueue, hits)
	return o, e
}

// TestCore_WhatThePolicyLostGoesBack: an entry that the policy does not hold any more goes back to
// where it would be without one, with its hits.
func TestCore_WhatThePolicyLostGoesBack(t *testing.T) {
	o, e := inCore(2)
	o.turnCore()
	assert.Equal(t, "main", e.Queue())
	assert.EqualValues(t, 2, e.Hits())
	assert.Empty(t, o.news)
}

// TestCore_Expelled: what the policy gives up leaves, unless it was read since its last turn.
func TestCore_Expelled(t *testing.T) {
	for hits, queue := range map[uint32]string{0: "none", 1: "main"} {
		o, e := inCore(hits)
		require.Equal(t, hits == 0, o.expel(e))
		assert.Equal(t, queue, e.Queue())
		assert.False(t, o.expel(e), "it is not in the core any more")
	}
}
