package near

import (
	"math"
	"sync/atomic"
)

const (
	// rarely is which accesses the policy is told of while everything fits: one in
	// 64 keeps it informed and costs a hit little.
	rarely = math.MaxUint64 / 64

	// always is all of them, for as long as what was given up pays for.
	always = math.MaxUint64

	// notesEach is how many accesses an entry pays for that is given up: so many
	// cost less than to load its value again.
	notesEach = 16

	// maxNotes bounds what a storm can leave behind.
	maxNotes = 1 << 16

	golden = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio, as in Knuth's multiplicative hashing
)

// notes decides which accesses the policy is told of. It needs to know more when
// it has something to decide.
type notes struct {
	share atomic.Uint64 // of all accesses, of 2^64
	paid  atomic.Int64  // how many more of them all
}

// Notes reports whether the policy is to be told of the n-th of many accesses.
// Those that it is told of are spread evenly over all of them and over those at
// any regular distance, so that no pattern of work escapes.
func (t *Tier) Notes(n uint64) bool { return n*golden <= t.notes.share.Load() }

// pay is called for an entry that was given up.
func (n *notes) pay() {
	if n.paid.Load() < maxNotes && n.paid.Add(notesEach) > 0 {
		n.set(always)
	}
}

// take is called for an access that the policy is told of.
func (n *notes) take() {
	if n.paid.Load() <= 0 || n.paid.Add(-1) <= 0 {
		n.set(rarely)
	}
}

// set writes only what is not there, since every hit reads it.
func (n *notes) set(share uint64) {
	if n.share.Load() != share {
		n.share.Store(share)
	}
}
