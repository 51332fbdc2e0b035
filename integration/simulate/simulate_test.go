package simulate

import (
	"bytes"
	"flag"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"
)

var seedFlag = flag.Uint64("seed", 1, "seed")
var findSeeds = flag.Int("find", 12, "seeds")
var nodesFlag = flag.Int("nodes", 0, "nodes")
var countFlag = flag.Int("runs", 1, "runs")

func simulate(t *testing.T, p *Plan) (r *Result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var err error
		r, err = Run(p)
		require.NoError(t, err)
	})
	return r
}

func TestSimulate_Some(t *testing.T) {
	for i := range *countFlag {
		p := NewPlan(*seedFlag + uint64(i))
		if *nodesFlag > 0 {
			p.Nodes = *nodesFlag
			p.draw()
		}
		began := time.Now()
		r := simulate(t, p)
		t.Log(p.Seed, p.Nodes, p.Bus, p.Features, len(r.fleet.struck), r.Verdict.Reads, r.Verdict.Writes, r.Verdict.Violations(), r.Verdict.Excused, r.Verdict.Lost, r.Lived, time.Since(began))
		for i := range r.Violations {
			if i < 2 {
				var b bytes.Buffer
				r.Timeline(&b, &r.Violations[i])
				t.Error(p.Seed, len(r.Violations), b.String())
			}
		}
		for k, n := range r.Failures {
			t.Log(k, n)
		}
	}
}

func TestMain(m *testing.M) {
	logging.Disable() // the client of Redis would tell of every fault
	os.Exit(m.Run())
}
