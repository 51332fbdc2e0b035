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
//
// Who is there is known across breaks of the subscription: a peer that was heard before
// a break is not gone because nothing is heard during it. So silence is measured in time
// listened, as is how long it takes to hear of everybody. Numbers of messages are not
// known across a break, which is a gap anyway.
type peers struct {
	opts *Options // set once

	mu      sync.Mutex       // protects the following fields
	known   map[uint64]*peer // by incarnation
	crowded int64            // until so much was listened the map has no room for all
	changed bool             // something that list returns, since news was called
	silent  map[uint64]*peer // that listened, and fell silent without a goodbye; see silence.go
	slowest time.Duration    // longest interval that a peer says; see pace.go

	since    int64 // moment from which on the subscription stands; 0: none does
	until    int64 // moment up to which the one before is known to have been heard
	listened int64 // time that earlier ones were heard
}

type peer struct {
	node     string
	latest   uint64        // highest sequence heard of
	counted  bool          // latest is known: it was heard over this subscription
	heard    int64         // moment, put off by the breaks since
	asked    int64         // moment at which it was asked first to say something, if it did not since
	asks     int           // how often it was, since then
	interval time.Duration // of its heartbeats; 0: it does not say
	came     int64         // moment at which its latest message came
	silent   bool          // it is among the silent
	told     bool          // a heartbeat of it was heard
	deaf     bool          // it does not listen
	readOnly bool          // it says that it publishes nothing
	version  uint8         // as in Peer
	about    About         // likewise
}

// begin takes in that a subscription stands from now on.
func (p *peers) begin(now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, who := range p.known {
		who.heard = min(who.heard+now-p.until, now)
		who.counted, who.asks = false, 0
	}
	p.since = now
}

// end takes in that the subscription does not stand any more. What came until the moment
// heard has come; after that it may have been dead.
func (p *peers) end(heard int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since == 0 {
		return
	}
	p.until = max(heard, p.since)
	p.listened += p.until - p.since
	p.since = 0
}

// listenedLocked returns for how long this process has listened.
func (p *peers) listenedLocked(now int64) int64 {
	if p.since == 0 {
		return p.listened
	}
	return p.listened + now - p.since
}

// note takes in a message with this sequence, or a heartbeat that names it as
// the latest, and reports whether one is missing before it. A message that a
// store announced has no sequence, and says only that the peer is there. Nothing is
// missing of what comes before the subscription stands.
func (p *peers) note(f *frame, now int64) (missing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := &f.message
	who, known := p.known[m.Incarnation]
	if m.Sequence == 0 && !f.heartbeat {
		if known {
			who.hear(now)
		}
		return false
	}
	if !known {
		who = p.addLocked(m, now)
	}
	who.hear(now)
	if f.kind == typeHeartbeat {
		p.hearLocked(who, &f.extension)
	}
	if !who.counted {
		who.counted, who.latest = true, m.Sequence
		if !f.heartbeat {
			who.latest = m.Sequence - 1
		}
		missing = now > p.since+p.patienceLocked() && who.latest > 0
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
	return missing && p.since > 0
}

// hear takes in that a message of the peer came.
func (who *peer) hear(now int64) { who.heard, who.came, who.asks = now, now, 0 }

// learned returns the moment from which on whoever is new must begin at the beginning: by then
// every process that was there has sent heartbeats, and all servers know of the subscription.
func (p *peers) learned() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.since + p.patienceLocked()
}

// addLocked adds a peer, in the place of the one that was silent for longest if
// there are too many. Should that one return, it counts as new.
func (p *peers) addLocked(m *Message, now int64) *peer {
	if len(p.known) >= maxPeers {
		oldest, heard := uint64(0), int64(math.MaxInt64)
		for id, who := range p.known {
			if who.heard < heard {
				oldest, heard = id, who.heard
			}
		}
		delete(p.known, oldest)
		p.crowded = p.listenedLocked(now) + p.patienceLocked()
	}
	if p.known == nil { // a transport may deliver before it is ready
		p.known = make(map[uint64]*peer)
	}
	who := &peer{node: strings.Clone(m.Node)}
	p.known[m.Incarnation], p.changed = who, true
	p.returnedLocked(m.Incarnation, who.node)
	return who
}

// maxNamed is how many peers an error names.
const maxNamed = 4

// forgetSilent forgets peers that were not heard for too long, and reports whether there
// were any. If some of them were heard over this subscription, it returns an error that
// names them: what they sent may not have come either. Who publishes nothing is not missed.
func (p *peers) forgetSilent(now int64) (forgot bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fadeLocked(now)
	var silent []string
	p.slowest = 0
	for id, who := range p.known {
		if !p.silentLocked(who, now) {
			p.slowest = max(p.slowest, who.interval)
			continue
		}
		delete(p.known, id)
		forgot, p.changed = true, true
		p.silencedLocked(id, who)
		if who.counted && (!who.readOnly || who.latest != 0) {
			silent = append(silent, strconv.Quote(who.node))
		}
	}
	if len(silent) == 0 {
		return forgot, nil
	}
	slices.Sort(silent)
	names := strings.Join(silent[:min(len(silent), maxNamed)], ", ")
	if more := len(silent) - maxNamed; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return forgot, fmt.Errorf("%w: %s", ErrPeerSilent, names)
}

// snapshot returns the names of the peers that listen, by incarnation.
func (p *peers) snapshot() map[uint64]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	here := make(map[uint64]string, len(p.known))
	for id, who := range p.known {
		if !who.deaf {
			here[id] = who.node
		}
	}
	return here
}

// goal is how much must have been listened in all to know of everybody who listens: as long since
// from as the one may be quiet that is heard least often, or until most.
type goal struct{ from, most int64 }

// complete returns how much must have been listened in all until snapshot has everybody who
// listens now: since the subscription was made, or since it will be. Who asks everybody again and
// again, as a barrier does until then, has heard of them after a HeartbeatTimeout in any case, if
// there was time for some questions. If the subscription breaks before, what is left may be
// listened later, since they go on sending heartbeats.
func (p *peers) complete(now int64) goal {
	p.mu.Lock()
	defer p.mu.Unlock()
	return goal{from: p.listened, most: p.listenedLocked(now) + int64(max(p.opts.HeartbeatTimeout, longestAsk))}
}

// left returns how much is still to be listened until so much was, and until there was
// room for everybody. It is negative if that is so already, and becomes less only while a
// subscription stands.
func (p *peers) left(now int64, g goal) (left time.Duration, stands bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	until := max(min(g.from+p.patienceLocked(), g.most), p.crowded)
	return time.Duration(until - p.listenedLocked(now)), p.since != 0
}
