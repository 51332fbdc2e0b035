package simulate

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "the first seed, 0 for a new one")
	forFlag   = flag.Duration("for", 0, "how long to simulate one seed after the other; 0 for the short form")
	nodesFlag = flag.Int("nodes", 0, "how many processes fleets have, 0 for what the seed says")
	faultFlag = flag.String("fault", "", "faults to draw from, with commas between them, all if empty")
	planFlag  = flag.String("plan", "", "file with a plan to run, in place of seeds")

	shapesFlag = flag.Bool("shapes", false, "give fleets the shapes in which single mechanisms show, in turns")
	firstFlag  = flag.Bool("first", false, "stop at the first promise that is broken in most replays as well, without shortening its plan")

	// Those of the processes of a campaign.
	reportsFlag  = flag.Bool("reports", false, "report to a campaign")
	everyFlag    = flag.Uint64("every", 1, "from one seed to the next")
	lastFlag     = flag.Uint64("last", math.MaxUint64, "last seed")
	deadlockFlag = flag.Uint64("deadlock", 0, "seed whose bubble deadlocks")
)

func TestMain(m *testing.M) {
	logging.Disable()        // the client of Redis would tell of every fault
	debug.SetGCPercent(1600) // runs are short, and memory is there
	os.Exit(m.Run())
}

func simulate(t *testing.T, p *Plan) (r *Result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if p.Seed == *deadlockFlag && p.Seed != 0 {
			<-make(chan struct{})
		}
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
	}
	if *faultFlag != "" {
		p.Only = strings.Split(*faultFlag, ",")
	}
	p.draw()
	return p
}

// mostAttempts is how many plans shrinking tries.
const mostAttempts = 150

// shrunk tells what is left of a run that broke a promise.
func shrunk(t *testing.T, out io.Writer, run Runner, r *Result) {
	t.Helper()
	promise := r.Violations[0].Promise
	fmt.Fprintf(out, "seed %d breaks %s, %d times; in %d of 10 replays. Repeat with %s\n",
		r.Plan.Seed, promise, len(r.Violations), run.Reproduces(r.Plan, promise, 10), repeat(r.Plan.Seed))
	small, violation := Shrink(run, r, mostAttempts)
	text, err := json.MarshalIndent(small.Plan, "", " ")
	require.NoError(t, err)
	file := filepath.Join(os.TempDir(), fmt.Sprintf("simulate-%d.json", r.Plan.Seed))
	require.NoError(t, os.WriteFile(file, text, 0o600))
	fmt.Fprintf(out, "shortened to %d processes, %d operations and %d faults; run it with -plan %s\n",
		small.Plan.Nodes, len(small.Plan.Ops), len(small.Plan.Strikes), file)
	small.Timeline(out, violation)
}

// repeat is the command that runs a seed again.
func repeat(seed uint64) string {
	command := fmt.Sprintf("make simulate SEED=%d", seed)
	if *faultFlag != "" {
		command += " FAULT=" + *faultFlag
	}
	return command
}

// again tells of a run that broke a promise, if most replays of it do so as well.
func again(run Runner, r *Result) string {
	const most = 3 // of five
	v := r.Violations[0]
	for broken, kept := 0, 0; kept < most; {
		if run.Reproduces(r.Plan, v.Promise, 1) == 0 {
			kept++
		} else if broken++; broken == most {
			return fmt.Sprintf("seed %d breaks %s: %s\n", r.Plan.Seed, v.Promise, v.What)
		}
	}
	return ""
}

// TestSimulate simulates fleets while everything around them breaks. Without flags it is
// the short form: some seeds that are always the same, and some new ones.
func TestSimulate(t *testing.T) {
	for name := range strings.SplitSeq(*faultFlag, ",") {
		_, known := faultNamed(name)
		require.True(t, known || name == "", "there is no fault %q", name)
	}
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
	case *reportsFlag:
		work(t)
	case *forFlag > 0:
		forLong(t, *forFlag)
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
	run := Runner(func(p *Plan) *Result { return simulate(t, p) })
	if r := run(p); len(r.Violations) > 0 {
		t.Fail()
		shrunk(t, t.Output(), run, r)
	}
}

// forLong is a campaign of some length, of which it prints what it came to.
func forLong(t *testing.T, d time.Duration) {
	t.Helper()
	first := *seedFlag
	if first == 0 {
		first = rand.Uint64() >> 16
	}
	fmt.Printf("seeds from %d\n", first)
	began := time.Now()
	c := &campaign{first: first, every: uint64(runtime.GOMAXPROCS(0)), last: math.MaxUint64, until: began.Add(d), out: os.Stdout, tally: NewTally()}
	require.NoError(t, c.run())
	c.tally.Took = time.Since(began)
	c.tally.Print(os.Stdout)
	assert.Empty(t, c.failed, "seeds that failed")
}
