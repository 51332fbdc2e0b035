//go:build nearbus_faults

package simulate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/nearcachetest"
)

// find is a mechanism that is taken out, and the fleets in which that shows.
type find struct {
	off   nearcachetest.Mechanism
	shape func(p *Plan)
}

// TestFinds: without a mechanism the simulator finds what it is for, within a few seeds.
func TestFinds(t *testing.T) {
	for name, f := range map[string]find{
		"marks":        {nearcachetest.Marks, hot},
		"cache mark":   {nearcachetest.CacheMark, anyFleet},
		"tag marks":    {nearcachetest.TagMarks, anyFleet},
		"clock":        {nearcachetest.Clock, anyFleet},
		"watermarks":   {nearcachetest.Watermarks, anyFleet},
		"losses":       {nearcachetest.Losses, anyFleet},
		"floors":       {nearcachetest.Floors, anyFleet},
		"passed news":  {nearcachetest.PassedNews, hot},
		"removals":     {nearcachetest.Removals, anyFleet},
		"joins":        {nearcachetest.Joins, anyFleet},
		"journal":      {nearcachetest.Journal, anyFleet},
		"confirmation": {nearcachetest.Confirmation, restored},
		"proofs":       {nearcachetest.Proofs, moved},
		"leases":       {nearcachetest.Leases, anyFleet},
		"expectation":  {nearcachetest.Expectation, refreshing},
		"debts":        {nearcachetest.Debts, anyFleet},
		"barriers":     {nearcachetest.Barriers, questioned},
	} {
		t.Run(name, func(t *testing.T) {
			nearcachetest.Break(nearcachetest.Without(f.off))
			defer nearcachetest.Break(nearcachetest.Without())
			for s := range uint64(findSeeds) {
				p := NewPlan(1000 + s)
				p.Nodes = 2 + int(s%4)
				f.shape(p)
				p.draw()
				if r := simulate(t, p); len(r.Violations) > 0 {
					v := r.Violations[0]
					t.Logf("seed %d: %d violations, first %s: %s", p.Seed, len(r.Violations), v.Promise, v.What)
					return
				}
			}
			require.Fail(t, "nothing found")
		})
	}
}

// findSeeds is how many seeds are tried.
const findSeeds = 40

// TestShrink: what breaks a promise is shortened to a few operations, and breaks it again
// in most replays, and so does its seed.
func TestShrink(t *testing.T) {
	nearcachetest.Break(nearcachetest.Without(nearcachetest.Journal))
	defer nearcachetest.Break(nearcachetest.Without())
	run := Runner(func(p *Plan) *Result { return simulate(t, p) })
	p := NewPlan(1000)
	p.Nodes, p.Length, p.Bus, p.Only = 3, 30*time.Second, OtherRedis, []string{"bus-half-open"}
	p.draw()
	r := run(p)
	require.NotEmpty(t, r.Violations)
	promise := r.Violations[0].Promise
	assert.GreaterOrEqual(t, run.Reproduces(p, promise, 10), 8)
	small, violation := Shrink(run, r, mostAttempts)
	assert.Equal(t, promise, violation.Promise)
	assert.LessOrEqual(t, len(small.Plan.Ops), 20)
	assert.LessOrEqual(t, len(small.Plan.Strikes), 3)
	assert.GreaterOrEqual(t, run.Reproduces(small.Plan, promise, 10), 8)
	small.Timeline(t.Output(), violation)
}
