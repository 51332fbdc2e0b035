//go:build nearbus_faults

package simulate

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/nearcachetest"
)

// TestFinds: without a mechanism the simulator finds what it is for, within a few seeds.
func TestFinds(t *testing.T) {
	for name, off := range map[string][]nearcachetest.Mechanism{
		"marks":        {nearcachetest.Marks},
		"cache mark":   {nearcachetest.CacheMark},
		"tag marks":    {nearcachetest.TagMarks},
		"clock":        {nearcachetest.Clock},
		"watermarks":   {nearcachetest.Watermarks},
		"losses":       {nearcachetest.Losses},
		"floors":       {nearcachetest.Floors},
		"overlaps":     {nearcachetest.Overlaps},
		"own writes":   {nearcachetest.OwnWrites},
		"passed news":  {nearcachetest.PassedNews},
		"removals":     {nearcachetest.Removals},
		"joins":        {nearcachetest.Joins},
		"journal":      {nearcachetest.Journal},
		"confirmation": {nearcachetest.Confirmation},
		"proofs":       {nearcachetest.Proofs},
		"leases":       {nearcachetest.Leases},
		"barriers":     {nearcachetest.Barriers},
		"expectation":  {nearcachetest.Expectation},
		"debts":        {nearcachetest.Debts},
	} {
		t.Run(name, func(t *testing.T) {
			nearcachetest.Break(nearcachetest.Without(off...))
			defer nearcachetest.Break(nearcachetest.Without())
			for s := range uint64(findSeeds) {
				p := NewPlan(1000 + s)
				if p.Nodes > 8 || name == "expectation" && !p.Features {
					continue
				}
				r := simulate(t, p)
				if len(r.Violations) > 0 {
					t.Logf("seed %d: %d violations, first %s: %s", p.Seed, len(r.Violations), r.Violations[0].Promise, r.Violations[0].What)
					return
				}
			}
			require.Fail(t, "nothing found")
		})
	}
}

// findSeeds is how many seeds are tried.
const findSeeds = 40
