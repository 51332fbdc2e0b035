//go:build nearbus_faults

package nearcache_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/nearcachetest"
)

// TestCoherence_MechanismOff shows that the suite bites: with any one of the
// mechanisms switched off it reports a violation.
func TestCoherence_MechanismOff(t *testing.T) {
	for name, off := range map[string]fault.Mechanism{
		"marks":             fault.Marks,
		"flight forgetting": fault.Joins,
		"leases":            fault.Leases,
		"own-write rule":    fault.OwnWrites,
		"journal":           fault.Journal,
		"marks of tags":     fault.TagMarks,
		"tag clock":         fault.Watermarks,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait most of the time, for what does not come
			f := newFleet(t)
			f.store.onAfter(slow)
			f.off = fault.Without(off)
			if off == fault.Journal {
				// What a store announces has no number, by which a loss would
				// be noticed.
				f.journal, f.announces, f.lossy = true, true, true
			}
			// Interleavings are drawn by chance: one round may miss them.
			var err error
			for round := 0; err == nil && round < 10; round++ {
				err = nearcachetest.Check(t.Context(), f.suite())
			}
			require.Error(t, err)
			t.Logf("without %s the suite reports:\n%v", name, err)
		})
	}
}

// TestCoherence_FeaturesOff shows that the suite bites.
func TestCoherence_FeaturesOff(t *testing.T) {
	f := newFleet(t)
	f.store.onAfter(slow)
	f.off = fault.Without(fault.Expectation, fault.Pauses)
	suite := f.suite()
	suite.Options = features
	var err error
	for round := 0; err == nil && round < 10; round++ {
		err = nearcachetest.Check(t.Context(), suite)
	}
	require.Error(t, err)
	t.Logf("without a look at what a refresh replaces the suite reports:\n%v", err)
}
