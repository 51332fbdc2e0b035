package bus

import (
	"slices"
	"strings"
	"time"
)

// About is what a process says of itself in its heartbeats, so that others notice that
// it is not set up as they are. A number that is 0 is not known, and is not sent.
type About struct {
	Tier      uint64 // identity of the shared tier
	Namespace uint64 // hash of its namespace
	Options   uint64 // digest of Settings

	// Settings are what Options is the digest of. Others are told them when they ask:
	// see [Bus.AskSettings].
	Settings []Setting
}

// Setting is one option of one cache, as text. No part of it has more than 255 bytes.
type Setting struct {
	Cache, Option, Value string
}

// Peer is another process that listens on the channel.
type Peer struct {
	Node        string // its name
	Incarnation uint64
	Version     int   // of its protocol; 0: it is older than [About]
	About       About // without Settings

	// Heard is when a message of it came last.
	Heard time.Time

	// Silent says that it was not heard for a HeartbeatTimeout, or for three of the intervals
	// that its heartbeats say if that is longer, and has not said goodbye.
	Silent bool
}

// Describe sets what this process says of itself, and has it said at once if it is
// another thing than before. The Bus keeps Settings, which nobody may change any more.
func (b *Bus) Describe(a About) {
	old := b.about.Swap(&a)
	if old == nil || !old.says(&a) {
		signal(b.beat)
	}
}

// says reports whether a and o are the same in a heartbeat.
func (a *About) says(o *About) bool {
	return a.Tier == o.Tier && a.Namespace == o.Namespace && a.Options == o.Options
}

// described returns what this process says of itself.
func (b *Bus) described() About {
	if a := b.about.Load(); a != nil {
		return *a
	}
	return About{}
}

// Peers returns the other processes that listen on the channel, as far as this one has
// heard of them, in no order: who was heard before the subscription broke stays until it was
// listened to in vain for as long as Peer.Silent says. From then on it is Silent, for 10 minutes at most:
// until it is heard again, says goodbye, or another process of its name comes. No more than 64
// that are silent are kept. There are none without a subscription. [Bus.RollCall] asks instead
// who is there now.
func (b *Bus) Peers() []Peer {
	sub := b.subscriber()
	if sub == nil {
		return nil
	}
	return sub.peers.list(b.start)
}

// list returns the peers that listen, and those that are silent. Moments count from start.
func (p *peers) list(start time.Time) []Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]Peer, 0, len(p.known)+len(p.silent))
	for id, who := range p.known {
		if who.listed() {
			all = append(all, who.public(id, start))
		}
	}
	for id, who := range p.silent {
		all = append(all, who.public(id, start))
	}
	return all
}

// listed reports whether it is known that a peer listens: its first heartbeat tells.
func (who *peer) listed() bool { return who.told && !who.deaf }

func (who *peer) public(id uint64, start time.Time) Peer {
	return Peer{
		Node: who.node, Incarnation: id, Version: int(who.version), About: who.about,
		Heard: start.Add(time.Duration(who.came)), Silent: who.silent,
	}
}

// news reports whether who listens, or what they say of themselves, is another thing
// than at the last call.
func (p *peers) news() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := p.changed
	p.changed = false
	return changed
}

// hearLocked takes in what a heartbeat says of its sender.
func (p *peers) hearLocked(who *peer, e *extension) {
	if !who.told || who.deaf != e.deaf || who.version != e.version || !who.about.says(&e.about) {
		p.changed = true
	}
	who.interval = min(e.interval, longestFollowed)
	p.slowest = max(p.slowest, who.interval)
	who.told, who.deaf, who.readOnly, who.version, who.about = true, e.deaf, e.readOnly, e.version, e.about
}

// cloned returns settings that share no memory with a message.
func cloned(settings []Setting) []Setting {
	all := slices.Clone(settings)
	for i := range all {
		s := &all[i]
		s.Cache, s.Option, s.Value = strings.Clone(s.Cache), strings.Clone(s.Option), strings.Clone(s.Value)
	}
	return all
}
