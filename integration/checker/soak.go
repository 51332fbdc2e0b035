package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"text/tabwriter"
	"time"
)

// runSoak runs scenarios at random for as long as the soak takes, and beside them one fleet
// that lives for as long.
func (q *request) runSoak(ctx context.Context, chosen []scenario, off []string, out io.Writer) error {
	var beside *result
	var failed error
	done := make(chan struct{})
	go func() { // ends with the soak or ctx; waited for below
		defer close(done)
		beside, failed = carryOut(ctx, q.lifelongPlan(off))
	}()
	results, failures := q.runAll(ctx, q.atRandom(ctx, chosen), off, out)
	<-done
	failures = errors.Join(failures, failed)
	if beside != nil {
		failures = errors.Join(failures, beside.judge(out))
		results = append(results, beside)
	}
	fmt.Fprintln(out)
	return errors.Join(failures, printSums(out, results))
}

// atRandom yields scenarios for as long as the soak takes.
func (q *request) atRandom(ctx context.Context, chosen []scenario) iter.Seq[scenario] {
	dice := rand.New(rand.NewPCG(q.seed, 0))
	return func(yield func(scenario) bool) {
		for began := time.Now(); len(chosen) > 0 && time.Since(began) < q.soak && ctx.Err() == nil; {
			if !yield(chosen[dice.IntN(len(chosen))]) {
				return
			}
		}
	}
}

// sum is what came of all runs of one scenario with one subject.
type sum struct {
	runs, reads, writes, faults, violations int
	worst, bound                            time.Duration // the smallest bound
}

// printSums prints a table with a row for each scenario, by name.
func printSums(out io.Writer, results []*result) error {
	type row struct{ scenario, subject string }
	sums := map[row]*sum{}
	for _, r := range results {
		of := row{r.plan.scenario.name, r.plan.subject}
		s := sums[of]
		if s == nil {
			s = &sum{bound: r.bound}
			sums[of] = s
		}
		s.runs++
		s.reads += r.verdict.Reads
		s.writes += r.verdict.Writes
		s.faults += len(r.spans)
		s.violations += r.verdict.Violations()
		s.worst, s.bound = max(s.worst, r.verdict.Quantile(1)), min(s.bound, r.bound)
	}
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| scenario\t| subject\t| runs\t| reads\t| writes\t| faults\t| stale max\t| bound\t| violations\t|")
	fmt.Fprintln(w, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	byName := func(a, b row) int {
		return cmp.Or(cmp.Compare(a.scenario, b.scenario), cmp.Compare(a.subject, b.subject))
	}
	for _, of := range slices.SortedFunc(maps.Keys(sums), byName) {
		s := sums[of]
		fmt.Fprintf(w, "| %s\t| %s\t| %d\t| %d\t| %d\t| %d\t| %s\t| %s\t| %d\t|\n",
			of.scenario, of.subject, s.runs, s.reads, s.writes, s.faults, short(s.worst), short(s.bound), s.violations)
	}
	return w.Flush()
}
