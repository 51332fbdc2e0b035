package history

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"time"
)

// Verdict is what a history shows.
type Verdict struct {
	Reads, Writes       int // answered reads, acknowledged writes
	FailedReads, GaveUp int // calls that returned an error

	Ages      []time.Duration // of each read that missed an acknowledged write, sorted
	Late      int             // stale reads older than the bound
	Back      int             // reads older than what their process had returned before
	OwnMisses int             // reads older than what their process had written before
	StaleRest int             // stale reads after everything had come to rest
	Lost      int             // acknowledged writes that the shared tier lost
	Excused   int             // reads like Late, Back and OwnMisses that missed nothing else, in time
	Slowest   time.Duration   // longest time that an answered read took
	Recovery  time.Duration   // longest time from the end of a fault to the last late or disturbed read
	Flagged   int             // answers that said that they may be old
	Absent    int             // answers that said that there is no value
	Broken    []Broken        // some of the reads that broke a promise
}

// Broken is a read that broke a promise.
type Broken struct {
	Promise string
	Life    int
	Read    Record
	Known   Moment // when the process, or for a late read any, first knew better
	Fault   int    // the last one that had begun, -1 for none
}

// maxBroken is how many are kept as examples.
const maxBroken = 1000

func (v *Verdict) breaks(h *History, promise string, life int, r *Record, known Moment) {
	if len(v.Broken) < maxBroken {
		fault := sort.Search(len(h.Faults), func(i int) bool { return h.Faults[i].Start > r.Start }) - 1
		v.Broken = append(v.Broken, Broken{promise, life, *r, known, fault})
	}
}

// Bound says how old a read of a life may be.
type Bound func(life int, r *Record) time.Duration

// Always is the same bound for every read.
func Always(bound time.Duration) Bound {
	return func(int, *Record) time.Duration { return bound }
}

// disturbed is how old a read must be to count as not recovered: more than a
// message takes on its way.
const disturbed = 100 * time.Millisecond

// Check goes through a history. It gives reads that were answered with that there is no
// value their version.
func (h *History) Check(bound Bound) Verdict {
	h.settle()
	c := check{history: h, bound: bound, everybody: h.Acknowledged(false), kept: h.Acknowledged(true)}
	v := &c.verdict
	v.Lost = c.everybody.Len() - c.kept.Len()
	last := make([]Moment, len(h.Faults)) // the last disturbed read after each fault
	for n, life := range h.Lives {
		c.order(n)
		c.own(n)
		for i := range life {
			c.count(n, &life[i])
			noteDisturbed(h.Faults, last, &life[i], c.everybody)
		}
	}
	slices.Sort(v.Ages)
	for i := range last {
		v.Recovery = max(v.Recovery, time.Duration(last[i]-h.Faults[i].End))
	}
	return *v
}

// check is the work on one history.
type check struct {
	history         *History
	bound           Bound
	everybody, kept *Acks // acknowledged writes, and those that were not lost
	verdict         Verdict
}

// order counts the reads of a life that went back behind an earlier one.
func (c *check) order(life int) {
	v := &c.verdict
	goneBack(c.history.Lives[life], func(r, before *Record) {
		if c.history.excuses(r, c.bound(life, r)) && !c.kept.Between(r.Key, r.UpTo(), before.Version) {
			v.Excused++
			return
		}
		v.Back++
		v.breaks(c.history, "back in time", life, r, before.End)
	})
}

func (c *check) count(life int, r *Record) {
	v := &c.verdict
	switch r.Kind {
	case Failed:
		v.FailedReads++
	case Acked:
		v.Writes++
	case GaveUp:
		v.GaveUp++
	case Read, AtRest:
		v.Reads++
		v.Slowest = max(v.Slowest, time.Duration(r.End-r.Start))
		if r.Absent {
			v.Absent++
		}
		if r.Stale {
			v.Flagged++
			return
		}
		c.judge(life, r)
	}
}

// judge counts how old a read is.
func (c *check) judge(life int, r *Record) {
	v := &c.verdict
	age, known := c.everybody.Age(r)
	if age == 0 {
		return
	}
	v.Ages = append(v.Ages, age)
	if bound := c.bound(life, r); age > bound {
		if kept, _ := c.kept.Age(r); kept <= bound && c.history.excuses(r, bound) {
			v.Excused++
		} else {
			v.Late++
			v.breaks(c.history, "later than the bound", life, r, known)
		}
	}
	if kept, _ := c.kept.Age(r); r.Kind == AtRest && (kept > 0 || !c.history.excusesForGood(r)) {
		v.StaleRest++
		v.breaks(c.history, "stale at rest", life, r, known)
	}
}

// own counts the reads of a life that miss its own writes. It is bound by those that
// failed, too.
func (c *check) own(life int) {
	v, h := &c.verdict, c.history
	own, kept := newAcks(), newAcks()
	own.add(h.Lives[life], (*Record).written)
	kept.add(h.Lives[life], func(r *Record) bool { return r.written() && !h.lost(r) })
	own.seal()
	kept.seal()
	for i := range h.Lives[life] {
		r := &h.Lives[life][i]
		if !r.Answered() || r.Stale {
			continue
		}
		missed, known := own.Age(r)
		keptMissed, _ := kept.Age(r)
		switch {
		case missed == 0:
		case keptMissed == 0 && h.excuses(r, c.bound(life, r)):
			v.Excused++
		default:
			v.OwnMisses++
			v.breaks(h, "own write missed", life, r, known)
		}
	}
}

// noteDisturbed finds the last fault that ended before a read that is older
// than usual.
func noteDisturbed(faults []Span, last []Moment, r *Record, everybody *Acks) {
	if r.Kind != Read || r.Stale || len(faults) == 0 {
		return
	}
	i := sort.Search(len(faults), func(i int) bool { return faults[i].End > r.Start }) - 1
	if i < 0 || i+1 < len(faults) && faults[i+1].Start <= r.Start {
		return // before the first, or the next one is there
	}
	if age, _ := everybody.Age(r); age > disturbed {
		last[i] = max(last[i], r.Start)
	}
}

// goneBack finds the reads of a process that returned less than a read had
// returned that ended before they began. That holds for answers that are flagged
// as stale, too.
func goneBack(life []Record, found func(r, before *Record)) {
	byEnd := make([]*Record, 0, len(life))
	for i := range life {
		if life[i].Answered() {
			byEnd = append(byEnd, &life[i])
		}
	}
	byStart := slices.Clone(byEnd)
	slices.SortStableFunc(byEnd, func(x, y *Record) int { return cmp.Compare(x.End, y.End) })
	slices.SortStableFunc(byStart, func(x, y *Record) int { return cmp.Compare(x.Start, y.Start) })
	highest := make(map[uint32]*Record)
	for _, r := range byStart {
		for ; len(byEnd) > 0 && byEnd[0].End < r.Start; byEnd = byEnd[1:] {
			if byEnd[0].Absent { // it may have been an earlier version than settle says
				continue
			}
			if h := highest[byEnd[0].Key]; h == nil || h.Version < byEnd[0].Version {
				highest[byEnd[0].Key] = byEnd[0]
			}
		}
		if h := highest[r.Key]; h != nil && r.UpTo() < h.Version {
			found(r, h)
		}
	}
}

// Quantile returns the age that this share of all reads did not exceed.
func (v *Verdict) Quantile(q float64) time.Duration {
	i := int(math.Ceil(q*float64(v.Reads))) - 1 - (v.Reads - len(v.Ages))
	if i < 0 || len(v.Ages) == 0 {
		return 0
	}
	return v.Ages[min(i, len(v.Ages)-1)]
}

// Violations is how many reads broke a promise.
func (v *Verdict) Violations() int { return v.Late + v.Back + v.OwnMisses + v.StaleRest }
