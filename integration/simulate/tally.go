package simulate

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/nearbus/nearbus/integration/history"
)

// Tally is what came of many runs.
type Tally struct {
	Runs, Reads, Writes, Faults int
	Lived, Took                 time.Duration
	Excused, Forgiven, Landed   int
	Failed                      int
	Kinds                       map[string]*KindTally
	Agreed                      map[time.Duration]int // writes on which all nodes agreed within that time
	Late                        int                   // writes on which they did not within the bound
	Violations                  int
}

// KindTally is what came of all faults of a kind.
type KindTally struct {
	Injected, Reads int
	Worst, Bound    time.Duration // oldest read in relation to its bound, and that bound
}

// agreeing are the times that the table of writes has.
var agreeing = []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, time.Second}

// NewTally returns a Tally of nothing.
func NewTally() *Tally {
	return &Tally{Kinds: make(map[string]*KindTally), Agreed: make(map[time.Duration]int)}
}

// Add takes in a run.
func (t *Tally) Add(r *Result) {
	f := r.fleet
	t.Runs++
	t.Reads += r.Verdict.Reads
	t.Writes += r.Verdict.Writes
	t.Lived += r.Lived
	t.Faults += len(f.struck)
	t.Excused += r.Verdict.Excused
	t.Forgiven += f.oracle.forgiven
	t.Landed += f.oracle.landed
	t.Failed += r.Verdict.FailedReads
	t.Violations += len(r.Violations)
	lives := f.aged()
	for i := range f.struck {
		t.addStrike(f, &f.struck[i], lives)
	}
	t.addWrites(f)
}

// Merge takes in what o has.
func (t *Tally) Merge(o *Tally) {
	t.Runs += o.Runs
	t.Reads += o.Reads
	t.Writes += o.Writes
	t.Faults += o.Faults
	t.Lived += o.Lived
	t.Excused += o.Excused
	t.Forgiven += o.Forgiven
	t.Landed += o.Landed
	t.Failed += o.Failed
	t.Late += o.Late
	t.Violations += o.Violations
	for within, n := range o.Agreed {
		t.Agreed[within] += n
	}
	for name, k := range o.Kinds {
		t.kind(name).merge(k)
	}
}

// kind returns what came of the faults of a kind.
func (t *Tally) kind(name string) *KindTally {
	k := t.Kinds[name]
	if k == nil {
		k = &KindTally{}
		t.Kinds[name] = k
	}
	return k
}

func (k *KindTally) merge(o *KindTally) {
	k.Injected += o.Injected
	k.Reads += o.Reads
	k.worst(o.Worst, o.Bound)
}

// worst takes in how old a read was, and its bound.
func (k *KindTally) worst(age, bound time.Duration) {
	if age > 0 && (k.Bound == 0 || float64(age)/float64(bound) > float64(k.Worst)/float64(k.Bound)) {
		k.Worst, k.Bound = age, bound
	}
}

// aged is a life's reads in the order of their beginnings, with how old each was.
type aged struct {
	node  int
	reads []agedRead
}

type agedRead struct {
	start history.Moment
	age   time.Duration
	bound time.Duration // of those that have an age
}

func (f *fleet) aged() (all []aged) {
	kept := f.history().Acknowledged(true)
	for _, l := range f.lives {
		a := aged{node: l.node}
		for i := range l.records {
			r := &l.records[i]
			if !r.Answered() || r.Stale {
				continue
			}
			one := agedRead{start: r.Start}
			if one.age, _ = kept.Age(r); one.age > 0 && !f.isForgiven(r) {
				one.bound = f.bound(l.node, r)
			} else {
				one.age = 0
			}
			a.reads = append(a.reads, one)
		}
		slices.SortFunc(a.reads, func(a, b agedRead) int { return cmp.Compare(a.start, b.start) })
		all = append(all, a)
	}
	return all
}

func (t *Tally) addStrike(f *fleet, s *struck, lives []aged) {
	kind, _ := faultNamed(s.Fault)
	k := t.kind(s.Fault)
	k.Injected++
	end := s.span.End + int64(f.plan.recovery())
	for _, l := range lives {
		if kind.one && l.node != s.Node {
			continue
		}
		i, _ := slices.BinarySearchFunc(l.reads, s.span.Start, func(r agedRead, at history.Moment) int { return cmp.Compare(r.start, at) })
		for ; i < len(l.reads) && l.reads[i].start <= end; i++ {
			k.Reads++
			k.worst(l.reads[i].age, l.reads[i].bound)
		}
	}
}

// addWrites counts how soon all nodes agreed on each write: how old the oldest read was
// of which it is the first that it missed.
func (t *Tally) addWrites(f *fleet) {
	type write struct {
		key uint32
		at  history.Moment
	}
	kept, worst := f.history().Acknowledged(true), make(map[write]time.Duration)
	late := make(map[write]bool)
	for _, l := range f.lives {
		for i := range l.records {
			r := &l.records[i]
			if !r.Answered() || r.Stale || f.isForgiven(r) {
				continue
			}
			if age, since := kept.Age(r); age > 0 {
				w := write{r.Key, since}
				worst[w] = max(worst[w], age)
				late[w] = late[w] || age > f.bound(l.node, r)
			}
		}
	}
	for _, within := range agreeing {
		t.Agreed[within] += kept.Len()
	}
	for w, age := range worst {
		for _, within := range agreeing {
			if age > within {
				t.Agreed[within]--
			}
		}
		if late[w] {
			t.Late++
		}
	}
}

// Print prints what came of all runs.
func (t *Tally) Print(out io.Writer) {
	fmt.Fprintf(out, "%d runs, %s of fleets in %s (%.0f for each second)\n", t.Runs, t.Lived.Round(time.Second), t.Took.Round(time.Second),
		t.Lived.Seconds()/t.Took.Seconds())
	fmt.Fprintf(out, "%d checked reads, %d writes, %d faults, %d violations; %d reads excused by losses, %d forgiven,\n%d because the clock was set back, %d failed\n",
		t.Reads, t.Writes, t.Faults, t.Violations, t.Excused, t.Forgiven, t.Landed, t.Failed)
	table := tabwriter.NewWriter(out, 0, 0, 1, ' ', tabwriter.AlignRight|tabwriter.Debug)
	fmt.Fprintln(table, "fault\tinjected\treads\tworst age\tbound\t")
	for _, kind := range faults() {
		if k := t.Kinds[kind.name]; k != nil {
			fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\t\n", kind.name, k.Injected, k.Reads, k.Worst.Round(time.Millisecond), k.Bound.Round(time.Millisecond))
		}
	}
	_ = table.Flush()
	for _, within := range agreeing {
		fmt.Fprintf(out, "all nodes agreed within %s on %s of writes\n", within, nines(t.Agreed[within], t.Writes))
	}
	fmt.Fprintf(out, "and within the bound on %s\n", nines(t.Writes-t.Late, t.Writes))
}

// nines prints a share, and how many nines it has; if it is all, what so many can show.
func nines(n, of int) string {
	missing := max(of-n, 1)
	text := ""
	if n >= of {
		text = "at least "
	}
	return fmt.Sprintf("%.4f %% (%s%.1f nines)", 100*float64(n)/float64(of), text, math.Log10(float64(of)/float64(missing)))
}
