package nearcache

import (
	"context"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/nearcache/internal/telemetry"
)

// ObservationKind says what an [Observation] is of.
type ObservationKind uint8

// What [NodeOptions].Observer is told of: first what takes time, told once it is over, then
// what happens.
const (
	// ObservedLoad is a call of a loader. Count is of keys.
	ObservedLoad ObservationKind = iota + 1

	// ObservedSharedRead is a read of the shared tier, attempts included. Count is of keys,
	// those that tell whether values are current among them.
	ObservedSharedRead

	// ObservedSharedWrite is a call that stores values, or leases, or makes values absent.
	// Count is of keys.
	ObservedSharedWrite

	// ObservedPublish is the sending of news on the bus, the wait for messages before
	// included. Count is of keys, tags and caches. Where the store announces a write in the
	// same step, there is none.
	ObservedPublish

	// ObservedWait is a wait of this node for the load of another node.
	ObservedWait

	// ObservedRepair is a round of reading the journal, which brings what the bus lost.
	// Count is of entries read.
	ObservedRepair

	// ObservedApplied is a message of another node that was applied. Count is of its keys,
	// tags and caches. Took is how long that was after the write, at most, by the clock of
	// the shared tier; 0 if it is not known: Memcached does not number writes by time.
	ObservedApplied

	// ObservedGap says that messages of the bus may have been missed. Err is the reason.
	ObservedGap

	// ObservedRepaired says that the journal ended values of which the bus had not told
	// within 2 s. Count is of writes.
	ObservedRepaired

	// ObservedReset says that a journal could not be read on, and what it decides near was
	// flushed.
	ObservedReset

	// ObservedTrustLost says that the node is not trusted any more: see [Health]. Took is
	// how long it was, Err why it is not. It is told within a quarter of a second, like
	// ObservedTrustWon.
	ObservedTrustLost

	// ObservedTrustWon says that the node is trusted. Took is how long it was not.
	ObservedTrustWon

	// ObservedStaleServed is an answer that is an old value: see [Stale].
	ObservedStaleServed

	// ObservedPending says that an invalidation could not be delivered, or that all were.
	// Count is how many the node has pending now.
	ObservedPending
)

// String returns the name of a kind in lower case, such as "shared read".
func (k ObservationKind) String() string {
	if int(k) >= len(observationNames) {
		return observationNames[0]
	}
	return observationNames[k]
}

var observationNames = [...]string{
	"unknown", "load", "shared read", "shared write", "publish", "wait", "repair",
	"applied", "gap", "repaired", "reset", "trust lost", "trust won", "stale served", "pending",
}

// Observation is what [NodeOptions].Observer is told. It has no keys and no values, but for what
// an error says.
type Observation struct {
	Kind  ObservationKind
	Cache string        // empty if it is of the node, or of several caches
	Count int           // as the kind says
	At    time.Time     // when it began, or happened
	Took  time.Duration // how long it took, or what the kind says; 0 for what only happens

	// Err is why it failed, or what the kind says; nil if it did not. That of a loader may
	// carry a value.
	Err error
}

// Span is what [NodeOptions].Tracer is told when a span begins: of a read that the near tier
// did not answer, or of a call of a loader.
type Span struct {
	Load       bool // the call of a loader; otherwise a read
	Cache      string
	Keys       []string // that are missing, or loaded; not to be changed
	Background bool     // the load refreshes a value that is served meanwhile: nobody waits for it
}

// SpanEnd is what ends a [Span].
type SpanEnd struct {
	// Source is where the answer of a read of one key came from: [FromShared], [FromLoad] or
	// [FromStale]. It is empty if there was none, for several keys, and for a load.
	Source string

	// Err is what the caller gets, [ErrNotFound] too. That of a loader may carry a value.
	Err error

	// Loads are the contexts that Tracer returned for the loads which the read waited for
	// and other reads had begun, 16 at most. The load that a read began is in the span of the
	// read.
	Loads []context.Context
}

// The sources of answers in [SpanEnd].
const (
	FromShared = "shared" // the shared tier
	FromLoad   = "load"   // a loader of this node
	FromStale  = "stale"  // an old value, see Stale
)

// core returns the options of the node below, of which defaults have been set.
func (o NodeOptions) core() coherence.Options {
	opts := coherence.Options{
		NearBytes: o.NearBytes, JournalInterval: o.JournalInterval, MaxStaleness: o.MaxStaleness,
		SharedPatience: o.SharedPatience, ServeStale: o.ServeStale, AuditRate: o.AuditRate, Logger: o.Logger, Background: o.Background,
	}
	if observe := o.Observer; observe != nil {
		opts.Observer = func(n telemetry.Note) {
			observe(Observation{ObservationKind(n.Kind), n.Cache, n.Count, n.At, n.Took, n.Err})
		}
	}
	if tracer := o.Tracer; tracer != nil {
		opts.Tracer = func(ctx context.Context, s telemetry.Span) (context.Context, func(telemetry.SpanEnd)) {
			ctx, end := tracer(ctx, Span(s))
			if end == nil {
				return ctx, nil
			}
			return ctx, func(e telemetry.SpanEnd) { end(SpanEnd(e)) }
		}
	}
	return opts
}

// ObserverStats count what [NodeOptions].Observer and Tracer were not told.
type ObserverStats struct {
	Dropped      uint64 // observations for which 4,096 others left no room: Observer is slow, or blocks
	DroppedSpans uint64 // spans that Tracer did not begin within 50 ms, or that 1,024 others left no room for
	Panics       uint64 // of both
}

// observerStats returns what observer and tracer were not told.
func (n *Node) observerStats() (s ObserverStats) {
	var more uint64
	s.Dropped, s.Panics = n.core.Notes.Dropped()
	s.DroppedSpans, more = n.core.Spans.Dropped()
	s.Panics += more
	return s
}
