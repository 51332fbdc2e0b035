package simulate

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "the first seed, 0 for a new one")
	forFlag   = flag.Duration("for", 0, "how long to simulate one seed after the other; 0 for the short form")
	nodesFlag = flag.Int("nodes", 0, "how many processes fleets have, 0 for what the seed says")
	planFlag  = flag.String("plan", "", "file with a plan to run, in place of seeds")

	shapesFlag = flag.Bool("shapes", false, "give fleets the shapes in which single mechanisms show, in turns")
	firstFlag  = flag.Bool("first", false, "stop at the first promise that is broken in most replays as well, without shortening its plan")
)

func TestMain(m *testing.M) {
	logging.Disable()       // the client of Redis would tell of every fault
	debug.SetGCPercent(400) // runs are short, and memory is there
	os.Exit(m.Run())
}

func simulate(t *testing.T, p *Plan) (r *Result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var err error
		r, err = Run(p)
		require.NoError(t, err)
	})
	return r
}

// draw returns the plan of a seed.
func draw(from uint64) *Plan {
	if *shapesFlag {
		return shaped(from)
	}
	p := NewPlan(from)
	if *nodesFlag > 0 {
		p.Nodes = *nodesFlag
		p.draw()
	}
	return p
}

// mostAttempts is how many plans shrinking tries.
const mostAttempts = 150

// shrunk reports what is left of a run that broke a promise.
func shrunk(t *testing.T, r *Result) {
	t.Helper()
	run := func(p *Plan) *Result { return simulate(t, p) }
	promise := r.Violations[0].Promise
	t.Errorf("seed %d breaks %s, %d times; in %d of 10 replays. Repeat with make simulate SEED=%d",
		r.Plan.Seed, promise, len(r.Violations), Runner(run).Reproduces(r.Plan, promise, 10), r.Plan.Seed)
	small, violation := Shrink(run, r, mostAttempts)
	text, err := json.MarshalIndent(small.Plan, "", " ")
	require.NoError(t, err)
	file := filepath.Join(os.TempDir(), fmt.Sprintf("simulate-%d.json", r.Plan.Seed))
	require.NoError(t, os.WriteFile(file, text, 0o600))
	t.Logf("shortened to %d processes, %d operations and %d faults; run it with -plan %s",
		small.Plan.Nodes, len(small.Plan.Ops), len(small.Plan.Strikes), file)
	small.Timeline(t.Output(), violation)
}

// first reports a run that broke a promise, if most replays of it do so as well.
func first(t *testing.T, r *Result) {
	t.Helper()
	const replays = 5
	v := r.Violations[0]
	run := func(p *Plan) *Result { return simulate(t, p) }
	if again := Runner(run).Reproduces(r.Plan, v.Promise, replays); again <= replays/2 {
		t.Logf("seed %d broke %s, and does so in %d of %d replays", r.Plan.Seed, v.Promise, again, replays)
		return
	}
	t.Errorf("seed %d breaks %s: %s", r.Plan.Seed, v.Promise, v.What)
}

// TestSimulate simulates fleets while everything around them breaks. Without flags it is
// the short form: some seeds that are always the same, and some new ones.
func TestSimulate(t *testing.T) {
	switch {
	case *planFlag != "":
		text, err := os.ReadFile(*planFlag)
		require.NoError(t, err)
		p := &Plan{}
		require.NoError(t, json.Unmarshal(text, p))
		r := simulate(t, p)
		for i := range r.Violations[:min(3, len(r.Violations))] {
			t.Fail()
			r.Timeline(t.Output(), &r.Violations[i])
		}
	case *forFlag > 0:
		campaign(t, *forFlag)
	case *seedFlag != 0:
		one(t, draw(*seedFlag))
	default:
		for s := range uint64(fixedSeeds) {
			one(t, short(s+1))
		}
		for range newSeeds {
			one(t, short(rand.Uint64()>>16))
		}
	}
}

// How many seeds the short form has.
const fixedSeeds, newSeeds = 6, 2

// short is a plan that takes little time also with the race detector.
func short(from uint64) *Plan {
	p := NewPlan(from)
	p.Nodes, p.Length = min(p.Nodes, 4), min(p.Length, 20*time.Second)
	p.draw()
	return p
}

func one(t *testing.T, p *Plan) {
	t.Helper()
	if r := simulate(t, p); len(r.Violations) > 0 {
		shrunk(t, r)
	}
}

// campaign runs one seed after the other on every processor, and prints what came of it.
func campaign(t *testing.T, d time.Duration) {
	from := *seedFlag
	if from == 0 {
		from = rand.Uint64() >> 16
	}
	fmt.Printf("seeds from %d\n", from)
	began := time.Now()
	var next atomic.Uint64
	var mu sync.Mutex // protects tally
	tally := NewTally()
	t.Run("workers", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("worker", func(t *testing.T) {
				t.Parallel()
				for time.Since(began) < d && !t.Failed() {
					r := simulate(t, draw(from+next.Add(1)-1))
					mu.Lock()
					tally.Add(r)
					mu.Unlock()
					switch {
					case len(r.Violations) == 0:
					case *firstFlag:
						first(t, r)
					default:
						shrunk(t, r)
					}
				}
			})
		}
	})
	tally.Took = time.Since(began)
	tally.Print(os.Stdout)
}
