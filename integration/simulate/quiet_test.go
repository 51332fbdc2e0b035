package simulate

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/nearbus/nearbus/nearcache"
)

// TestQuiet: a fleet without faults keeps what it is held to, and one that has a fault all
// the same does not.
func TestQuiet(t *testing.T) {
	for name, c := range map[string]struct {
		store Store
		fault string // for 10 s, or several; none if empty
		want  string // of one violation
	}{
		"nothing":         {Redis, "", ""},
		"Memcached":       {Memcached, "", ""},
		"news is late":    {Redis, "bus-cut cut", "G3: late without any fault"},
		"a counter rises": {Redis, "bus-cut", "Quiet: Bus.Gaps was 0, and is 1"},
		"a call fails":    {Redis, "source-down", "Quiet: Fetch: simulate: the source failed"},
		"loaded again":    {Redis, "restart-empty", "G6: loaded by process"},
		"not near":        {Memcached, "bus-cut", "values that were read before are not near"},
		"nobody answers":  {Redis, "bus-cut", "processes answered a barrier, of 2"},
		"not well":        {Redis, "deploy", "its health is"},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPlan(1)
			p.Nodes, p.Store, p.Bus, p.Keys, p.Features = 3, c.store, OtherRedis, 20, false
			silent(p)
			p.draw()
			if c.fault != "" { // which is to show in what two workers do
				p.Ops = slices.DeleteFunc(p.Ops, func(o Op) bool { return o.Worker >= manager })
			}
			for fault := range strings.FieldsSeq(c.fault) {
				p.Strikes = append(p.Strikes, Strike{Fault: fault, At: p.Length / 4, Length: 10 * time.Second, Node: 1})
			}
			var found []string
			for _, v := range simulate(t, p).Violations {
				found = append(found, v.Promise+": "+v.What)
			}
			if c.want == "" {
				assert.Empty(t, found)
			} else {
				assert.Contains(t, strings.Join(found, "\n"), c.want)
			}
		})
	}
}

// TestQuiet_Counters: the counters that stand still are those of the library.
func TestQuiet_Counters(t *testing.T) {
	for _, name := range noted {
		_, ofCache := counter(nearcache.Stats{}, name)
		_, ofNode := counter(nearcache.NodeStats{}, name)
		assert.True(t, ofCache || ofNode, name)
	}
}
