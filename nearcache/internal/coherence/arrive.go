package coherence

import (
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// Way is a way by which a value, or that there is none, reaches callers of this node.
// All of them go through [Cache.arrive].
type Way uint8

// The ways.
const (
	WayRecord        Way = iota // a read of the shared tier found a value
	WayAbsentRecord             // it found that there is none
	WayKept                     // it found an old value, for those who get no other
	WayRefreshRecord            // a refresh found a value, or that there is none
	WayWritten                  // an own write was answered
	WayLoaded                   // what was loaded is stored
	WayLoadedAbsent             // that there is none, as was loaded, is stored
	WayRefreshed                // what a refresh loaded is stored
	WayUnstored                 // what was loaded is given to callers and not stored
	WayJoined                   // what a read or load under way will bring, to a caller who comes late
	Ways
)

// News is what a node may learn that ends a value which it read, wrote or loaded
// before.
type News uint8

// The kinds of news.
const (
	noNews    News = iota
	NewsWrite      // its key was written or invalidated
	NewsRead       // a later write of its key was read
	NewsGiven      // callers were given a later value that is not stored
	NewsClear      // its cache was cleared
	NewsTag        // one of its tags was invalidated
	NewsLoss       // the shared tier lost writes after it
	Newses
)

// Basis is what a value rests on, apart from the stamp of its entry: what its reader
// or writer knew before the read, write or load of it began.
type Basis struct {
	Revision driver.Revision // of its record; zero if it has none
	Clock    uint64          // of the cache
	TagClock uint64          // of the cache, likewise
	Slots    []uint32        // of its tags
	Floor    Floor           // of the key
}

// Arrival is a value on its last step.
type Arrival struct {
	Way   Way
	Key   string
	Hash  uint64
	Entry *near.Entry // its maker sets the stamp, Arrive what else it rests on; nil: nothing may come near
	Life  time.Duration
	Basis

	Found *shared.Found // the record that it was read from, if it was
	Write *near.Write   // that it was written by, or the refresh that brings it
	Rival bool          // another read of the key may be under way
	Keeps bool          // of wayUnstored: the shared tier may have something older
	Stamp near.Stamp    // of wayUnstored: of its load
}

// Arrive is the one place where a value is compared with everything that this node
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
func (k *Keyspace) Arrive(a *Arrival) bool {
	if e := a.Entry; e != nil {
		e.Revision, e.Partition, e.FromShared = a.Revision, int32(k.Partition(a.Key)), a.Found != nil
		e.Tag(a.Slots)
	}
	ended := k.newsSince(a) != noNews
	if k.node.Journal == nil && k.node.Cut.Load() { // this node may be missing news
		a.Life = min(a.Life, k.node.Options.MaxStaleness)
	}
	switch a.Way {
	case WayRecord, WayAbsentRecord, WayKept:
		if ended {
			return false
		}
		k.Space.Install(a.Key, a.Hash, a.Entry, a.Life, a.Rival)
	case WayRefreshRecord:
		if ended {
			return false
		}
		a.Write.Refresh(a.Entry, a.Life)
	case WayRefreshed:
		if !ended {
			a.Write.Refresh(a.Entry, a.Life)
		}
	case WayWritten:
		if ended {
			a.Write.Abort()
		} else {
			a.Write.Finish(a.Entry, a.Life)
		}
	case WayLoaded, WayLoadedAbsent:
		if ended {
			k.Space.Pass(a.Key, a.Hash, a.Revision, a.Rival)
		} else {
			k.Space.Install(a.Key, a.Hash, a.Entry, a.Life, a.Rival)
		}
	case WayUnstored:
		if a.Keeps {
			k.giveUnstored(a.Key, a.Hash)
		}
		if ended {
			a.Entry = nil
		}
		k.Space.Supersede(a.Key, a.Hash, a.Entry, a.Life, a.Stamp)
	}
	return true
}

// newsSince compares a with the numbers that this node knows, and returns what has
// ended it. Whoever learns a higher number from here on raises the mark that goes with
// it, since something of the kind may be near.
func (k *Keyspace) newsSince(a *Arrival) News {
	off := k.node.Faults
	if a.Entry == nil {
		return noNews // nothing may come near
	}
	if !off.Off(fault.Losses) && a.Revision.Number != 0 {
		p := int(a.Entry.Partition)
		if k.node.superseded(p, a.Revision) || a.Found != nil && k.node.doubtful(p, a.Revision) {
			return NewsLoss
		}
	}
	if a.Found != nil && !k.aboveFloor(a) {
		return NewsGiven
	}
	if !k.Clock.Admits(a.Clock) && !off.Off(fault.Clock) {
		return NewsClear
	}
	if a.Found != nil {
		return k.recordEnded(a)
	}
	if len(a.Slots) > 0 && !k.Tags.Admits(a.Slots, a.TagClock) && !off.Off(fault.Watermarks) {
		return NewsTag
	}
	return noNews
}

// recordEnded compares the record of a with watermarks, and limits the stamp of its
// entry to when what decides on it was known.
func (k *Keyspace) recordEnded(a *Arrival) News {
	record := *a.Found
	since, live := k.TagsLive(&record)
	if !live {
		return NewsTag
	}
	a.Entry.Stamp = a.Entry.Stamp.Limit(k.clockRead()).Limit(since)
	return noNews
}

// aboveFloor reports whether the record of a is newer than all values that callers
// were given and that are not stored: now, and when its read began.
func (k *Keyspace) aboveFloor(a *Arrival) bool {
	if k.node.Faults.Off(fault.Floors) {
		return true
	}
	p := a.Floor.max(k.Floors.Of(a.Hash))
	switch {
	case !p.Holds():
		return true
	case a.Found.Kind == driver.KindStale || a.Found.Kept && k.node.Journal == nil:
		return false // the revision is that of the invalidation, or has no order in time
	}
	return p.under(a.Revision.Number, a.Entry.Stamp.At())
}
