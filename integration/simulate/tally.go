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
	Calm, Troubled              WriteTally // writes far from all faults, and the others
	Violations                  int
}

// KindTally is what came of all faults of a kind.
type KindTally struct {
	Injected, Reads int
	Worst, Bound    time.Duration // oldest read in relation to its bound, and that bound
}

// agreeing are the times that the table of writes has.
var agreeing = []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, time.Second}

// WriteTally is how soon all nodes agreed on some acknowledged writes.
type WriteTally struct {
	Writes int
	Agreed map[time.Duration]int // on how many within that time
	Late   int                   // on how many not within the bound
}

// NewTally returns a Tally of nothing.
func NewTally() *Tally {
	return &Tally{
		Kinds: make(map[string]*KindTally),
		Calm:  WriteTally{Agreed: make(map[time.Duration]int)}, Troubled: WriteTally{Agreed: make(map[time.Duration]int)},
	}
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
	t.Violations += o.Violations
	t.Calm.merge(&o.Calm)
	t.Troubled.merge(&o.Troubled)
	for name, k := range o.Kinds {
		t.kind(name).merge(k)
	}
}

func (w *WriteTally) merge(o *WriteTally) {
	w.Writes += o.Writes
	w.Late += o.Late
	for within, n := range o.Agreed {
		w.Agreed[within] += n
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

// addWrites counts how soon all nodes agreed on each write that the shared tier kept: how
// old the oldest read was of which it is the first that it missed.
func (t *Tally) addWrites(f *fleet) {
	h := f.history()
	missed, late := f.missed(h.Acknowledged(true))
	for _, l := range f.lives {
		for i := range l.records {
			r := &l.records[i]
			if r.Kind != history.Acked || f.lost(r) {
				continue
			}
			w := &t.Calm
			if f.underFault(r) {
				w = &t.Troubled
			}
			at := write{r.Key, r.End}
			w.add(missed[at], late[at])
		}
	}
}

func (w *WriteTally) add(age time.Duration, late bool) {
	w.Writes++
	for _, within := range agreeing {
		if age <= within {
			w.Agreed[within]++
		}
	}
	if late {
		w.Late++
	}
}

// write is one of a key, by when it was acknowledged.
type write struct {
	key uint32
	at  history.Moment
}

// missed returns for writes how old the oldest read was that missed them first, and
// whether that is over its bound.
func (f *fleet) missed(kept *history.Acks) (worst map[write]time.Duration, late map[write]bool) {
	worst, late = make(map[write]time.Duration), make(map[write]bool)
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
	return worst, late
}

// lost reports whether the shared tier may have lost a write.
func (f *fleet) lost(r *history.Record) bool {
	return slices.ContainsFunc(f.losses, func(l history.Loss) bool { return l.Lost(r) })
}

// underFault reports whether any fault was there, or may still have been felt, from the
// beginning of a write until the bound after its end.
func (f *fleet) underFault(r *history.Record) bool {
	until := r.End + int64(f.plan.MaxStaleness)
	return slices.ContainsFunc(f.struck, func(s struck) bool {
		return s.span.Start <= until && s.span.End+int64(f.plan.recovery()) >= r.Start
	})
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
	t.Calm.print(out, "without a fault")
	t.Troubled.print(out, "under faults")
}

func (w *WriteTally) print(out io.Writer, when string) {
	if w.Writes == 0 {
		return
	}
	fmt.Fprintf(out, "%s, of %d writes, all nodes agreed\n", when, w.Writes)
	for _, within := range agreeing {
		fmt.Fprintf(out, "  within %-9s on %s\n", within, nines(w.Agreed[within], w.Writes))
	}
	fmt.Fprintf(out, "  within the bound on %s\n", nines(w.Writes-w.Late, w.Writes))
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
