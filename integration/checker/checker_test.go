package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/history"
)

// TestMain lets the test program be the processes of a run, too.
func TestMain(m *testing.M) {
	if encoded := os.Getenv(nodeVariable); encoded != "" {
		exit(runNode(encoded, os.Stdin, os.Stdout))
		return
	}
	os.Exit(m.Run())
}

// shortPlan is a run of a few seconds with tight bounds.
func shortPlan(t *testing.T, name string) plan {
	t.Helper()
	q := request{fault: name, strict: true}
	chosen, err := q.scenarios()
	require.NoError(t, err)
	p := q.plan(chosen[0], "nearbus", nil)
	p.nodes, p.keys, p.reads, p.writes, p.atLeast = 2, 100, 2000, 100, 2*time.Second
	return p
}

// TestScenarios is the short form of what the command does.
func TestScenarios(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios() {
		if s.long {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r, err := carryOut(t.Context(), shortPlan(t, s.name))
			require.NoError(t, err)
			v := &r.verdict
			assert.Positive(t, v.Reads)
			assert.Positive(t, v.Writes)
			assert.Zero(t, v.Violations(), "%d late, %d back, %d own writes missed, %d stale at rest; bound %v, worst %v: %+v",
				v.Late, v.Back, v.OwnMisses, v.StaleRest, r.bound, v.Quantile(1), v.Broken)
		})
	}
}

// TestScenarios_WithFeatures: with everything on, the promises hold. How often old
// values are given and refreshed in these seconds is up to the machine.
func TestScenarios_WithFeatures(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"messages", "redis-half-open"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := shortPlan(t, name)
			p.features = true
			r, err := carryOut(t.Context(), p)
			require.NoError(t, err)
			v := &r.verdict
			assert.Positive(t, v.Absent)
			assert.Zero(t, v.Violations(), "%d late, %d back, %d own writes missed, %d stale at rest; bound %v, worst %v: %+v",
				v.Late, v.Back, v.OwnMisses, v.StaleRest, r.bound, v.Quantile(1), v.Broken)
		})
	}
}

// TestScenarios_Naive: the checker sees what is wrong with the cache that one
// writes in an afternoon.
func TestScenarios_Naive(t *testing.T) {
	t.Parallel()
	p := shortPlan(t, "bus-half-open")
	p.subject = "naive"
	r, err := carryOut(t.Context(), p)
	require.NoError(t, err)
	assert.Positive(t, r.verdict.Late)
	assert.Positive(t, r.verdict.StaleRest)
}

// TestCarryOut_FaultThatDoesNotHappen is no success.
func TestCarryOut_FaultThatDoesNotHappen(t *testing.T) {
	t.Parallel()
	p := shortPlan(t, "none")
	p.scenario.strike = func(context.Context, *field, int) (uint64, error) { return 0, nil }
	_, err := carryOut(t.Context(), p)
	require.ErrorIs(t, err, errNoFault)
}

func TestRun_NamesWhatThereIs(t *testing.T) {
	t.Parallel()
	err := run(t.Context(), []string{"-fault", "none,earthquake"}, nil)
	require.ErrorContains(t, err, `there is no scenario "earthquake"; there are: none, slow-loads`)
}

func TestPrintTable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := shortPlan(t, "none")
	require.NoError(t, printTable(&out, []*result{{plan: p, spans: make([]history.Span, 3), bound: time.Second, verdict: history.Verdict{Reads: 7}}}))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 3)
	for _, line := range lines {
		assert.Equal(t, len(columns)+1, strings.Count(line, "|"), line)
	}
	assert.Contains(t, lines[2], "none")
	p.features = true
	out.Reset()
	require.NoError(t, printTable(&out, []*result{{plan: p}}))
	for line := range strings.Lines(out.String()) {
		assert.Equal(t, len(columns)+len(featureColumns)+1, strings.Count(line, "|"), line)
	}
}

// TestPrintScenarios: the page about the checker has the list as it is.
func TestPrintScenarios(t *testing.T) {
	t.Parallel()
	var list bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-list"}, &list))
	page, err := os.ReadFile("../../docs/checker.md")
	require.NoError(t, err)
	assert.Contains(t, string(page), list.String(), "paste what go -C integration run ./checker -list prints")
}
