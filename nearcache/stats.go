package nearcache

import (
	"maps"
	"math"
	"slices"
	"time"
)

// Stats counts what a cache did. Counters only rise; Writes.Pending is how it is now. They are
// read one by one, so they need not add up while the cache is in use.
type Stats struct {
	Reads  ReadStats
	Loads  LoadStats
	Writes WriteStats
	Shared SharedStats
	Values ValueStats
}

// ReadStats count how reads were answered.
type ReadStats struct {
	Hits       uint64 // reads answered from the near tier
	Misses     uint64 // reads that were not
	AbsentHits uint64 // of the hits, those that said that there is no value
	SharedHits uint64 // values found in the shared tier; one for all callers who waited for that read, and those of Warm
	Stale      uint64 // answers that were old values, see Options.Stale
}

// LoadStats count what was asked of loaders, and how nodes waited for each other.
type LoadStats struct {
	Keys          uint64 // keys that a loader was asked for, in calls for one or for several
	Errors        uint64 // of these, those that failed; not found is no failure
	Refreshed     uint64 // values that were refreshed in the background, see Options.RefreshAhead
	Degraded      uint64 // loads because the shared tier could not be reached, or an invalidation of the key is pending
	Queued        uint64 // calls of a loader that had to wait for another to end, see Options.MaxConcurrentLoads
	Unrequested   uint64 // values that loaders of FetchMany returned for keys they were not asked for; they are ignored
	Waits         uint64 // times that this node waited for a key that another one was loading
	LeaseTimeouts uint64 // of the waits, those that took shared.Options.LeaseTTL, after which this node loaded as well
	Rejected      uint64 // loaded values that the shared tier refused because a write came in between
}

// WriteStats count writes of this node.
type WriteStats struct {
	Sets             uint64 // keys set, by Set and its like on this node
	Invalidations    uint64 // keys for which Delete or Invalidate was called on this node, failed ones included
	Clears           uint64 // calls of Clear, and what stood for one
	TagInvalidations uint64 // tags for which InvalidateTags was called on this node
	Touches          uint64 // values that Touch gave a later end in the shared tier
	Unannounced      uint64 // writes that could not be announced to other nodes
	Pending          int    // invalidations that could not be delivered yet, and are tried again
}

// SharedStats count what the shared tier answered.
type SharedStats struct {
	Errors     uint64 // calls that failed
	TagMisses  uint64 // records that were found and had been ended by a tag
	Unverified uint64 // records found and not believed (given, with ServeStale), for want of the journal: see MaxStaleness
}

// ValueStats count values that could not be cached or read, and callbacks that panicked.
type ValueStats struct {
	Undecodable uint64 // records of another codec or Options.SchemaVersion, or that the codec refused; they read as misses
	Unencodable uint64 // values that the codec refused
	Untaggable  uint64 // loaded values that were not cached because of their tags
	TooLarge    uint64 // values that the shared tier does not take
	Panics      uint64 // of loaders, codecs and functions in Options; each is a PanicError as well, if anybody waited
}

// NearHitRatio is the share of reads answered from the near tier, 0 if there
// was none.
func (s Stats) NearHitRatio() float64 {
	if s.Reads.Hits+s.Reads.Misses == 0 {
		return 0
	}
	return float64(s.Reads.Hits) / float64(s.Reads.Hits+s.Reads.Misses)
}

// Stats returns the counters of the cache.
func (c *Cache[V]) Stats() Stats { return c.stats() }

func (b *base) stats() Stats {
	k := &b.keys
	return Stats{
		Reads: ReadStats{
			Hits: b.hits.sum(), Misses: b.misses.Load(), AbsentHits: b.absentHits.Load(),
			SharedHits: b.sharedHits.Load(), Stale: b.stale.Load(),
		},
		Loads: LoadStats{
			Keys: b.loads.Load(), Errors: b.loadErrors.Load(), Refreshed: b.refreshed.Load(), Degraded: b.degraded.Load(),
			Queued: b.queued.Load(), Unrequested: b.unasked.Load(), Waits: b.waits.Load(),
			LeaseTimeouts: b.overdue.Load(), Rejected: b.refused.Load(),
		},
		Writes: WriteStats{
			Sets: k.Sets.Load(), Invalidations: k.Invalidations.Load(), Clears: k.Clears.Load(),
			TagInvalidations: k.TagDrops.Load(), Touches: k.Touches.Load(), Unannounced: k.Unannounced.Load(), Pending: k.Pending.Len(),
		},
		Shared: SharedStats{Errors: k.SharedErrors.Load(), TagMisses: k.TagMisses.Load(), Unverified: k.Unverified.Load()},
		Values: ValueStats{
			Undecodable: b.undecodable.Load(), Unencodable: b.unencodable.Load(), Untaggable: b.untaggable.Load(),
			TooLarge: b.tooLarge.Load(), Panics: b.panics.Load(),
		},
	}
}

// CacheInfo says what a cache of a node is, and what it takes.
type CacheInfo struct {
	Name     string
	Type     string // of its values, as Go prints it
	Settings CacheSettings
	Stats    Stats

	// Entries and Bytes are what the cache has in the near tier, Evicted how many of its
	// entries were given up for others, its own or those of other caches. TagBytes is what is
	// known of its tags. Bytes and TagBytes of all caches together are bounded by
	// NodeOptions.NearBytes.
	Entries, Bytes int64
	TagBytes       int64
	Evicted        uint64

	Sizes SizeInfo
}

// SizeInfo says what a cache knows of what its values take of the heap. Without Options.Cost it
// learns that from samples: all is zero before the first, with Options.Cost, and for types
// without pointers, which take what they take.
type SizeInfo struct {
	Samples uint64

	// Share is how many bytes of the heap a value takes for each byte of its encoding, and
	// Error by which part of that an estimate for one value is wrong, both on average.
	Share, Error float64
}

// Caches returns the caches of the node, sorted by name. The slices in it are the caller's.
func (n *Node) Caches() []CacheInfo {
	n.mu.Lock()
	caches := maps.Clone(n.caches)
	n.mu.Unlock()
	all := make([]CacheInfo, 0, len(caches))
	for _, name := range slices.Sorted(maps.Keys(caches)) {
		all = append(all, caches[name].info())
	}
	return all
}

func (b *base) info() CacheInfo {
	share := b.keys.Space.Share()
	return CacheInfo{
		Name: b.keys.Name, Type: b.of.String(), Settings: b.opts.inForce(), Stats: b.stats(),
		Entries: share.Entries, Bytes: share.Bytes, TagBytes: share.Tables, Evicted: share.Evicted,
		Sizes: b.sizeInfo(),
	}
}

// NodeStats counts what a node did for all of its caches. Counters, which are uint64, only
// rise; so do Journal.Slowest and Near.ClockLag, which are of the whole life of the node.
// Bus.Cut, Bus.OptionsDiffer, Near.Entries, Near.Bytes and Near.TagBytes are how it is now.
type NodeStats struct {
	Bus     BusStats
	Journal JournalStats
	Near    NearStats

	Observer ObserverStats

	// Unproven counts records that were not believed: the server that answered was behind what
	// the node had heard of.
	Unproven uint64
}

// BusStats count what was heard on the bus.
type BusStats struct {
	Applied       uint64 // invalidations applied
	UnknownCaches uint64 // invalidations of caches that this node does not have
	FailedTexts   uint64 // plain-text messages of which the shared tier could not be told: it may have the old value yet
	Gaps          uint64 // times the bus was lost
	Cut           bool   // the bus cannot be heard right now
	Mismatches    uint64 // times that other nodes on the bus turned out to have another shared tier or namespace: see Health
	OptionsDiffer int    // options of caches, and of nodes, in which another node has differed for more than 10 min
}

// JournalStats count what was read in the journal of the shared tier.
type JournalStats struct {
	Rounds   uint64        // rounds of reading
	Failures uint64        // of these, those in which a journal could not be read
	Repaired uint64        // writes that dropped something and of which the journal told, and the bus did not, before or within two seconds more
	Resets   uint64        // times journals could not be read on, and what they decide near was flushed
	Slowest  time.Duration // longest time from when a journal was due to be read to when all of it was applied
}

// NearStats count what became of entries of the near tier.
type NearStats struct {
	Entries, Bytes int64
	TagBytes       int64  // what is known of tags; with Bytes, within NodeOptions.NearBytes
	Evicted        uint64 // entries given up for others
	Expired        uint64 // entries swept out past their lifetime or after a flush
	Fenced         uint64 // values not kept, because an invalidation came while they were loaded
	TooLarge       uint64 // values not kept, because they are too large for the near tier
	Invalidated    uint64 // entries dropped by an invalidation
	Skipped        uint64 // invalidations that found the new value here already
	Stale          uint64 // hits that were too long unconfirmed; they were served with ServeStale only
	Flushes        uint64 // times the whole near tier was made invalid, twice for each gap

	// ClockLag is the longest time in which the clock of the near tier stood
	// still, because this process was not running. Reads may have trusted
	// values for as long too long.
	ClockLag time.Duration
}

// Stats returns the counters of the node.
func (n *Node) Stats() NodeStats {
	core := n.core
	m := core.Near.Stats()
	s := NodeStats{
		Bus: BusStats{
			Applied: core.Applied.Load(), UnknownCaches: core.UnknownCaches.Load(), FailedTexts: core.FailedTexts.Load(),
			Gaps: core.Gaps.Load(), Cut: core.Cut.Load(),
		},
		Near: NearStats{
			Entries: m.Entries, Bytes: m.Bytes, TagBytes: m.Tables, Evicted: m.Evicted, Expired: m.Expired, Fenced: m.Fenced,
			TooLarge: m.TooLarge, Invalidated: m.Invalidated, Skipped: m.Skipped, Stale: m.Stale,
			Flushes: core.Flushes.Load(), ClockLag: m.ClockLag,
		},
		Observer: n.observerStats(),
		Unproven: core.Unproven.Load(),
	}
	s.Bus.Mismatches, s.Bus.OptionsDiffer = core.Differences()
	if core.Journal != nil {
		j := core.Journal.Stats()
		s.Journal = JournalStats{Rounds: j.Rounds, Failures: j.Failures, Repaired: j.Repaired, Resets: j.Resets, Slowest: j.Slowest}
	}
	return s
}

// Consistency is what a node found out about its own near tier by
// [NodeOptions.AuditRate]. Counters only rise, and so does Worst.
type Consistency struct {
	Checked  uint64 // entries compared with the shared tier
	Stale    uint64 // of these, those that were served although it had something newer
	Skipped  uint64 // entries that could not be compared: no revision, another epoch, no record any more
	Failures uint64 // samples for which the shared tier could not be read

	// Staleness counts the stale entries by how long ago what the shared tier has
	// was written, which may not have been the first newer write: element i those
	// below 1 ms << i, the last one all others. Undated counts those for which
	// that is not known, because their store does not number its writes by time
	// (Memcached).
	Staleness [20]uint64
	Undated   uint64
	Worst     time.Duration // the longest of them

	// Proven is when the latest sample began in which entries were compared and
	// none was stale; zero if there was none.
	Proven time.Time
}

// Nines is how many nines the share of current entries has among those checked:
// 3 if one in a thousand was stale. With none stale it is what so many checks
// can show.
func (c Consistency) Nines() float64 {
	if c.Checked == 0 {
		return 0
	}
	return max(0, math.Log10(float64(c.Checked)/float64(max(c.Stale, 1))))
}

// Consistency returns what the meter found since the node was opened.
func (n *Node) Consistency() Consistency { return Consistency(n.core.Consistency()) }
