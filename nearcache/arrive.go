package nearcache

import (
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// way is a way by which a value, or that there is none, reaches callers of this node.
// All of them go through [Cache.arrive].
type way uint8

const (
	wayRecord        way = iota // a read of the shared tier found a value
	wayAbsentRecord             // it found that there is none
	wayKept                     // it found an old value, for those who get no other
	wayRefreshRecord            // a refresh found a value, or that there is none
	wayWritten                  // an own write was answered
	wayLoaded                   // what was loaded is stored
	wayLoadedAbsent             // that there is none, as was loaded, is stored
	wayRefreshed                // what a refresh loaded is stored
	wayUnstored                 // what was loaded is given to callers and not stored
	wayJoined                   // what a read or load under way will bring, to a caller who comes late
	ways
)

// news is what a node may learn that ends a value which it read, wrote or loaded
// before.
type news uint8

const (
	noNews    news = iota
	newsWrite      // its key was written or invalidated
	newsRead       // a later write of its key was read
	newsGiven      // callers were given a later value that is not stored
	newsClear      // its cache was cleared
	newsTag        // one of its tags was invalidated
	newsLoss       // the shared tier lost writes after it
	newses
)

// basis is what a value rests on, apart from the stamp of its entry: what its reader
// or writer knew before the read, write or load of it began.
type basis struct {
	revision driver.Revision // of its record; zero if it has none
	clock    uint64          // of the cache
	tagClock uint64          // of the cache, likewise
	slots    []uint32        // of its tags
	floor    floor           // of the key
}

// arrival is a value on its last step.
type arrival struct {
	way   way
	key   string
	hash  uint64
	entry *near.Entry // nil: there is nothing that may come near
	life  time.Duration
	basis

	found *shared.Found // the record that it was read from, if it was
	write *near.Write   // that it was written by, or the refresh that brings it
	keeps bool          // of wayUnstored: the shared tier may have something older
	stamp near.Stamp    // of wayUnstored: of its load
}

// arrive is the one place where a value is compared with everything that this node
// learnt since the value was read, written or loaded. It puts the value near if that is
// nothing, and reports whether callers may be given it.
//
// The rule: whoever has news changes a number first and raises a mark second. Here a
// value is compared with the numbers first, and with the marks second, in the step that
// puts it in its place. Whichever comes first, one of the two comparisons sees the
// news: there is no moment between them.
//
//	news       number                                 mark
//	newsWrite                                         of the key
//	newsRead   highest revision read meanwhile        of the key
//	newsGiven  floor, see floors                      the entry in place goes
//	newsClear  clock of the cache                     of the cache
//	newsTag    watermark of the slot                  of the slot
//	newsLoss   epoch of the partition                 of all caches
//
// What a number ended is no answer if it was read: the next look finds what took its
// place. What was loaded, or is fenced by a mark alone, is given to those who wait
// for it: they asked before the news. But it may be newer than what is near, so it is
// news itself, by its revision, or by a floor if it has none.
func (k *keyspace) arrive(a *arrival) bool {
	ended := k.newsSince(a) != noNews
	if k.node.journal == nil && k.node.cut.Load() { // this node may be missing news
		a.life = min(a.life, k.node.opts.MaxStaleness)
	}
	switch a.way {
	case wayRecord, wayAbsentRecord, wayKept:
		if ended {
			return false
		}
		k.space.Install(a.key, a.hash, a.entry, a.life)
	case wayRefreshRecord:
		if ended {
			return false
		}
		a.write.Refresh(a.entry, a.life)
	case wayRefreshed:
		if !ended {
			a.write.Refresh(a.entry, a.life)
		}
	case wayWritten:
		if ended {
			a.write.Abort()
		} else {
			a.write.Finish(a.entry, a.life)
		}
	case wayLoaded, wayLoadedAbsent:
		if ended {
			k.space.Pass(a.key, a.hash, a.revision)
		} else {
			k.space.Install(a.key, a.hash, a.entry, a.life)
		}
	case wayUnstored:
		if a.keeps {
			k.giveUnstored(a.key, a.hash)
		}
		if ended {
			a.entry = nil
		}
		k.space.Supersede(a.key, a.hash, a.entry, a.life, a.stamp)
	}
	return true
}

// newsSince compares a with the numbers that this node knows, and returns what has
// ended it. Whoever learns a higher number from here on raises the mark that goes with
// it, since something of the kind may be near.
func (k *keyspace) newsSince(a *arrival) news {
	off := k.node.faults
	if a.entry == nil {
		return noNews // nothing may come near
	}
	if !off.Off(fault.Losses) && a.revision.Number != 0 {
		p := k.partition(a.key)
		if k.node.superseded(p, a.revision) || a.found != nil && k.node.doubtful(p, a.revision) {
			return newsLoss
		}
	}
	if a.found != nil && !k.aboveFloor(a) {
		return newsGiven
	}
	if !k.clock.Admits(a.clock) && !off.Off(fault.Clock) {
		return newsClear
	}
	if a.found != nil {
		return k.recordEnded(a)
	}
	if len(a.slots) > 0 && !k.tags.Admits(a.slots, a.tagClock) && !off.Off(fault.Watermarks) {
		return newsTag
	}
	return noNews
}

// recordEnded compares the record of a with watermarks, and limits the stamp of its
// entry to when what decides on it was known.
func (k *keyspace) recordEnded(a *arrival) news {
	record := *a.found
	since, live := k.tagsLive(&record)
	if !live {
		return newsTag
	}
	a.entry.Stamp = a.entry.Stamp.Limit(k.clockRead()).Limit(since)
	return noNews
}

// aboveFloor reports whether the record of a is newer than all values that callers
// were given and that are not stored: now, and when its read began.
func (k *keyspace) aboveFloor(a *arrival) bool {
	if k.node.faults.Off(fault.Floors) {
		return true
	}
	p := a.floor.max(k.floors.of(a.hash))
	switch {
	case !p.holds():
		return true
	case a.found.Kind == driver.KindStale || a.found.Kept && k.node.journal == nil:
		return false // the revision is that of the invalidation, or has no order in time
	}
	return p.above(a.revision.Number)
}
