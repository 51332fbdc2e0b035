package nearcache

import (
	"errors"
	"sync"
	"sync/atomic"
)

// maxFloors is how many keys of a cache have a floor of their own.
const maxFloors = 1 << 16

// floors keep reads from going back behind values that were loaded and not
// stored: while the shared tier is down, or does not take them. Such a value
// has no revision, but it is as new as every record that was written before its
// load began. A record that may be older is no hit on this node; whoever loads
// the key next replaces it.
type floors struct {
	some atomic.Bool // there are any; for readers

	mu   sync.Mutex        // protects the fields below
	keys map[uint64]uint64 // by hash: records up to this revision number may be older
	all  uint64            // the same for every key
	full bool              // there were more keys than there is room for
}

// raise says that the key of this hash is loaded from the source, when every
// record that there was had at most this number; 0 if that is not known.
func (f *floors) raise(hash, number uint64) footing {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.some.Store(true)
	if f.keys == nil {
		f.keys = make(map[uint64]uint64)
	}
	if _, known := f.keys[hash]; !known && len(f.keys) >= maxFloors {
		for _, n := range f.keys {
			f.all = max(f.all, n)
		}
		clear(f.keys)
		f.full = true
	}
	before, known := f.keys[hash]
	f.keys[hash] = max(before, number)
	return footing{hash: hash, number: number, before: before, known: known, raised: true}
}

// above reports whether a record of this number is newer than everything that
// was loaded.
func (f *floors) above(hash, number uint64) bool {
	if !f.some.Load() {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if floor := max(f.keys[hash], f.all); floor > 0 && number <= floor {
		return false
	}
	f.removeLocked(hash)
	return true
}

// has reports whether the key of this hash was loaded, and nothing newer was
// read since.
func (f *floors) has(hash uint64) bool {
	if !f.some.Load() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_, known := f.keys[hash]
	return known || f.full
}

func (f *floors) removeLocked(hash uint64) {
	delete(f.keys, hash)
	f.some.Store(len(f.keys) > 0 || f.full)
}

// footing is what a load knows of the floor that it raised.
type footing struct {
	hash, number uint64
	before       uint64 // what the floor was
	known        bool   // there was one
	raised       bool
}

// lower undoes p, unless the floor is another one by now.
func (f *floors) lower(p footing) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch now, there := f.keys[p.hash]; {
	case !there || now != max(p.number, p.before):
	case p.known:
		f.keys[p.hash] = p.before
	default:
		f.removeLocked(p.hash)
	}
}

// raiseFloor is called before a load whose value will not be stored. What it
// returns is for settleFloor.
//
// Without a journal, revisions have no order in time: the floor is then one for
// old values alone, which are older than what was loaded in any case.
func (c *Cache[V]) raiseFloor(key string, hash uint64) footing {
	switch {
	case c.node.tier == nil || c.node.faults.NoFloors:
	case c.node.repairs != nil:
		return c.floors.raise(hash, c.node.tier.Newest(c.storeKey(key)))
	case c.opts.FailSafe > 0:
		return c.floors.raise(hash, 0)
	}
	return footing{}
}

// settleFloor is called when that load has ended with err, before anybody is
// given its value. A load that failed has given nothing that a record could be
// behind.
func (c *Cache[V]) settleFloor(p footing, err error) {
	switch {
	case !p.raised:
	case err == nil || errors.Is(err, ErrNotFound):
		c.floors.raise(p.hash, p.number) // another load that failed may have lowered it
	default:
		c.floors.lower(p)
	}
}
