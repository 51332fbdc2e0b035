package bus

import (
	"sync/atomic"
	"time"
)

// Stats is what a [Bus] did since it was made. Counters only rise; Connected, RoundTrip and
// HeartbeatInterval are how it is now.
type Stats struct {
	// Published counts messages that the server took, PublishedKeys the
	// invalidations in them, and Resent those messages that took more than one
	// attempt. PublishErrors counts messages whose publishers were told of an
	// error; they may be among Published, too. None counts heartbeats.
	Published, PublishedKeys, Resent, PublishErrors uint64

	// Received counts messages, ReceivedKeys the invalidations in them. Own
	// and Text are those of Received that this Bus published and that came in
	// the plain-text form. Heartbeats are counted apart.
	Received, ReceivedKeys, Own, Text, Heartbeats uint64

	// Malformed counts payloads that are not messages, or damaged ones. Newer
	// counts messages that a newer version of this package must have sent.
	// IgnoredText counts payloads in the plain-text form, sound or not, that
	// Options.IgnoreText had skipped.
	Malformed, Newer, IgnoredText uint64

	// Gaps counts how often continuity was lost, Panics those of the handler.
	Gaps, Panics uint64

	// Holes counts how often a message of another process was found missing,
	// and Silences how often others fell silent without a goodbye. Each is a
	// gap as well, unless there was one already.
	Holes, Silences uint64

	// Connected says that the subscription is confirmed: it is what the latest
	// of Handler.Ready and Handler.Gap said.
	Connected bool

	// RoundTrip is how long the latest own heartbeat took to come back.
	RoundTrip time.Duration

	// HeartbeatInterval is the longest time to the next heartbeat as the latest one said it, which
	// is longer than the option in a large fleet. It is 0 before the first one.
	HeartbeatInterval time.Duration
}

// counters are the living form of Stats.
type counters struct {
	published, publishedKeys, resent, publishErrors atomic.Uint64
	received, receivedKeys, own, text, heartbeats   atomic.Uint64
	malformed, newer, ignoredText, gaps, panics     atomic.Uint64
	holes, silences                                 atomic.Uint64
	connected                                       atomic.Bool
	roundTrip                                       atomic.Int64
}

// Stats returns a snapshot. Its numbers are read one after the other.
func (b *Bus) Stats() Stats {
	return Stats{
		Published:     b.published.Load(),
		Holes:         b.holes.Load(),
		Silences:      b.silences.Load(),
		PublishedKeys: b.publishedKeys.Load(),
		Resent:        b.resent.Load(),
		PublishErrors: b.publishErrors.Load(),
		Received:      b.received.Load(),
		ReceivedKeys:  b.receivedKeys.Load(),
		Own:           b.own.Load(),
		Text:          b.text.Load(),
		Heartbeats:    b.heartbeats.Load(),
		Malformed:     b.malformed.Load(),
		Newer:         b.newer.Load(),
		IgnoredText:   b.ignoredText.Load(),
		Gaps:          b.gaps.Load(),
		Panics:        b.panics.Load(),
		Connected:     b.connected.Load(),
		RoundTrip:     time.Duration(b.roundTrip.Load()),

		HeartbeatInterval: time.Duration(b.said.Load()),
	}
}
