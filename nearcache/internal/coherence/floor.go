package coherence

import (
	"sync"
	"sync/atomic"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/near"
)

// maxFloors is how many keys of a cache have a floor of their own.
const maxFloors = 1 << 16

// Floor is what a value without a revision leaves behind once callers were given it:
// one that was loaded and not stored. Every record of the key that was written, or
// whose load began, before that moment may be older. Such a record is no hit on this
// node; whoever loads the key next replaces it.
type Floor struct {
	number uint64 // no revision was above it then; 0 if revisions have no order in time
	At     int64  // when that was, on the clock of the near tier; 0: there is no floor
}

// Holds reports whether there is a floor.
func (p Floor) Holds() bool { return p.At != 0 }

// under reports whether a record of this number, whose read began then, is newer than what
// was given.
func (p Floor) under(number uint64, began int64) bool {
	if p.number == 0 {
		return began > p.At
	}
	return number > p.number
}

// floors are the floors of a cache, by the hash of the key.
type floors struct {
	some atomic.Bool // there are any; for readers

	mu   sync.Mutex // protects the fields below
	keys map[uint64]Floor
	all  Floor // of every key: there were more than there is room for
}

// raise raises the floor of a key.
func (f *floors) raise(hash uint64, to Floor) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.some.Store(true)
	if f.keys == nil {
		f.keys = make(map[uint64]Floor)
	}
	if _, known := f.keys[hash]; !known && len(f.keys) >= maxFloors {
		for _, p := range f.keys {
			f.all = f.all.max(p)
		}
		clear(f.keys)
	}
	f.keys[hash] = f.keys[hash].max(to)
}

func (p Floor) max(o Floor) Floor { return Floor{max(p.number, o.number), max(p.At, o.At)} }

// Of returns the floor of a key.
func (f *floors) Of(hash uint64) Floor {
	if !f.some.Load() {
		return Floor{}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.keys[hash].max(f.all)
}

// passed says that a record of the key is newer than its floor, which is of no use
// any more: who reads the shared tier from here on finds nothing older.
func (f *floors) passed(hash uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.keys, hash)
	f.some.Store(len(f.keys) > 0 || f.all.Holds())
}

// admits is asked last before an entry comes near. A value that this node loaded or
// wrote is newer than the floor if its load or write began later, whatever the clock
// of the server was then.
func (f *floors) admits(e *near.Entry, hash uint64, stale bool) bool {
	p := f.Of(hash)
	switch {
	case !p.Holds() || e.Revision.Number == 0: // values that are not stored have no order among themselves
		return true
	case stale:
		return false
	case p.under(e.Revision.Number, e.Stamp.At()) || !e.FromShared && e.Stamp.At() > p.At:
		f.passed(hash)
		return true
	}
	return false
}

// giveUnstored is called before callers are given what was loaded for a key and is not
// stored: no record that may be older is read from here on, and nobody joins a read
// that may bring one.
//
// Without a journal, revisions have no order in time: the floor is then one for reads that
// began before, and for old values, which are older than what was loaded in any case.
func (k *Keyspace) giveUnstored(key string, hash uint64) {
	if k.node.Tier == nil || k.node.Faults.Off(fault.Floors) {
		return
	}
	k.raiseFloor(key, hash)
}

// raiseFloor says that all records of the key which there are by now may be older than what
// callers of this node, or another one, were given.
func (k *Keyspace) raiseFloor(key string, hash uint64) {
	floor := Floor{At: k.node.Near.Now()}
	if k.node.numbersFloors() {
		floor.number = k.newest(key)
	}
	k.Floors.raise(hash, floor)
}

// numbersFloors reports whether floors have numbers: whether a record that is read after what was
// loaded past the shared tier is told from an older one.
func (n *Node) numbersFloors() bool { return n.Journal != nil }

// newest returns a number that no revision of key that this node can have heard of has
// passed: by the clock of its server, or, if that was set back, by the journal.
func (k *Keyspace) newest(key string) uint64 {
	number := k.node.Tier.Newest(k.StoreKey(key))
	if heads := k.node.heads; len(heads) > 0 {
		if head := heads.Of(k.Partition(key)); head != nil {
			number = max(number, head.Number)
		}
	}
	return number
}
