package simulate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/nearbus/nearbus/integration/history"
)

// TestAge: a replica answers reads, and lacks writes that the reading process has not heard
// of. Such answers are counted, and nothing else breaks.
func TestAge(t *testing.T) {
	forgiven := 0
	for from := uint64(1); forgiven == 0 && from < 20; from++ {
		p := NewPlan(from)
		p.Store, p.Bus, p.JournalInterval, p.MaxStaleness = Redis, SameRedis, time.Second, 5*time.Second
		p.Nodes, p.Keys, p.Pace, p.Length = 4, 8, 4, 20*time.Second
		p.Behind, p.SourceLag, p.Neighbours, p.Features, p.Only = 0, 0, 0, false, []string{"misled"}
		p.draw()
		for i := range p.Ops {
			if o := &p.Ops[i]; o.Call == Fetch {
				o.Call, o.Keys = LookupNow, o.Keys[:1]
			}
		}
		r := simulate(t, p)
		assert.Empty(t, r.Violations)
		forgiven += r.fleet.oracle.forgiven
	}
	assert.Positive(t, forgiven)
}

// TestAge_OfServers: an answer may lack what its server may lack, and no more.
func TestAge_OfServers(t *testing.T) {
	f := &fleet{plan: &Plan{}, network: newNetwork(1, weather{})}
	lag := f.plan.replicationLag()
	for name, c := range map[string]struct {
		fault              string
		start, end, missed time.Duration // the fault takes from 10 s to 20 s
		excused            bool
	}{
		"replica":           {"misled", 15 * time.Second, 16 * time.Second, 15*time.Second - lag, true},
		"demoted":           {"demoted", 15 * time.Second, 16 * time.Second, 15*time.Second - lag, true},
		"more than the lag": {"misled", 15 * time.Second, 16 * time.Second, 15*time.Second - lag - 1, false},
		"ends in the fault": {"misled", 9 * time.Second, 10 * time.Second, 9*time.Second - 1, true},
		"ends before":       {"misled", 9 * time.Second, 10*time.Second - 1, 9*time.Second - 1, false},
		"begins after":      {"misled", 20*time.Second + 1, 21 * time.Second, 20 * time.Second, false},
		"deposed":           {"deposed", 15 * time.Second, 16 * time.Second, 10 * time.Second, true},
		"before the heir":   {"deposed", 15 * time.Second, 16 * time.Second, 10*time.Second - 1, false},
		"failover":          {"failover", 15 * time.Second, 16 * time.Second, 15*time.Second - 1, false},
		"cut":               {"cut", 15 * time.Second, 16 * time.Second, 15*time.Second - 1, false},
	} {
		f.struck = []struck{{&Strike{Fault: c.fault}, history.Span{Start: int64(10 * time.Second), End: int64(20 * time.Second)}}}
		read := &history.Record{Start: int64(c.start), End: int64(c.end)}
		assert.Equal(t, c.excused, f.lackedByServer("process-0", read, int64(c.missed)), name)
	}

	f.network.strays = []stray{{"process-0", int64(10 * time.Second)}}
	f.struck = nil
	late := &history.Record{Start: int64(15 * time.Second), End: int64(16 * time.Second)}
	for name, c := range map[string]struct {
		process string
		missed  time.Duration
		excused bool
	}{
		"an old address":    {"process-0", 15*time.Second - lag, true},
		"more than the lag": {"process-0", 15*time.Second - lag - 1, false},
		"another process":   {"process-1", 15*time.Second - lag, false},
	} {
		assert.Equal(t, c.excused, f.lackedByServer(c.process, late, int64(c.missed)), name)
	}
}
