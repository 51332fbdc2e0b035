package near

import (
	"math"
	"sync/atomic"
	"time"
)

// Stamp is taken before the first byte of a value is requested: the count of
// invalidations, and when that was.
type Stamp struct {
	count uint64
	at    int64 // on the tier's clock
}

// Stamp returns the stamp for a read or load that begins now.
func (t *Tier) Stamp() Stamp { return Stamp{count: t.count.Load(), at: t.Now()} }

// Limit returns s as if it had been taken at this moment of the tier's clock,
// if that is earlier: something that decides the validity of the value was read
// then.
func (s Stamp) Limit(at int64) Stamp {
	s.at = min(s.at, at)
	return s
}

// At returns when s was taken, on the tier's clock.
func (s Stamp) At() int64 { return s.at }

// trust says up to when entries may be believed to have heard of every write.
//
// A partition of the shared tier's keys has a horizon: every write before that
// moment has been applied here. An entry is served while the horizons of its
// partition, of that of its cache's clock and of those of its slots, or its own
// stamp if that is later, are not further back than a given time. For a value from
// the shared tier its stamp does not count: the tier may have lost writes, and only
// its journal tells.
type trust struct {
	limit    int64          // how far back; set once; 0 if there are no horizons
	from     atomic.Int64   // horizons of before are older than they seem
	horizons []atomic.Int64 // by partition, on the tier's clock
	breaks   []atomic.Int64 // by partition: when its server was last seen to be away
	all      atomic.Int64   // until then, every entry is trusted
}

func (tr *trust) init(partitions int, limit time.Duration) {
	tr.all.Store(math.MaxInt64)
	if partitions > 0 {
		tr.horizons, tr.breaks, tr.limit = make([]atomic.Int64, partitions), make([]atomic.Int64, partitions), int64(limit)
		tr.all.Store(tr.limit)
	}
}

// Confirm says that every write to the partition before the moment at has been
// applied.
func (t *Tier) Confirm(partition int, at int64) {
	t.trust.horizons[partition].Store(at)
	t.trust.all.Store(t.Horizon() + t.trust.limit)
}

// Horizon returns the earliest horizon.
func (t *Tier) Horizon() int64 {
	horizon := int64(math.MaxInt64)
	for i := range t.trust.horizons {
		horizon = min(horizon, t.trust.horizons[i].Load())
	}
	return horizon
}

// HorizonOf returns the horizon of a partition.
func (t *Tier) HorizonOf(partition int) int64 {
	if t.trust.limit == 0 {
		return math.MaxInt64
	}
	return t.trust.horizons[partition].Load()
}

// Confirmed reports whether every write to the partition up to MaxStaleness before now
// has been applied, and since its server was last seen to be away, so that what that has is
// not what it had before it lost one of them.
func (t *Tier) Confirmed(partition int, now int64) bool {
	t.coarse() // who asks is to know of a sleep of the machine, though nothing near was read
	if t.trust.limit == 0 {
		return true
	}
	horizon := t.HorizonOf(partition)
	since := horizon > t.trust.from.Load() && horizon >= t.trust.breaks[partition].Load()
	return since && now-horizon <= t.trust.limit
}

// Broke says that the server of a partition was away a moment ago: it may come back
// with less than it had, or another in its place. Nothing is confirmed by what was
// applied before.
func (t *Tier) Broke(partition int) {
	if t.trust.limit > 0 {
		t.trust.breaks[partition].Store(t.Now())
	}
}

// Trusted reports whether every entry may be served as far as trust goes.
func (t *Tier) Trusted() bool { return t.Now() <= t.trust.all.Load() }

// trusted reports whether e, an entry of s, is believed to have heard of every
// write, although not every entry is.
func (s *Space) trusted(e *Entry, now int64) bool {
	if e.tagged && !s.trustsSlots(e, now) {
		return false
	}
	return s.Trusts(e.since(), int(e.Partition), now)
}

// serves reports whether e, an entry of s which lives, may be served although not
// every entry may.
func (s *Space) serves(e *Entry, now int64) bool {
	if s.trusted(e, now) {
		return true
	}
	s.tier.stale.Add(1)
	return s.tier.conf.ServeStale
}

// Trusts reports whether every write to a key of this partition that could end
// a value with this stamp has been applied, or was made no longer ago than
// MaxStaleness at this moment.
func (s *Space) Trusts(stamp Stamp, partition int, now int64) bool {
	return now <= s.trustsUntil(stamp, partition)
}

// trustsUntil returns until when Trusts does, if no horizon moves.
func (s *Space) trustsUntil(stamp Stamp, partition int) int64 {
	horizon := min(s.tier.HorizonOf(partition), s.tier.HorizonOf(s.clockPart()))
	return max(stamp.at, horizon) + s.tier.trust.limit
}

// since returns from when on the value of e is believed whatever the horizons are.
func (e *Entry) since() Stamp {
	if e.FromShared {
		return Stamp{}
	}
	return e.Stamp
}

// Age returns how long ago the stamp was taken.
func (t *Tier) Age(s Stamp) time.Duration { return time.Duration(t.Now() - s.at) }
