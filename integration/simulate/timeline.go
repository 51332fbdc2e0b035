package simulate

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/nearbus/nearbus/integration/history"
)

// timelineBefore is how much of a run is told before a violation.
const timelineBefore = 15 * time.Second

// Timeline prints what led to a violation: the faults, the writes of the key, and what
// the process that broke the promise answered for it.
func (r *Result) Timeline(out io.Writer, v *Violation) {
	f := r.fleet
	fmt.Fprintf(out, "%s: %s: process %d, key %d, version %d\n", v.Promise, v.What, v.Node, v.Read.Key, v.Read.Version)
	var lines []event
	from := v.Read.Start - int64(timelineBefore)
	if v.Known != 0 {
		from = min(from, v.Known-int64(timelineBefore))
	}
	add := func(at history.Moment, format string, args ...any) {
		if at >= from && at <= v.Read.End {
			lines = append(lines, event{at, fmt.Sprintf(format, args...)})
		}
	}
	for _, e := range f.events {
		add(e.at, "%s", e.text)
	}
	for _, l := range f.lives {
		add(l.began.UnixNano(), "process %d begins", l.node)
		l.recount(add, v)
	}
	slices.SortStableFunc(lines, func(a, b event) int { return int(a.at - b.at) })
	for _, line := range lines {
		fmt.Fprintf(out, "  %10s  %s\n", f.since(line.at), line.text)
	}
}

// recount adds what a life wrote and, if it is the one in question, read of a key. Reads
// that are like the one before are left out.
func (l *life) recount(add func(history.Moment, string, ...any), v *Violation) {
	for i := range l.loads {
		d := &l.loads[i]
		if version, ok := d.versions[v.Read.Key]; ok && l.number == v.Life {
			add(d.end, "process %d loads version %d, after %s", l.node, version, time.Duration(d.end-d.began))
		}
	}
	last := history.Record{Version: -1}
	for _, r := range l.records {
		if r.Key != v.Read.Key {
			continue
		}
		took := time.Duration(r.End - r.Start).Round(time.Microsecond)
		switch r.Kind {
		case history.Acked:
			add(r.Start, "process %d writes version %d", l.node, r.Version)
			add(r.End, "process %d has written version %d, after %s", l.node, r.Version, took)
		case history.GaveUp:
			add(r.Start, "process %d writes version %d", l.node, r.Version)
			add(r.End, "process %d does not know whether it has written version %d, after %s", l.node, r.Version, took)
		default:
			if l.number != v.Life || r.Version == last.Version && r.Kind == last.Kind && r != v.Read {
				continue
			}
			last = r
			add(r.End, "process %d %s, after %s", l.node, said(&r), took)
		}
	}
}

func said(r *history.Record) string {
	var b strings.Builder
	switch {
	case r.Kind == history.Failed:
		return "is answered with an error"
	case r.Absent:
		fmt.Fprintf(&b, "reads that there is no value (version %d)", r.Version)
	default:
		fmt.Fprintf(&b, "reads version %d", r.Version)
	}
	if r.Stale {
		b.WriteString(", flagged as stale")
	}
	return b.String()
}

// since is a time in the run.
func (f *fleet) since(at history.Moment) time.Duration {
	return time.Duration(at - f.began).Round(10 * time.Microsecond)
}
