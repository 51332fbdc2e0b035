package coherence

import "sync/atomic"

// counters are those of a keyspace.
type counters struct {
	Sets, Invalidations, Clears, Touches  atomic.Uint64
	TagDrops, TagMisses                   atomic.Uint64
	SharedErrors, Unannounced, Unverified atomic.Uint64
}

// nodeCounters are those of a node.
type nodeCounters struct {
	Unproven                                           atomic.Uint64
	Applied, UnknownCaches, Gaps, Flushes, FailedTexts atomic.Uint64
}
