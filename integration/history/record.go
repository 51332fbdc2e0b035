package history

import (
	"slices"
	"time"
)

// Moment is a time in nanoseconds on a clock that all processes share and that nobody
// sets.
type Moment = int64

// Kind is what became of a call.
type Kind uint8

// The kinds.
const (
	Read   Kind = iota // a value was returned, or that there is none
	Failed             // a read returned an error
	Acked              // a write returned nil
	GaveUp             // a write returned an error
	AtRest             // a read after everything had come to rest
)

// Record is one call of a process about one key.
type Record struct {
	Kind       Kind
	Key        uint32
	Version    int64
	Start, End Moment

	Absent bool // the read was answered with that there is no value; Version is not known before [History.Check]
	Stale  bool // the read was answered with a value that is kept for when there is no other, and says so

	// Credit is the version that a read counts as if that is higher than Version: its value
	// was loaded when a replica of the source may have been behind by so much.
	Credit int64
}

// UpTo returns the version up to which a read misses nothing that is held against it.
func (r *Record) UpTo() int64 { return max(r.Version, r.Credit) }

// Answered reports whether r is a read that returned something.
func (r *Record) Answered() bool { return r.Kind == Read || r.Kind == AtRest }

// written reports whether r is a write, whatever became of it.
func (r *Record) written() bool { return r.Kind == Acked || r.Kind == GaveUp }

func (r *Record) acknowledged() bool { return r.Kind == Acked }

// Span is a time in which a fault was there.
type Span struct{ Start, End Moment }

// Loss is the end of a server that had acknowledged more than its heir has: a replica
// that was behind, or the same server, started again from a file. A cache cannot know of
// such a loss before it happened to read the journal again, so until then it may go back
// in time; it may not be later than its bound, because then it asks the source.
type Loss struct {
	// Died is when the first process may have met the heir, Back when the last one can
	// have met what was before.
	Died, Back Moment

	// Lost reports whether a write may be among what was lost.
	Lost func(*Record) bool

	// Stays says that nobody can know of what was lost: a server took it that others
	// knew to be deposed.
	Stays bool
}

// History is what the processes of a run saw, each life of a process on its own, and
// when there were faults.
type History struct {
	Lives  [][]Record
	Faults []Span
	Losses []Loss

	// Latest has the version of each key at the end. It may be nil if the lives have
	// them all.
	Latest []int64

	// AbsentAt reports whether a version of a key says that there is no value. Nil
	// means that none does.
	AbsentAt func(key uint32, version int64) bool
}

// lost reports whether the shared tier may have lost a write.
func (h *History) lost(r *Record) bool {
	for i := range h.Losses {
		if h.Losses[i].Lost(r) {
			return true
		}
	}
	return false
}

// excusesForGood reports whether no process may ever know of a loss.
func (h *History) excusesForGood(r *Record) bool {
	return slices.ContainsFunc(h.Losses, func(l Loss) bool { return l.Stays && r.End > l.Died })
}

// excuses reports whether a process may not have known of a loss at a read.
func (h *History) excuses(r *Record, bound time.Duration) bool {
	for i := range h.Losses {
		if l := &h.Losses[i]; r.End > l.Died && (l.Stays || r.Start < l.Back+int64(bound)) {
			return true
		}
	}
	return false
}
