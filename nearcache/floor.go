package nearcache

import (
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
}

// raise says that the key of this hash is loaded from the source, when every
// record that there was had at most this number.
func (f *floors) raise(hash, number uint64) {
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
	}
	f.keys[hash] = max(f.keys[hash], number)
}

// above reports whether a record of this number is newer than everything that
// was loaded.
func (f *floors) above(hash, number uint64) bool {
	if !f.some.Load() {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if number <= f.keys[hash] || number <= f.all {
		return false
	}
	delete(f.keys, hash)
	f.some.Store(len(f.keys) > 0 || f.all > 0)
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
	return known || f.all > 0
}

// raiseFloor is called before a load whose value will not be stored.
func (c *Cache[V]) raiseFloor(key string, hash uint64) {
	if c.node.repairs == nil || c.node.faults.NoFloors {
		return // without a journal, revisions have no order in time
	}
	c.floors.raise(hash, c.node.tier.Newest(c.storeKey(key)))
}
