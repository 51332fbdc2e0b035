package bus

import "time"

const (
	// heartbeatPerPeer is what each process of a fleet adds to the interval of the heartbeats: so
	// all of them together send about 150 a second, however many they are.
	heartbeatPerPeer = 6700 * time.Microsecond

	// longestFollowed is the longest interval that follows the number of processes, and the
	// longest that is believed of another process.
	longestFollowed = (maxPeers + 1) * heartbeatPerPeer

	// heartbeatsMissed is how many intervals may pass without a heartbeat, where the interval is
	// longer than [Options.HeartbeatInterval].
	heartbeatsMissed = 3

	// enoughAsks is how often a process must have been asked for a heartbeat in vain.
	enoughAsks = 3
)

// pace says when heartbeats are due. It belongs to the goroutine of send.
//
// The invariant: the pause after a heartbeat is not longer than what any of the latest two said
// of it. So whoever missed one of them still waits long enough, when the interval grows as well.
// A shorter pause does no harm, and begins at once.
type pace struct {
	latest time.Time        // when one was sent that counts for the pause
	failed bool             // the server did not take it
	said   [2]time.Duration // what the latest two said of the interval; the newest is first
}

// wait returns how long to wait until it is asked again, 0 if a heartbeat is due: somebody may
// come meanwhile who needs them at once.
func (p *pace) wait(b *Bus) time.Duration {
	return max(0, min(p.pause(b)-time.Since(p.latest), b.opts.HeartbeatInterval))
}

// pause returns the time from the latest heartbeat to the next, as it is now.
func (p *pace) pause(b *Bus) time.Duration {
	if p.failed || b.hurries() {
		return b.opts.HeartbeatInterval
	}
	return max(min(p.said[0], p.said[1], b.interval()), b.opts.HeartbeatInterval)
}

// tell takes in that a heartbeat is sent that says this interval. One that comes between two puts
// the next one off only where they are rare: where subscriptions break again and again, the others
// prove what was heard.
func (p *pace) tell(b *Bus, interval time.Duration, between bool) {
	if !between || p.pause(b) > b.opts.HeartbeatInterval {
		p.latest = time.Now()
	}
	p.said = [2]time.Duration{interval, p.said[0]}
	b.said.Store(int64(interval)) // before the heartbeat can come back
}

// interval returns the interval that this process says in heartbeats. It is longer than
// [Options.HeartbeatInterval] only if all who listen say that they learn elsewhere of what they
// miss: older processes, and those without a journal, get what they count on.
func (b *Bus) interval() time.Duration {
	sub := b.subscriber()
	if sub == nil || !sub.handler.Repairs {
		return b.opts.HeartbeatInterval
	}
	peers, agreed := sub.peers.crowd()
	if !agreed {
		return b.opts.HeartbeatInterval
	}
	return max(b.opts.HeartbeatInterval, min(time.Duration(peers+1)*heartbeatPerPeer, longestFollowed))
}

// hurries reports whether this process needs its heartbeats at the interval that is set: to find
// out whether its subscription works, or who lives.
func (b *Bus) hurries() bool {
	sub := b.subscriber()
	return sub == nil || !b.connected.Load() || sub.watchdog.probing() || b.barriers.waiting()
}

// patience returns for how long a process that says such an interval, 0 if it says none, may be
// quiet until it counts as silent.
func (o *Options) patience(interval time.Duration) time.Duration {
	if interval <= o.HeartbeatInterval {
		return o.HeartbeatTimeout
	}
	return max(o.HeartbeatTimeout, heartbeatsMissed*interval)
}

// crowd returns how many other processes listen. agreed says that all of them have said the
// interval of their heartbeats, by which those who can do with rarer ones are known.
func (p *peers) crowd() (n int, agreed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	agreed = true
	for _, who := range p.known {
		if who.deaf {
			continue
		}
		n++
		agreed = agreed && (!who.told || who.interval > 0)
	}
	return n, agreed
}

// patienceLocked returns for how long the one of the peers may be quiet that is heard least often.
// Whoever is not known after this time of listening was not there.
func (p *peers) patienceLocked() int64 { return int64(p.opts.patience(p.slowest)) }

// silentLocked reports whether a peer was not heard for too long, or not since it was asked to
// say something.
func (p *peers) silentLocked(who *peer, now int64) bool {
	return who.heard < now-int64(p.opts.patience(who.interval)) ||
		who.asks >= enoughAsks && who.asked < now-int64(p.opts.HeartbeatTimeout)
}

// expect takes in that these peers were asked at this moment to send a heartbeat at once.
func (p *peers) expect(incarnations []uint64, now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range incarnations {
		who := p.known[id]
		if who == nil || who.heard >= now { // it has answered already
			continue
		}
		if who.asks == 0 {
			who.asked = now
		}
		who.asks++
	}
}
