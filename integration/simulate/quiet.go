package simulate

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/nearbus/nearbus/integration/history"
	"github.com/nearbus/nearbus/nearcache"
)

// quiet is what only a fleet without any fault is held to: see [Plan.Quiet]. It is
// empty for others.
type quiet struct {
	fetches []fetched
	sweeps  []history.Span // in which somebody invalidated a tag, or all
}

// fetched is one Fetch of a key.
type fetched struct {
	life *life
	history.Record
}

// prompt is how long after a write all nodes have heard of it without faults, and how long
// it may be felt.
const prompt = 150 * time.Millisecond

// fetched is told of each answer of Fetch.
func (o *oracle) fetched(l *life, r *history.Record) {
	if !o.fleet.plan.Quiet {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.quiet.fetches = append(o.quiet.fetches, fetched{l, *r})
}

// swept is told of what ends values of many keys.
func (o *oracle) swept(start history.Moment) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.quiet.sweeps = append(o.quiet.sweeps, history.Span{Start: start, End: now()})
}

// erred is told of what a call returned. Without faults there are no errors.
func (o *oracle) erred(l *life, what Call, start history.Moment, err error) {
	closed := l.closing.Load() && errors.Is(err, nearcache.ErrClosed)
	if o.fleet.plan.Quiet && err != nil && !errors.Is(err, nearcache.ErrNotFound) && !closed {
		o.unquiet(l, fmt.Sprintf("%s: %v", what, err), history.Record{Start: start, End: now()})
	}
}

func (o *oracle) unquiet(l *life, what string, r history.Record) {
	o.violated(Violation{Promise: "Quiet", What: what, Node: l.node, Life: l.number, Read: r})
}

// noted are counters that stand still while nothing fails.
var noted = []string{
	"Values.Panics", "Loads.Unrequested", "Loads.LeaseTimeouts", "Loads.Degraded", "Reads.Stale", "Shared.Errors",
	"Writes.Unannounced", "Writes.Pending", "Shared.Unverified", "Values.Undecodable", "Values.Unencodable",
	"Values.Untaggable", "Values.TooLarge", "Bus.UnknownCaches", "Bus.Gaps", "Near.Flushes", "Bus.FailedTexts", "Unproven",
	"Journal.Failures", "Journal.Repaired", "Journal.Resets", "Bus.Mismatches", "Bus.OptionsDiffer", "Near.Stale", "Near.TooLarge",
}

// counter returns the counter of this name, if stats have it.
func counter(stats any, name string) (n int64, ok bool) {
	v := reflect.ValueOf(stats)
	for field := range strings.SplitSeq(name, ".") {
		if v = v.FieldByName(field); !v.IsValid() {
			return 0, false
		}
	}
	if v.CanUint() {
		return int64(v.Uint()), true
	}
	return v.Int(), true
}

// counters returns what the counters of a process say.
func (l *life) counters() map[string]int64 {
	all := make(map[string]int64)
	for _, stats := range []any{l.cache.Stats(), l.companion.Stats(), l.library.Stats()} {
		for _, name := range noted {
			if n, ok := counter(stats, name); ok {
				all[name] += n
			}
		}
	}
	return all
}

// count holds the counters of all processes against those from before the work, and looks
// how they are.
func (o *oracle) count() {
	for _, l := range o.fleet.lives {
		if l.closing.Load() {
			continue // its caches were closed, and opened anew in another life
		}
		h := l.library.Health()
		if late := h.Behind > o.fleet.plan.JournalInterval+prompt; late || !h.Trusted || h.BusCut || h.PendingInvalidations != 0 || h.Journal != nil || h.Mismatch != "" {
			o.unquiet(l, fmt.Sprintf("its health is %+v", h), history.Record{Start: now(), End: now()})
		}
		for name, n := range l.counters() {
			if before := l.before[name]; n != before {
				o.unquiet(l, fmt.Sprintf("%s was %d, and is %d", name, before, n), history.Record{Start: now(), End: now()})
			}
		}
	}
}

// judgeQuiet holds a run without any fault against what it could do.
func (o *oracle) judgeQuiet(h *history.History) {
	f, acks := o.fleet, h.Acknowledged(true)
	changes := o.changes(h)
	for n, life := range h.Lives {
		for i := range life {
			r := &life[i]
			if age, since := acks.Age(r); r.Answered() && !r.Stale && age > prompt {
				o.violated(Violation{Promise: "G3", What: "late without any fault", Node: f.lives[n].node, Life: n, Read: *r, Known: since})
			}
		}
	}
	if !f.plan.Features { // values live for long
		o.judgeNear(changes)
		o.judgeLoads(changes)
	}
}

// changes returns for each key when something was done that may end its value.
func (o *oracle) changes(h *history.History) map[uint32][]history.Span {
	changes := make(map[uint32][]history.Span)
	for key := range uint32(o.fleet.plan.allKeys()) {
		changes[key] = slices.Clone(o.quiet.sweeps)
	}
	for _, life := range h.Lives {
		for i := range life {
			if r := &life[i]; r.Kind == history.Acked || r.Kind == history.GaveUp {
				changes[r.Key] = append(changes[r.Key], history.Span{Start: r.Start, End: r.End})
			}
		}
	}
	return changes
}

// changed reports whether a change may be felt in a time.
func changed(changes []history.Span, from, to history.Moment) bool {
	return slices.ContainsFunc(changes, func(s history.Span) bool { return s.Start <= to && s.End+int64(prompt) >= from })
}

// judgeNear counts the values that a process had read and that did not change, and that
// were not near when it read them again: an answer that is near takes no time.
func (o *oracle) judgeNear(changes map[uint32][]history.Span) {
	type place struct {
		life int
		key  uint32
	}
	slices.SortStableFunc(o.quiet.fetches, func(a, b fetched) int { return cmp.Compare(a.Start, b.Start) })
	last := make(map[place]fetched)
	expected, missing := 0, 0
	var example fetched
	for _, r := range o.quiet.fetches {
		at := place{r.life.number, r.Key}
		before, ok := last[at]
		if ok && before.End < r.Start && !before.Absent && !changed(changes[r.Key], before.Start, r.End) {
			expected++
			if r.End > r.Start {
				missing, example = missing+1, r
			}
		}
		last[at] = r
	}
	if missing*mostMissing > expected {
		o.unquiet(example.life, fmt.Sprintf("%d of %d values that were read before are not near", missing, expected), example.Record)
	}
}

// mostMissing is of how many values one may be missing.
const mostMissing = 50

// judgeLoads finds keys that were loaded again although nothing had changed.
func (o *oracle) judgeLoads(changes map[uint32][]history.Span) {
	type loading struct {
		life    *life
		began   history.Moment
		version int64
	}
	loads := make(map[uint32][]loading)
	for _, l := range o.fleet.lives {
		for _, one := range l.loads {
			for key, version := range one.versions {
				loads[key] = append(loads[key], loading{l, one.began, version})
			}
		}
	}
	for key, all := range loads {
		slices.SortFunc(all, func(a, b loading) int { return cmp.Compare(a.began, b.began) })
		for i := 1; i < len(all); i++ {
			a, b := all[i-1], all[i]
			if !absentAt(key, a.version) && !changed(changes[key], a.began, b.began) {
				o.violated(Violation{
					Promise: "G6", What: fmt.Sprintf("loaded by process %d, too", a.life.node), Node: b.life.node, Life: b.life.number,
					Read: history.Record{Key: key, Version: b.version, Start: b.began, End: b.began},
				})
			}
		}
	}
}
