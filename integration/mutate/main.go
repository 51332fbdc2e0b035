package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"time"
)

// options are those of the command.
type options struct {
	root     string
	files    string
	sample   int
	seed     uint64
	duration time.Duration
	tests    bool
	quick    bool
	parallel int
	results  string
	list     bool
	listed   bool
}

func main() {
	var o options
	flag.StringVar(&o.root, "root", "..", "the repository")
	flag.StringVar(&o.files, "files", "", "files whose mutants are judged, by an expression; all if empty")
	flag.IntVar(&o.sample, "sample", 0, "how many mutants, by chance; 0: all")
	flag.Uint64Var(&o.seed, "seed", 1, "which ones, and in which order")
	flag.DurationVar(&o.duration, "for", 10*time.Minute, "how long to simulate a mutant at most; 0: not at all")
	flag.BoolVar(&o.tests, "tests", true, "run the tests of its package, too")
	flag.BoolVar(&o.quick, "quick", false, "run the tests first, and simulate only what they do not notice")
	flag.IntVar(&o.parallel, "parallel", runtime.GOMAXPROCS(0), "how many at a time")
	flag.StringVar(&o.results, "results", "", "file that verdicts are written to, and from which a run goes on")
	flag.BoolVar(&o.list, "list", false, "print the mutants, and judge none")
	flag.BoolVar(&o.listed, "listed", false, "judge the survivors that are listed only: do they still survive?")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := mutate(ctx, os.Stdout, &o); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

var errUnexplained = errors.New("there are survivors without a reason, or the list of them is wrong")

// mutate judges mutants, and prints what came of them.
func mutate(ctx context.Context, w io.Writer, o *options) error {
	root, err := filepath.Abs(o.root)
	if err != nil {
		return err
	}
	match, err := regexp.Compile(o.files)
	if err != nil {
		return err
	}
	known, err := parseSurvivors(survivorsText)
	if err != nil {
		return err
	}
	all, err := allMutants(root)
	if err != nil {
		return err
	}
	from := all
	if o.listed {
		from = slices.DeleteFunc(slices.Clone(all), func(m mutant) bool { return known[m.id] == "" })
	}
	chosen := choose(from, match, o.sample, o.seed)
	if o.list {
		for i := range chosen {
			fmt.Fprintln(w, &chosen[i])
		}
		_, err := fmt.Fprintf(w, "%d mutants, of %d\n", len(chosen), len(all))
		return err
	}
	works, err := newWorkshop(ctx, root, all)
	if err != nil {
		return err
	}
	defer works.close()
	c := &court{
		workshop: works, duration: o.duration, grace: 3 * time.Minute, withTests: o.tests, quick: o.quick,
		simulate: suite{module: "integration", pkg: "./simulate"}, suites: suitesOf,
	}
	done, err := openResults(o.results, c.manner())
	if err != nil {
		return err
	}
	defer done.close()
	if err := c.acquit(ctx, w, chosen, done); err != nil {
		return err
	}
	err = c.judgeAll(ctx, w, chosen, o.parallel, done)
	s := summarize(done.of(chosen), known, all)
	s.print(w, known, o.tests)
	if err == nil && !s.ok() {
		err = errUnexplained
	}
	return err
}

// choose returns the mutants of the files that match, or so many of them, in an order that
// the seed decides.
func choose(all []mutant, match *regexp.Regexp, sample int, seed uint64) (chosen []mutant) {
	for i := range all {
		if match.MatchString(all[i].File) {
			chosen = append(chosen, all[i])
		}
	}
	dice := rand.New(rand.NewPCG(seed, 0))
	dice.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	if sample > 0 {
		chosen = chosen[:min(sample, len(chosen))]
	}
	return chosen
}

// judgeAll judges mutants on which there is no verdict yet, several at a time.
func (c *court) judgeAll(ctx context.Context, w io.Writer, chosen []mutant, parallel int, done *results) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	left := make(chan *mutant)
	var workers sync.WaitGroup
	var mu sync.Mutex // protects w
	for range max(parallel, 1) {
		workers.Go(func() {
			for m := range left {
				r, err := c.judge(ctx, m, c.suites(m.File))
				if err == nil {
					err = done.add(r)
				}
				if err != nil {
					cancel(err)
					return
				}
				mu.Lock()
				fmt.Fprintf(w, "%s %s: %s\n", r.Verdict, r.How, m)
				mu.Unlock()
			}
		})
	}
	for i := range chosen {
		if done.has(chosen[i].id) {
			continue
		}
		select {
		case left <- &chosen[i]:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(left)
	workers.Wait()
	return context.Cause(ctx)
}
