package near

import (
	"sync"

	"github.com/nearbus/nearbus/shared/driver"
)

// stripe guards a share of the index and carries its marks: one for each of the keys that
// were invalidated last, and one, the floor, for all other keys. A mark that many keys
// share keeps values out that nobody invalidated, which costs a load and nothing else.
type stripe struct {
	mu       sync.Mutex      // protects the fields below and the chains of the stripe
	floor    uint64          // mark of every key but last and the recent ones
	last     uint64          // hash of the key that was invalidated last
	lastMark uint64          // its mark
	known    driver.Revision // of last: what reads that began since lastMark find at least
	recent   *recents        // the same of keys that were last before; nil if there are none
	writes   *Write          // own writes that have not been answered, and refreshes under way; the latest first

	// It is 64 bytes, a cache line of its own.
}

// markLocked returns the mark of the key with this hash. The lock must be held.
func (s *stripe) markLocked(hash uint64) uint64 {
	if hash == s.last {
		return s.lastMark
	}
	if i := s.recent.find(hash); i >= 0 {
		return s.recent.marks[i]
	}
	return s.floor
}

// raiseLocked sets the mark of the key with this hash to n, a count that was
// taken under the lock and is therefore higher than all marks of the stripe.
// Other keys get the mark of the key that is forgotten for it, at most. found is
// what the shared tier holds by now at least, or zero if it did not say.
func (s *stripe) raiseLocked(hash, n uint64, found driver.Revision) {
	if hash != s.last {
		known := s.recent.known(hash)
		s.rememberLocked(hash)
		s.last, s.known = hash, known
	}
	s.lastMark = n
	if found.Number != 0 && !s.known.Covers(found) {
		s.known = found
	}
}

// knowsLocked reports whether reads of the key with this hash that began since
// its mark find the write r at least.
func (s *stripe) knowsLocked(hash uint64, r driver.Revision) bool {
	if hash == s.last {
		return s.known.Covers(r)
	}
	return s.recent.known(hash).Covers(r)
}

// rememberLocked puts last among the recent keys, in the place of the one that takes the
// place of last, or of the oldest.
func (s *stripe) rememberLocked(next uint64) {
	if s.lastMark == 0 {
		return // there is none
	}
	if s.recent == nil {
		s.recent = new(recents)
	}
	r := s.recent
	out := r.find(next)
	if out < 0 {
		out = len(r.hashes) - 1
		s.floor = max(s.floor, r.marks[out])
	}
	copy(r.hashes[1:out+1], r.hashes[:out])
	copy(r.marks[1:out+1], r.marks[:out])
	r.hashes[0], r.marks[0] = s.last, s.lastMark
	if r.revisions == nil {
		if s.known.Number == 0 {
			return
		}
		r.revisions = new([manyRecents]driver.Revision)
	}
	copy(r.revisions[1:out+1], r.revisions[:out])
	r.revisions[0] = s.known
}

// manyRecents is how many keys have a mark of their own beside the last one. It is enough
// for the other keys of a batch that is written, and for what others write during a load.
const manyRecents = 16

// recents are the marks of a few keys of a stripe, the latest first, and what is known of
// the keys. Without that, keys that are written in turn with a neighbour of theirs would
// have their reads fence each other for as long as readers come.
type recents struct {
	hashes, marks [manyRecents]uint64           // a mark of 0 says that there is none
	revisions     *[manyRecents]driver.Revision // nil until one is known
}

// find returns where a hash is, or -1.
func (r *recents) find(hash uint64) int {
	if r != nil {
		for i, h := range r.hashes {
			if h == hash && r.marks[i] != 0 {
				return i
			}
		}
	}
	return -1
}

func (r *recents) known(hash uint64) driver.Revision {
	if i := r.find(hash); i >= 0 && r.revisions != nil {
		return r.revisions[i]
	}
	return driver.Revision{}
}
