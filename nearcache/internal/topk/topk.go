// Package topk finds the keys to which something happens most often, in memory that is
// bounded and without a note of every key.
package topk

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

const (
	// size is how many keys are counted at a time.
	size = 64

	// period is how long one table counts. A Sketch tells of the current period and the one
	// before.
	period = 5 * time.Minute

	// Longest is how long ago what is counted can have happened.
	Longest = 2 * period

	// most is how many keys Top returns.
	most = 20
)

// Sketch counts keys. It is Space-Saving (Metwally, Agrawal, El Abbadi: "Efficient Computation
// of Frequent and Top-k Elements in Data Streams", ICDT 2005): a key without a counter takes
// the place of the one with the least count, and goes on from that. So whichever key has more
// than a 64th of all counts of a period has a counter, and no count is too low.
//
// The zero Sketch is ready and takes up no room until the first Add. It is safe for use by
// many goroutines.
type Sketch struct {
	mu          sync.Mutex // protects the fields below
	now, before *table
	began       int64 // when now began
}

// Count is how often something happened to a key.
type Count struct {
	Key             string
	AtLeast, AtMost uint64
}

// Add counts one for a key, whose hash this is, at a time in nanoseconds that does not go
// back. It copies the key.
func (s *Sketch) Add(hash uint64, key string, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turnLocked(at)
	if s.now == nil && s.before == nil {
		s.began = at // or the period goes on from the one before
	}
	if s.now == nil {
		s.now = new(table)
	}
	s.now.add(hash, key)
}

// turnLocked begins another period if the current one is over.
func (s *Sketch) turnLocked(at int64) {
	switch old := at - s.began; {
	case s.now == nil && s.before == nil || old < int64(period):
	case old < 2*int64(period):
		s.before, s.now, s.began = s.now, nil, s.began+int64(period)
	default:
		s.before, s.now = nil, nil
	}
}

// Top returns the keys with the highest counts of this period and the one before, the highest
// first. At most 20 are returned.
func (s *Sketch) Top(at int64) []Count {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turnLocked(at)
	all := make(map[uint64]*Count)
	for _, t := range []*table{s.now, s.before} {
		t.enter(all)
	}
	top := make([]Count, 0, len(all))
	for hash, c := range all {
		for _, t := range []*table{s.now, s.before} {
			c.AtMost += t.unknown(hash)
		}
		top = append(top, *c)
	}
	slices.SortFunc(top, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.AtLeast, a.AtLeast), cmp.Compare(b.AtMost, a.AtMost), cmp.Compare(a.Key, b.Key))
	})
	return top[:min(len(top), most)]
}

// table is the counters of a period. Hashes lie together, since most of an Add is the search
// for one.
type table struct {
	used   int
	hashes [size]uint64
	counts [size]uint64
	over   [size]uint64 // by how much a count may be too high
	keys   [size][]byte // whose room is used again
}

func (t *table) add(hash uint64, key string) {
	for i, h := range t.hashes[:t.used] {
		if h == hash {
			t.counts[i]++
			return
		}
	}
	at := t.used
	if at < size {
		t.used++
	} else {
		at = t.least()
		t.over[at] = t.counts[at]
	}
	t.hashes[at], t.keys[at] = hash, append(t.keys[at][:0], key...)
	t.counts[at]++
}

// least returns the place of the least count.
func (t *table) least() (at int) {
	for i, n := range t.counts[:t.used] {
		if n < t.counts[at] {
			at = i
		}
	}
	return at
}

// enter adds the counts of t to all. t may be nil.
func (t *table) enter(all map[uint64]*Count) {
	if t == nil {
		return
	}
	for i, hash := range t.hashes[:t.used] {
		c := all[hash]
		if c == nil {
			c = &Count{Key: string(t.keys[i])}
			all[hash] = c
		}
		c.AtLeast += t.counts[i] - t.over[i]
		c.AtMost += t.counts[i]
	}
}

// unknown returns how high the count of a key may be that has no counter in t. t may be nil.
func (t *table) unknown(hash uint64) uint64 {
	if t == nil || t.used < size || slices.Contains(t.hashes[:], hash) {
		return 0
	}
	return t.counts[t.least()]
}
