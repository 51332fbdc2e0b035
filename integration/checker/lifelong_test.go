package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSoak_Lifelong: processes that live on keep their promises and do not grow.
func TestSoak_Lifelong(t *testing.T) {
	t.Parallel()
	q := request{strict: true, soak: 8 * time.Second}
	r, err := carryOut(t.Context(), q.lifelongPlan(nil))
	require.NoError(t, err)
	assert.Zero(t, r.verdict.Violations(), "%+v", r.verdict.Broken)
	require.NotEmpty(t, r.vitals)
	for _, all := range r.vitals {
		require.Len(t, all, r.plan.nodes)
		assert.Positive(t, all[0].Goroutines)
		assert.Positive(t, all[0].Heap)
	}
	assert.NoError(t, flat(r.vitals))
}

func TestFlat(t *testing.T) {
	t.Parallel()
	first := []vitals{{100, 20 << 20}, {100, 20 << 20}}
	assert.NoError(t, flat([][]vitals{first, {{110, 24 << 20}, {90, 10 << 20}}}))
	assert.ErrorIs(t, flat([][]vitals{first, first, {{100, 20 << 20}, {200, 20 << 20}}}), errGrows)
	assert.ErrorIs(t, flat([][]vitals{first, {{100, 40 << 20}, {100, 20 << 20}}}), errGrows)
}
