package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nearbus/nearbus/integration/history"
)

// result is a row of the table.
type result struct {
	plan     plan
	verdict  history.Verdict
	reports  []report
	spans    []history.Span // of the faults
	evidence uint64
	bound    time.Duration
	vitals   [][]vitals // see field
	took     time.Duration
}

// tick is how far the clock of the near tier is behind at most while its
// process runs.
const tick = 10 * time.Millisecond

// carryOut runs a plan.
func carryOut(ctx context.Context, p plan) (*result, error) {
	began := time.Now()
	f, err := open(ctx, p)
	if err != nil {
		return nil, err
	}
	defer f.close()
	h, reports, err := f.run(ctx)
	if err != nil {
		return nil, err
	}
	r := &result{plan: p, reports: reports, spans: f.faults, evidence: f.evidence, vitals: f.vitals, took: time.Since(began)}
	r.bound = r.declared()
	r.verdict = h.Check(history.Always(r.bound))
	for _, rep := range reports {
		r.evidence += rep.Faults.Dropped + rep.Faults.Blocked
	}
	if v := &r.verdict; v.Reads < p.enoughReads || v.Writes < p.enoughWrites {
		return r, fmt.Errorf("%w: %s: %d reads and %d writes", errTooLittle, p.scenario.name, v.Reads, v.Writes)
	}
	if r.evidence < uint64(len(r.spans)) {
		return r, fmt.Errorf("%w: %s: %d times, seen %d", errNoFault, p.scenario.name, len(r.spans), r.evidence)
	}
	return r, nil
}

// declared is the bound of the run. It depends on what the scenario does, and
// of what happened only on what it names: how slow the shared tier answered,
// and for how long a process was not running.
func (r *result) declared() time.Duration {
	var slowest, lag time.Duration
	for _, rep := range r.reports {
		slowest, lag = max(slowest, rep.SlowestRepair), max(lag, rep.Clock)
	}
	if r.plan.scenario.answers {
		return r.plan.repair + slowest + lag + tick
	}
	return r.plan.staleness + lag + tick
}

func (r *result) lag() (lag time.Duration) {
	for _, rep := range r.reports {
		lag = max(lag, rep.Clock)
	}
	return lag
}

var errTooLittle = errors.New("checker: too little happened")

var errViolated = errors.New("checker: a promise was broken")

var columns = []string{
	"scenario", "subject", "faults", "reads", "writes", "errors", "stale p50", "p99", "max", "slowest read",
	"bound", "late", "back", "own missed", "at rest", "lost", "excused", "recovery", "clock lag", "meter", "meter max",
}

func (r *result) cells() []string {
	v := &r.verdict
	metered, worst := r.meter()
	return []string{
		r.plan.scenario.name, r.plan.subject, fmt.Sprint(len(r.spans)), fmt.Sprint(v.Reads), fmt.Sprint(v.Writes),
		fmt.Sprintf("%d+%d", v.FailedReads, v.GaveUp),
		short(v.Quantile(0.5)), short(v.Quantile(0.99)), short(v.Quantile(1)), short(v.Slowest), short(r.bound),
		fmt.Sprint(v.Late), fmt.Sprint(v.Back), fmt.Sprint(v.OwnMisses), fmt.Sprint(v.StaleRest),
		fmt.Sprint(v.Lost), fmt.Sprint(v.Excused),
		short(v.Recovery), short(r.lag()), metered, short(worst),
	}
}

// featureColumns are there if features are on.
var featureColumns = []string{"flagged", "not found", "refreshed"}

func (r *result) featureCells() []string {
	var refreshed uint64
	for _, rep := range r.reports {
		refreshed += rep.Refreshed
	}
	return []string{fmt.Sprint(r.verdict.Flagged), fmt.Sprint(r.verdict.Absent), fmt.Sprint(refreshed)}
}

// meter returns what the meters of all processes found, and the longest time for
// which an entry was stale.
func (r *result) meter() (found string, worst time.Duration) {
	var checked, stale uint64
	for _, rep := range r.reports {
		checked, stale = checked+rep.Metered, stale+rep.MeteredStale
		worst = max(worst, rep.MeteredWorst)
	}
	return fmt.Sprintf("%d/%d", stale, checked), worst
}

func short(d time.Duration) string {
	if d >= time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}

// printTable writes the results.
func printTable(w io.Writer, results []*result) error {
	featured := slices.ContainsFunc(results, func(r *result) bool { return r.plan.features })
	rows := [][]string{columns}
	if featured {
		rows[0] = slices.Concat(columns, featureColumns)
	}
	for _, r := range results {
		cells := r.cells()
		if featured {
			cells = append(cells, r.featureCells()...)
		}
		rows = append(rows, cells)
	}
	return printRows(w, rows)
}

// printScenarios says what each scenario is.
func printScenarios(w io.Writer) error {
	rows := [][]string{{"scenario", "what happens", "bus", "shared tier", "bound"}}
	for _, s := range scenarios() {
		tier, bound := s.tier, "MaxStaleness"
		if tier == "" {
			tier = "one server"
		}
		if s.answers {
			bound = "JournalInterval"
		}
		rows = append(rows, []string{s.name, s.about, busNames[s.bus], tier, bound})
	}
	return printRows(w, rows)
}

var busNames = map[string]string{
	"redis": "the same Redis", "pubsub": "another Redis", "nats": "NATS", "jetstream": "JetStream",
}

// printRows writes a table for people and for Markdown alike. The first row is
// its head.
func printRows(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	line := func(cells []string) { fmt.Fprintf(t, "| %s\t|\n", strings.Join(cells, "\t| ")) }
	line(rows[0])
	line(slices.Repeat([]string{"---"}, len(rows[0])))
	for _, cells := range rows[1:] {
		line(cells)
	}
	return t.Flush()
}
