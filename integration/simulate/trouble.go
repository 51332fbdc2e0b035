package simulate

import (
	"slices"
	"time"

	"github.com/nearbus/nearbus/integration/history"
)

// trouble is a time in which a process, or all of them, may not be able to read the
// journal. Then MaxStaleness is the bound, and not JournalInterval.
type trouble struct {
	history.Span
	node int          // -1: all
	bus  bool         // it is the bus alone that is troubled
	mute bool         // processes may not be heard on the bus
	raw  history.Span // without what is felt of it afterwards
}

// tick is how far the clock of the near tier is behind at most.
const tick = 10 * time.Millisecond

// readTime is what one read of the journal takes at most while nothing is amiss: a few
// round trips, of which each packet takes its longest.
func (f *fleet) readTime() time.Duration { return 6*f.network.calm.longest + 10*time.Millisecond }

// recovery is for how long after its end a fault may still be felt: a call that hangs
// ends with its own time, and what waited for a lost packet to be sent again comes late.
func (p *Plan) recovery() time.Duration { return p.MaxStaleness + p.JournalInterval + longestAgain }

// longestAgain is when a packet is sent again at the latest after a cut was mended.
const longestAgain = 2 * time.Second

// forgive notes a time in which nothing is promised. What was said then is not held
// against anybody; what is said later is.
func (f *fleet) forgive(s history.Span) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgiven = append(f.forgiven, s)
}

func (f *fleet) isForgiven(r *history.Record) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.forgiven, func(s history.Span) bool { return r.Start <= s.End && r.End >= s.Start })
}

// bound returns how old a read of a node may be.
func (f *fleet) bound(node int, r *history.Record) time.Duration {
	if f.plan.Store == Memcached {
		return f.boundWithoutJournal(r)
	}
	if f.troubled(node, r.Start-int64(f.plan.MaxStaleness), r.End, false) {
		return f.plan.MaxStaleness + tick
	}
	return f.plan.JournalInterval + f.readTime() + tick
}

// boundWithoutJournal is the bound with Memcached: a hop of the bus while nobody is in
// trouble, and else the near TTL, since messages may be lost of those who die.
func (f *fleet) boundWithoutJournal(r *history.Record) time.Duration {
	within := memcachedNearTTL + f.plan.recovery()
	for i := range f.troubles {
		if t := &f.troubles[i]; t.Start <= r.End && t.End >= r.Start-int64(within) {
			return within
		}
	}
	return f.readTime() + tick
}

// silent reports whether the others may not have heard of a node for so long that they
// take it for dead, at a time or soon after it.
func (f *fleet) silent(node int, at history.Moment) bool {
	const patience, around = int64(1500 * time.Millisecond), int64(15 * time.Second)
	var longest int64
	for i := range f.troubles {
		t := &f.troubles[i]
		if t.mute && (t.node < 0 || t.node == node) && t.raw.Start <= at+around && t.raw.End >= at-around {
			longest += t.raw.End - t.raw.Start
		}
	}
	return longest > patience
}

// troubled reports whether a node was in trouble in a time; with the bus, if that
// counts.
func (f *fleet) troubled(node int, from, to history.Moment, bus bool) bool {
	for i := range f.troubles {
		t := &f.troubles[i]
		if (t.node < 0 || t.node == node) && t.Start <= to && t.End >= from && (bus || !t.bus) {
			return true
		}
	}
	return false
}
