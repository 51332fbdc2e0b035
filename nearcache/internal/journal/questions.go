package journal

import (
	"cmp"
	"slices"
	"sync"

	"github.com/nearbus/nearbus/bus"
)

// maxQuestions is how many questions wait for the journal to be read. Who is not
// answered asks again.
const maxQuestions = 1024

// questions are those of other nodes that wait for the journal to be read.
type questions struct {
	mu      sync.Mutex // protects waiting
	waiting []question
}

type question struct {
	call  bus.BarrierRequest
	round uint64 // the latest that had begun; a later one reads what was written before the question
}

// Ask has the journals read to their ends, and call answered after that.
func (f *Follower) Ask(call bus.BarrierRequest) {
	f.questions.mu.Lock()
	known := slices.ContainsFunc(f.questions.waiting, func(w question) bool { return w.call.Same(call) })
	if !known && len(f.questions.waiting) < maxQuestions {
		f.questions.waiting = append(f.questions.waiting, question{call, f.rounds.count()})
	}
	f.questions.mu.Unlock()
	f.Trigger()
}

// answer answers the questions that came before this round, which has read all
// journals, began. Who knows a journal that goes on where that of this node ends, or is of
// another epoch, is not answered: one of the two reads what the other does not write. It
// asks again, when that may be over.
func (f *Follower) answer(round uint64) {
	f.questions.mu.Lock()
	defer f.questions.mu.Unlock()
	f.questions.waiting = slices.DeleteFunc(f.questions.waiting, func(w question) bool {
		if w.round >= round {
			return false
		}
		if f.hasReached(w.call.Positions()) {
			f.conf.Owner.Arrive(w.call)
		}
		return true
	})
}

// Known returns how far this node knows the journals to go: to where it has read them, or
// to its own latest write, of the later epoch. Those with its latest writes come first.
func (f *Follower) Known() bus.Positions {
	all := bus.Positions{Partitions: len(f.applied)}
	for p := range f.applied {
		rev := f.conf.Acked.Get(p)
		if rev.Number == 0 {
			continue // nothing of it has to arrive
		}
		if read := f.applied[p].Load(); read != nil && (read.Epoch > rev.Epoch || read.Epoch == rev.Epoch && read.Number > rev.Number) {
			rev = *read
		}
		all.Known = append(all.Known, bus.Position{Partition: p, Epoch: rev.Epoch, Revision: rev.Number})
	}
	slices.SortFunc(all.Known, func(a, b bus.Position) int { return cmp.Compare(b.Revision, a.Revision) })
	return all
}

// hasReached reports whether this node has read the journals to where another one knows
// them to go. Those of a store with another number of partitions cannot be compared.
func (f *Follower) hasReached(theirs bus.Positions) bool {
	if theirs.Partitions != len(f.applied) {
		return true
	}
	for _, at := range theirs.Known {
		if at.Partition >= len(f.applied) {
			continue
		}
		read := f.applied[at.Partition].Load()
		if read == nil || read.Epoch != at.Epoch || read.Number < at.Revision {
			return false
		}
	}
	return true
}
