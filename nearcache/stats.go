package nearcache

import (
	"sync/atomic"
	"time"
)

// Stats counts what a cache did. Counters only rise; Owed is how it is now. They are
// read one by one, so they need not add up while the cache is in use.
type Stats struct {
	Hits               uint64 // reads answered from the near tier
	Misses             uint64 // reads that were not
	SharedHits         uint64 // values found in the shared tier; one for all callers who waited for that read
	Loads              uint64 // keys that a loader was asked for, in calls for one or for several
	LoadErrors         uint64 // of the loads, those that failed; not found is no failure
	Panics             uint64 // of loaders, codecs and functions in Options; each is a PanicError as well, if anybody waited
	UnrequestedResults uint64 // values that loaders of FetchMany returned for keys they were not asked for; they are ignored
	Waits              uint64 // times that this node waited for a key that another one was loading
	LeaseTimeouts      uint64 // of the waits, those that took shared.Options.LeaseTTL, after which this node loaded as well
	FillsRejected      uint64 // loaded values that the shared tier refused because a write came in between
	Queued             uint64 // calls of a loader that had to wait for another to end, see Options.MaxConcurrentLoads
	AbsentHits         uint64 // of the hits, those that said that there is no value
	Stale              uint64 // answers that were old values, see Options.FailSafe
	Refreshed          uint64 // values that were refreshed in the background, see Options.RefreshAhead
	Degraded           uint64 // loads because the shared tier could not be reached, or owes an invalidation of the key

	Sets          uint64 // keys set, by Set and its like on this node
	Invalidations uint64 // keys for which Delete or Invalidate was called on this node, failed ones included
	Clears        uint64 // calls of Clear, and what stood for one
	TagDrops      uint64 // tags for which InvalidateTags was called on this node
	TagMisses     uint64 // records that were found and had been ended by a tag

	SharedErrors         uint64 // calls of the shared tier that failed
	Unannounced          uint64 // writes that could not be announced to other nodes
	PendingInvalidations int    // invalidations that could not be delivered yet, and are tried again
	Unverified           uint64 // records found and not believed (given, with ServeStale), for want of the journal: see MaxStaleness
	Undecodable          uint64 // records of another codec or Options.SchemaVersion, or that the codec refused; they read as misses
	Unencodable          uint64 // values that the codec refused
	Untaggable           uint64 // loaded values that were not cached because of their tags
	TooLarge             uint64 // values that the shared tier does not take
}

// NearHitRatio is the share of reads answered from the near tier, 0 if there
// was none.
func (s Stats) NearHitRatio() float64 {
	if s.Hits+s.Misses == 0 {
		return 0
	}
	return float64(s.Hits) / float64(s.Hits+s.Misses)
}

// Stats returns the counters of the cache.
func (c *Cache[V]) Stats() Stats { return c.keys.stats() }

func (k *keyspace) stats() Stats {
	return Stats{
		Hits: k.hits.sum(), Misses: k.misses.Load(), SharedHits: k.sharedHits.Load(),
		Loads: k.loads.Load(), LoadErrors: k.loadErrors.Load(), Panics: k.panics.Load(), UnrequestedResults: k.unasked.Load(), Waits: k.waits.Load(),
		LeaseTimeouts: k.overdue.Load(), FillsRejected: k.refused.Load(), Degraded: k.degraded.Load(),
		Queued: k.queued.Load(), AbsentHits: k.absentHits.Load(),
		Stale: k.stale.Load(), Refreshed: k.refreshed.Load(),
		Sets: k.sets.Load(), Invalidations: k.drops.Load(), Clears: k.clears.Load(),
		TagDrops: k.tagDrops.Load(), TagMisses: k.tagMisses.Load(),
		SharedErrors: k.sharedErrors.Load(), Unannounced: k.unannounced.Load(), PendingInvalidations: k.pending.Len(),
		Unverified:  k.unconfirmed.Load(),
		Undecodable: k.undecodable.Load(), Unencodable: k.unencodable.Load(), Untaggable: k.untaggable.Load(), TooLarge: k.tooLarge.Load(),
	}
}

type counters struct {
	hits                                   striped
	misses, sharedHits, loads, loadErrors  atomic.Uint64
	waits, overdue, refused, degraded      atomic.Uint64
	queued, absentHits, stale, refreshed   atomic.Uint64
	sets, drops, clears                    atomic.Uint64
	tagDrops, tagMisses                    atomic.Uint64
	sharedErrors, unannounced, undecodable atomic.Uint64
	unencodable, tooLarge, unasked         atomic.Uint64
	unconfirmed, untaggable, panics        atomic.Uint64
	toldTooLarge                           atomic.Bool // of a loaded value
}

// NodeStats counts what a node did for all of its caches. Counters, which are uint64, only
// rise; so do SlowestRepair and ClockLag, which are of the whole life of the node. BusCut,
// OptionsDiffer, NearEntries and NearBytes are how it is now.
type NodeStats struct {
	Applied       uint64 // invalidations applied
	UnknownCaches uint64 // invalidations of caches that this node does not have
	Gaps          uint64 // times the bus was lost
	Flushes       uint64 // times the whole near tier was made invalid, twice for each gap
	FailedChores  uint64 // plain-text messages of which the shared tier could not be told: it may have the old value yet
	Unproven      uint64 // records that were not believed: the server that answered was behind what the node had heard of
	BusCut        bool   // the bus cannot be heard right now

	Repairs        uint64        // rounds of reading the journal
	RepairFailures uint64        // of these, those in which a journal could not be read
	Repaired       uint64        // writes that dropped something and of which the journal told, and the bus did not within two seconds more
	SlowestRepair  time.Duration // longest time from when a journal was due to be read to when all of it was applied
	Resets         uint64        // times journals could not be read on, and what they decide near was flushed

	Mismatches    uint64 // times that other nodes on the bus turned out to have another shared tier or namespace: see Health
	OptionsDiffer int    // options of caches in which another node has differed for more than 10 min

	NearEntries, NearBytes int64
	NearEvicted            uint64 // entries given up for others
	NearExpired            uint64 // entries swept out past their lifetime or after a flush
	NearFenced             uint64 // values not kept, because an invalidation came while they were loaded
	NearTooLarge           uint64 // values not kept, because they are too large for the near tier
	NearInvalidated        uint64 // entries dropped by an invalidation
	NearSkipped            uint64 // invalidations that found the new value here already
	NearStale              uint64 // hits that were too long unconfirmed; they were served with ServeStale only

	// ClockLag is the longest time in which the clock of the near tier stood
	// still, because this process was not running. Reads may have trusted
	// values for as long too long.
	ClockLag time.Duration
}

// Stats returns the counters of the node.
func (n *Node) Stats() NodeStats {
	m := n.near.Stats()
	s := NodeStats{
		Applied: n.applied.Load(), UnknownCaches: n.unknown.Load(), Gaps: n.gaps.Load(),
		Flushes: n.flushes.Load(), FailedChores: n.failedChores.Load(), Unproven: n.unproven.Load(), BusCut: n.cut.Load(),
		NearEntries: m.Entries, NearBytes: m.Bytes, NearEvicted: m.Evicted, NearExpired: m.Expired,
		NearFenced: m.Fenced, NearTooLarge: m.TooLarge, NearInvalidated: m.Invalidated, NearSkipped: m.Skipped,
		NearStale: m.Stale, ClockLag: m.ClockLag,
	}
	if c := n.census; c != nil {
		s.Mismatches, s.OptionsDiffer = c.told.Load(), int(c.contrasts.differ.Load())
	}
	if n.journal != nil {
		j := n.journal.Stats()
		s.Repairs, s.RepairFailures, s.SlowestRepair = j.Rounds, j.Failures, j.Slowest
		s.Repaired, s.Resets = j.Repaired, j.Resets
	}
	return s
}

type nodeCounters struct {
	unproven                                      atomic.Uint64
	applied, unknown, gaps, flushes, failedChores atomic.Uint64
}
