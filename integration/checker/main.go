package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/nearbus/nearbus/integration/history"
)

func main() {
	if encoded := os.Getenv(nodeVariable); encoded != "" {
		exit(runNode(encoded, os.Stdin, os.Stdout))
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// request is what the command line asks for.
type request struct {
	fault, against string
	off            string
	long, strict   bool
	list           bool
	features       bool
	soak           time.Duration
	seed           uint64
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var q request
	flags := flag.NewFlagSet("checker", flag.ContinueOnError)
	flags.StringVar(&q.fault, "fault", "", "scenarios to run, separated by commas; empty: all")
	flags.StringVar(&q.against, "against", "", "other subjects, separated by commas: naive, rueidis, go-redis")
	flags.BoolVar(&q.long, "long", false, "run until there are 1,000,000 reads, 10,000 writes and 20 faults (3 of the long ones)")
	flags.BoolVar(&q.strict, "strict", false, "repair every 200 ms and serve nothing unconfirmed for longer than 500 ms")
	flags.StringVar(&q.off, "off", "", "mechanisms to do without, separated by commas, which is to break promises: "+strings.Join(mechanisms(), ", "))
	flags.BoolVar(&q.features, "features", false, "with short lifetimes, fail-safe, early refresh, values that are not there and reads and writes of several keys")
	flags.DurationVar(&q.soak, "soak", 0, "go on for so long, with scenarios at random, and beside them one fleet that lives for as long (with -fault lifelong: alone)")
	flags.Uint64Var(&q.seed, "seed", rand.Uint64(), "of what happens at random: the order of a soak, the keys of reads and writes")
	flags.BoolVar(&q.list, "list", false, "say what the scenarios are, and run none")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if q.list {
		return printScenarios(out)
	}
	chosen, err := q.scenarios()
	if err != nil {
		return err
	}
	off := strings.FieldsFunc(q.off, func(r rune) bool { return r == ',' })
	if err := takeOut(off); err != nil {
		return err // before servers are started
	}
	fmt.Fprintf(out, "seed %d\n", q.seed)
	if q.soak > 0 {
		return q.runSoak(ctx, chosen, off, out)
	}
	results, failures := q.runAll(ctx, slices.Values(chosen), off, out)
	fmt.Fprintln(out)
	return errors.Join(failures, printTable(out, results))
}

// runAll runs scenarios one after the other, until ctx ends.
func (q *request) runAll(ctx context.Context, all iter.Seq[scenario], off []string, out io.Writer) (results []*result, failures error) {
	for s := range all {
		for _, subject := range q.subjects(s) {
			r, err := carryOut(ctx, q.plan(s, subject, off))
			failures = errors.Join(failures, err)
			if r != nil {
				failures = errors.Join(failures, r.judge(out))
				results = append(results, r)
			}
			if ctx.Err() != nil {
				return results, failures
			}
		}
	}
	return results, failures
}

// shownBroken is how many reads that broke a promise are shown.
const shownBroken = 20

// judge prints a row, and returns an error if this library broke a promise.
// What others do is for the reader to see.
func (r *result) judge(out io.Writer) error {
	fmt.Fprintf(out, "%-18s %-8s %s, %d faults, evidence %d: max %s, bound %s, violations %d\n", r.plan.scenario.name, r.plan.subject,
		r.took.Round(time.Second), len(r.spans), r.evidence, short(r.verdict.Quantile(1)), short(r.bound), r.verdict.Violations())
	for i, all := range r.vitals {
		fmt.Fprintf(out, "  quarter %d: %+v\n", i+1, all)
	}
	grown := flat(r.vitals)
	if r.plan.subject != "nearbus" || r.verdict.Violations() == 0 {
		return grown
	}
	for _, b := range r.verdict.Broken[:min(shownBroken, len(r.verdict.Broken))] {
		fmt.Fprintf(out, "  %s: life %d, key %d, version %d in %s, %s after better was known, %s\n", b.Promise, b.Life, b.Read.Key, b.Read.Version,
			time.Duration(b.Read.End-b.Read.Start), time.Duration(b.Read.Start-b.Known), r.when(&b))
	}
	return errors.Join(grown, fmt.Errorf("%w: %s: %d late, %d back, %d own writes missed, %d stale at rest",
		errViolated, r.plan.scenario.name, r.verdict.Late, r.verdict.Back, r.verdict.OwnMisses, r.verdict.StaleRest))
}

// when says where in the run a read was.
func (r *result) when(b *history.Broken) string {
	if b.Fault < 0 {
		return "before any fault"
	}
	f := r.spans[b.Fault]
	return fmt.Sprintf("%s after fault %d began, which took %s",
		time.Duration(b.Read.Start-f.Start), b.Fault+1, time.Duration(f.End-f.Start))
}

func (q *request) scenarios() ([]scenario, error) {
	all := scenarios()
	if q.fault == "" {
		if !q.long {
			all = slices.DeleteFunc(all, func(s scenario) bool { return s.long })
		}
		return all, nil
	}
	if q.soak > 0 && q.fault == lifelong().name {
		return nil, nil // nothing beside it
	}
	var chosen []scenario
	for name := range strings.SplitSeq(q.fault, ",") {
		i := slices.IndexFunc(all, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("checker: there is no scenario %q; there are: %s", name, names(all))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func names(all []scenario) string {
	list := make([]string, len(all))
	for i := range all {
		list[i] = all[i].name
	}
	return strings.Join(list, ", ")
}

func (q *request) subjects(s scenario) []string {
	subjects := []string{"nearbus"}
	if q.against != "" && s.peers {
		subjects = append(subjects, strings.Split(q.against, ",")...)
	}
	return subjects
}

func (q *request) plan(s scenario, subject string, off []string) plan {
	p := plan{
		scenario: s, subject: subject, seed: q.seed, nodes: 3, keys: 400, reads: 12000, writes: 120,
		enoughFaults: 1, atLeast: 4 * time.Second, repair: time.Second, staleness: 2 * time.Second, off: off,
	}
	if q.long {
		p.enoughReads, p.enoughWrites, p.enoughFaults = 1_000_000, 10_000, 20
		if s.long {
			p.enoughFaults = 3
		}
		if s.slowLoads { // reads wait for loads
			p.atLeast = 4 * time.Minute
		}
	}
	p.features = q.features && subject == "nearbus"
	if q.strict {
		p.repair, p.staleness = 200*time.Millisecond, 500*time.Millisecond
	}
	return p
}
