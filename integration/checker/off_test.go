//go:build nearbus_faults

package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
)

// TestScenarios_WithoutJournal: the checker sees what the journal is for.
func TestScenarios_WithoutJournal(t *testing.T) {
	t.Parallel()
	p := shortPlan(t, "bus-half-open")
	p.off = []string{"journal"}
	r, err := carryOut(t.Context(), p)
	require.NoError(t, err)
	assert.Positive(t, r.verdict.Late)
}

// TestScenarios_WithoutMarks: the checker sees what marks are for. Values take
// long enough on their way that writes overtake them.
func TestScenarios_WithoutMarks(t *testing.T) {
	t.Parallel()
	p := shortPlan(t, "chunks-held")
	p.keys, p.writes = 16, 400
	p.scenario.strike = onRelays(toTier, everyone, time.Second, func(r *servers.Relay) {
		r.Hold(0.2, 5*time.Millisecond, 20*time.Millisecond)
	})
	p.off = []string{"marks"}
	r, err := carryOut(t.Context(), p)
	require.NoError(t, err)
	assert.Positive(t, r.verdict.Violations())
}
