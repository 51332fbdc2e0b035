package near

import "math"

// Peek is what the index has of a key, for people who look. Times are on the clock of the
// tier.
type Peek struct {
	Entry *Entry // nil if there is none
	Hit   bool   // Find returns it
	Use   Use    // what FindLate says of it, if it is no hit

	Ended   bool  // it was cleared, or one of its slots was invalidated
	Trusted int64 // until when it is believed, if nothing more is applied; MaxInt64: for its life
	Until   int64 // end of its life; 0: it was invalidated
	Kept    int64 // end of being kept as a stale value; 0: it is not
	Resting int64 // until when it is given as a stale value without another attempt
}

// Peek looks as Find and FindLate do. No counter and no queue takes note of it.
func (s *Space) Peek(key string, hash uint64) (p Peek) {
	t := s.tier
	now := t.coarse()
	for e := t.head(hash).Load(); e != nil; e = e.next.Load() {
		if e.is(s, key, hash) {
			p.Entry = e
			break
		}
	}
	e := p.Entry
	if e == nil {
		return p
	}
	p.Ended, p.Trusted, p.Until = !s.current(e), s.trustedUntil(e), e.until()
	served := p.Trusted >= now || t.conf.ServeStale
	if p.Hit = s.live(e, now) && served; p.Hit {
		return p
	}
	x := e.Extra()
	if x == nil || !s.keeps(e, now) {
		return p
	}
	p.Kept, p.Resting = x.kept, x.tried.Load()
	switch {
	case p.Until > now && served:
		p.Use = Serve
	case !x.Absent && x.Keep > 0:
		p.Use = Stale
	}
	return p
}

// trustedUntil returns until when trusted reports that e, an entry of s, is, if no horizon
// moves.
func (s *Space) trustedUntil(e *Entry) int64 {
	if s.tier.trust.limit == 0 {
		return math.MaxInt64
	}
	until := s.trustsUntil(e.since(), int(e.Partition))
	if e.tagged {
		for _, slot := range e.rare.slots {
			until = min(until, s.trustsUntil(e.since(), s.slotPart(slot)))
		}
	}
	return until
}

// Slots returns those of the tags of e. Nobody may change them.
func (e *Entry) Slots() []uint32 {
	if e.rare == nil {
		return nil
	}
	return e.rare.slots
}

// Ended reports whether a slot of e, an entry of s, was invalidated since it came in.
func (s *Space) Ended(e *Entry, slot uint32) bool {
	return e.Stamp.count < s.slots.of(slot)
}

// Cost returns what e counts against the bound, in bytes.
func (e *Entry) Cost() int64 { return int64(e.cost) }
