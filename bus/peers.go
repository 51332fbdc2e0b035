package bus

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxPeers bounds what is remembered of other processes.
const maxPeers = 4096

// peers is what a subscription knows of the other processes on the channel, to
// notice that one of their messages is missing, and to know who must answer a
// barrier. The invariant: of every peer in the map, all messages since it was
// first heard have been seen, up to latest, or a loss was reported.
//
// A peer that was never heard of cannot be missed. One that is first heard when
// it has sent something already may have sent it before this subscription
// began, but not if that was long ago.
type peers struct {
	mu      sync.Mutex       // protects the following fields
	known   map[uint64]*peer // by incarnation
	learned int64            // moment from which on whoever is new must begin at the beginning
	timeout int64            // after so long a peer counts as silent
	crowded int64            // moment until which the map has no room for all
	changed bool             // something that list returns, since news was called
}

type peer struct {
	node    string
	latest  uint64 // highest sequence heard of
	heard   int64  // moment
	deaf    bool   // it publishes and does not listen
	version uint8  // as in Peer
	about   About  // likewise
}

// reset begins anew, with a subscription that was made at this moment.
func (p *peers) reset(now, timeout int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known, p.changed = make(map[uint64]*peer), true
	p.learned, p.timeout = now+timeout, timeout
}

// note takes in a message with this sequence, or a heartbeat that names it as
// the latest, and reports whether one is missing before it. A message that a
// store announced has no sequence, and says only that the peer is there.
func (p *peers) note(f *frame, now int64) (missing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := &f.message
	who, known := p.known[m.Incarnation]
	if m.Sequence == 0 && !f.heartbeat {
		if known {
			who.heard = now
		}
		return false
	}
	if !known {
		who = p.meetLocked(m, now)
		who.latest = m.Sequence
		if !f.heartbeat {
			who.latest = m.Sequence - 1
		}
		missing = now > p.learned && who.latest > 0
	}
	who.heard = now
	if f.kind == typeHeartbeat {
		p.hearLocked(who, &f.extension)
	}
	next := who.latest + 1
	if f.heartbeat {
		next--
	}
	missing = missing || m.Sequence > next
	who.latest = max(who.latest, m.Sequence)
	if f.kind == typeGoodbye {
		delete(p.known, m.Incarnation)
		p.changed = true
	}
	return missing
}

// meetLocked adds a peer, in the place of the one that was silent for longest if
// there are too many. Should that one return, it counts as new.
func (p *peers) meetLocked(m *Message, now int64) *peer {
	if len(p.known) >= maxPeers {
		oldest, heard := uint64(0), int64(math.MaxInt64)
		for id, who := range p.known {
			if who.heard < heard {
				oldest, heard = id, who.heard
			}
		}
		delete(p.known, oldest)
		p.crowded = now + p.timeout
	}
	who := &peer{node: strings.Clone(m.Node)}
	p.known[m.Incarnation], p.changed = who, true
	return who
}

// maxNamed is how many peers an error names.
const maxNamed = 4

// forgetSilent forgets peers that were not heard of since a moment. If there were any,
// it returns an error that names them: what they sent may not have come either.
func (p *peers) forgetSilent(since int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var silent []string
	for id, who := range p.known {
		if who.heard < since {
			delete(p.known, id)
			silent = append(silent, strconv.Quote(who.node))
		}
	}
	if len(silent) == 0 {
		return nil
	}
	p.changed = true
	slices.Sort(silent)
	names := strings.Join(silent[:min(len(silent), maxNamed)], ", ")
	if more := len(silent) - maxNamed; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Errorf("%w: %s", ErrPeerSilent, names)
}

// roll returns the names of the peers that listen, by incarnation, and how long it
// is until these are all: until the subscription stands for long enough to have
// heard of everybody, and there was room for them. It is negative if they are.
func (p *peers) roll(now int64) (here map[uint64]string, complete time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	here = make(map[uint64]string, len(p.known))
	for id, who := range p.known {
		if !who.deaf {
			here[id] = who.node
		}
	}
	if p.known == nil {
		return here, time.Duration(math.MaxInt64)
	}
	return here, time.Duration(max(p.learned, p.crowded) - now)
}
