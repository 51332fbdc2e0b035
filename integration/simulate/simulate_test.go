package simulate

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"
)

var seedFlag = flag.Uint64("seed", 1, "seed")
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
		began := time.Now()
		r := simulate(t, p)
		t.Log(p.Seed, p.Nodes, p.Bus, p.Features, len(r.fleet.struck), r.Verdict.Reads, r.Verdict.Writes, r.Verdict.Violations(), r.Verdict.Excused, r.Verdict.Lost, r.Lived, time.Since(began))
		if len(r.Violations) > 0 {
			for _, e := range r.fleet.events {
				t.Log(time.Duration(e.at-r.fleet.began), e.text)
			}
			t.Log(len(r.Violations), "violations")
		}
		for i, v := range r.Violations {
			if i < 5 {
				t.Error(fmt.Sprintf("%+v at %v known %v", v, time.Duration(v.Read.Start-r.fleet.began), time.Duration(v.Known-r.fleet.began)))
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
