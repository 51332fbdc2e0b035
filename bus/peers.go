package bus

import "math"

// maxPeers bounds what is remembered of other processes.
const maxPeers = 4096

// peers is what a subscription knows of the other processes on the channel, to
// notice that one of their messages is missing. The invariant: of every peer in
// the map, all messages since it was first heard have been seen, up to latest,
// or a loss was reported.
//
// A peer that was never heard of cannot be missed. One that is first heard when
// it has sent something already may have sent it before this subscription
// began, but not if that was long ago.
type peers struct {
	known   map[uint64]*peer // by incarnation
	learned int64            // moment from which on whoever is new must begin at the beginning
}

type peer struct {
	latest uint64 // highest sequence heard of
	heard  int64  // moment
}

// reset begins anew, with a subscription that was made at this moment.
func (p *peers) reset(now, timeout int64) {
	p.known = make(map[uint64]*peer)
	p.learned = now + timeout
}

// note takes in a message with this sequence, or a heartbeat that names it as
// the latest, and reports whether one is missing before it. A message that a
// store announced has no sequence, and says only that the peer is there.
func (p *peers) note(f *frame, now int64) (missing bool) {
	m := &f.message
	who, known := p.known[m.Incarnation]
	if m.Sequence == 0 && !f.heartbeat {
		if known {
			who.heard = now
		}
		return false
	}
	if !known {
		who = p.meet(m.Incarnation)
		who.latest = m.Sequence
		if !f.heartbeat {
			who.latest = m.Sequence - 1
		}
		missing = now > p.learned && who.latest > 0
	}
	who.heard = now
	next := who.latest + 1
	if f.heartbeat {
		next--
	}
	missing = missing || m.Sequence > next
	who.latest = max(who.latest, m.Sequence)
	if f.leaving {
		delete(p.known, m.Incarnation)
	}
	return missing
}

// meet adds a peer, in the place of the one that was silent for longest if
// there are too many. Should that one return, it counts as new.
func (p *peers) meet(incarnation uint64) *peer {
	if len(p.known) >= maxPeers {
		oldest, heard := uint64(0), int64(math.MaxInt64)
		for id, who := range p.known {
			if who.heard < heard {
				oldest, heard = id, who.heard
			}
		}
		delete(p.known, oldest)
	}
	who := &peer{}
	p.known[incarnation] = who
	return who
}

// forgetSilent forgets peers that were not heard of since a moment, and reports
// whether there were any: what they sent may not have come either.
func (p *peers) forgetSilent(since int64) (silent bool) {
	for id, who := range p.known {
		if who.heard < since {
			delete(p.known, id)
			silent = true
		}
	}
	return silent
}
