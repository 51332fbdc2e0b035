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
	off    nearcachetest.Mechanism
	beside []nearcachetest.Mechanism // taken out as well: it hides what off is for
	shape  func(p *Plan)
	strike func(p *Plan) // the strikes, nil for those that are drawn
}

// cutOff strikes so that process 1 hears nothing of the bus, and then reads no journal, until it
// listens again.
func cutOff(p *Plan) {
	p.Strikes = nil
	for at := 3 * time.Second; at < p.Length; at += 20 * time.Second {
		p.Strikes = append(p.Strikes,
			Strike{Fault: "bus-half-open", At: at, Node: 1},
			Strike{Fault: "cut", At: at + 200*time.Millisecond, Length: 8 * time.Second, Node: 1})
	}
}

// TestFinds: without a mechanism the simulator finds what it is for, within a few seeds.
func TestFinds(t *testing.T) {
	for name, f := range map[string]find{
		"marks":        {off: nearcachetest.Marks, shape: hot},
		"cache mark":   {off: nearcachetest.CacheMark, shape: anyFleet},
		"tag marks":    {off: nearcachetest.TagMarks, shape: anyFleet},
		"clock":        {off: nearcachetest.Clock, shape: anyFleet},
		"watermarks":   {off: nearcachetest.Watermarks, shape: anyFleet},
		"losses":       {off: nearcachetest.Losses, shape: anyFleet},
		"floors":       {off: nearcachetest.Floors, shape: anyFleet},
		"passed news":  {off: nearcachetest.PassedNews, shape: hot},
		"removals":     {off: nearcachetest.Removals, shape: anyFleet},
		"joins":        {off: nearcachetest.Joins, shape: anyFleet},
		"journal":      {off: nearcachetest.Journal, shape: anyFleet},
		"confirmation": {off: nearcachetest.Confirmation, beside: []nearcachetest.Mechanism{nearcachetest.Proofs}, shape: restored},
		"proofs":       {off: nearcachetest.Proofs, shape: moved},
		"leases":       {off: nearcachetest.Leases, shape: anyFleet},
		"expectation":  {off: nearcachetest.Expectation, shape: refreshing},
		"debts":        {off: nearcachetest.Debts, shape: anyFleet},
		"barriers":     {off: nearcachetest.Barriers, shape: questioned, strike: cutOff},
	} {
		t.Run(name, func(t *testing.T) {
			out := append([]nearcachetest.Mechanism{f.off}, f.beside...)
			nearcachetest.Break(nearcachetest.Without(out...))
			defer nearcachetest.Break(nearcachetest.Without())
			for s := range uint64(findSeeds) {
				p := NewPlan(1000 + s)
				p.Nodes = 2 + int(s%4)
				f.shape(p)
				p.draw()
				if f.strike != nil {
					f.strike(p)
				}
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
const findSeeds = 100

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
