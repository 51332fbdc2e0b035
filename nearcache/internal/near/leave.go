package near

import (
	"math"
	"slices"
)

// closed is the mark of a space that was closed: no stamp passes it.
const closed = math.MaxUint64

// Close takes out all that s has, and frees what s takes. Nothing comes in any more, and nothing is
// found. Another space may have its number from then on.
//
// The mark comes first: whatever comes in is compared with it under the lock of its stripe, and
// what came in before is there for the walk, which begins when each lock was free.
func (s *Space) Close() {
	t := s.tier
	s.mark.Store(closed)
	t.awaitStripes()
	for head := range t.heads {
		if t.heads[head].Load() == nil {
			continue
		}
		st := t.stripeOf(uint64(head))
		st.mu.Lock()
		for e := t.heads[head].Load(); e != nil; e = e.next.Load() {
			if s.Has(e) {
				t.removeLocked(e)
			}
		}
		st.mu.Unlock()
	}
	t.tables.release(s)
	t.spacesMu.Lock()
	defer t.spacesMu.Unlock()
	if all := *t.spaces.Load(); all[s.number] == s {
		all = slices.Clone(all)
		all[s.number] = t.nobodys()
		t.spaces.Store(&all)
		t.free = append(t.free, s.number)
	}
}

// nobodys returns the space that stands in the place of those that were closed.
func (t *Tier) nobodys() *Space {
	s := &Space{tier: t, share: new(share)}
	s.mark.Store(closed)
	s.Place(func() int { return 0 }, func(uint32) int { return 0 })
	return s
}
