package near

import (
	"math"
	"slices"
)

// closed is the mark of a space that was closed: no stamp passes it.
const closed = math.MaxUint64

// Close takes out all that s has, and frees what s takes. Nothing comes in any more, and nothing is
// found. Another space may have its number from then on.
func (s *Space) Close() {
	t := s.tier
	s.mark.Store(closed)
	t.takeOut(s.Has)
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
