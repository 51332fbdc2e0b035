package coherence

import (
	"context"
	"errors"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// Stored is what the shared tier has of a key, for people who look. It needs no node.
type Stored struct {
	Name      string // of the record
	Partition int    // of the journals; -1: there are none
	Record    shared.Found

	Clock      uint64       // of the cache; 0 if there is none
	TagClock   uint64       // likewise
	Watermarks []uint64     // by the slots of Record; 0 where there is none
	Refreshing bool         // somebody holds the lease beside the record
	Fate       Fate         // of Record
	Slot       uint32       // the one that ended it, with FateTagged
	Trail      JournalTrail // of the key
}

// JournalTrail is what was found of a key among the newest entries of its journal.
type JournalTrail struct {
	Newest   *driver.JournalEntry // nil if there is none
	Later    int                  // how many entries are newer
	Searched int                  // how many entries there were
	Err      error                // why none was read
}

// Fate is what a record is to readers, as far as the shared tier alone tells.
type Fate uint8

// The fates of a record.
const (
	FateNothing  Fate = iota // nothing is stored
	FateLive                 // a value
	FateNegative             // the source had none
	FateDeleted              // a tombstone: deleted or invalidated
	FateReleased             // a tombstone in the place of a lease whose load brought nothing
	FateLoading              // a lease
	FateKept                 // invalidated, and kept for those who have no other
	FateExpired              // past its lifetime
	FateCleared              // older than a Clear
	FateTagged               // older than the invalidation of one of its tags
	FatePacked               // it cannot be decompressed here
	FateNewer                // of a newer format
	FateForeign              // not a record of a cache, or damaged
	FateUnread               // its server did not answer
)

var fateTexts = map[Fate]string{
	FateNothing:  "nothing is stored: it never was, or it expired or was evicted",
	FateLive:     "a value that lives",
	FateNegative: "it says that the source has no value",
	FateDeleted:  "it was deleted or invalidated a moment ago",
	FateReleased: "a load of it brought nothing that could be stored",
	FateLoading:  "a node is loading it",
	FateKept:     "it was invalidated, and is kept for those who have no other",
	FateExpired:  "it expired",
	FateCleared:  "its cache was cleared since",
	FateTagged:   "one of its tags was invalidated since",
	FatePacked:   "it cannot be decompressed: shared.Options.Compress is not that of its writer",
	FateNewer:    "a newer version of the library wrote it",
	FateForeign:  "it is no record of a cache, or is damaged",
	FateUnread:   "its server did not answer",
}

// String says in words what the record is.
func (f Fate) String() string { return fateTexts[f] }

// LookUp reads what tier has of a key of the cache of a name, and searches depth entries of
// its journal, none if that is 0. It takes two or three round trips and changes nothing. tier
// is that of records.
func LookUp(ctx context.Context, tier *shared.Tier, name, key string, depth int) (*Stored, error) {
	if err := checkKey(name, key); err != nil {
		return nil, err
	}
	rs := &Records{Name: name}
	s := &Stored{Name: rs.StoreKey(key), Partition: -1}
	found, err := tier.Peek(ctx, []string{s.Name, rs.clockKey(), rs.tagClockKey(), rs.refreshKey(key)})
	if err != nil {
		return nil, err
	}
	s.Record, s.Clock, s.TagClock = found[0], clockOf(&found[1]), clockOf(&found[2])
	s.Refreshing = found[3].Kind == driver.KindLease && found[3].Left > 0
	if err := s.readSlots(ctx, tier, rs); err != nil {
		return nil, err
	}
	s.judge()
	if tier.Partitions() > 0 {
		s.Partition = tier.Partition(s.Name)
		s.Trail = s.search(ctx, tier, depth)
	}
	return s, nil
}

// readSlots reads the watermarks of the slots of the record.
func (s *Stored) readSlots(ctx context.Context, tier *shared.Tier, rs *Records) error {
	slots := s.Record.Slots
	if len(slots) == 0 {
		return nil
	}
	keys := make([]string, len(slots))
	for i, slot := range slots {
		keys[i] = rs.slotKey(slot)
	}
	found, err := tier.Peek(ctx, keys)
	if err != nil {
		return err
	}
	s.Watermarks = make([]uint64, len(slots))
	for i := range found {
		if errors.Is(found[i].Err, shared.ErrUnread) {
			return found[i].Err
		}
		if clockOf(&found[i]) > 0 {
			s.Watermarks[i] = found[i].Clock
		}
	}
	return nil
}

// judge says what the record is to readers.
func (s *Stored) judge() {
	r := &s.Record
	switch {
	case errors.Is(r.Err, shared.ErrUnread):
		s.Fate = FateUnread
	case errors.Is(r.Err, shared.ErrNewerFormat):
		s.Fate = FateNewer
	case errors.Is(r.Err, driver.ErrCorrupt) && r.Kind != 0:
		s.Fate = FatePacked
	case errors.Is(r.Err, driver.ErrCorrupt):
		s.Fate = FateForeign
	case r.Kind == 0 || r.Left < 0 && !r.Kept && r.Kind != driver.KindValue:
		s.Fate = FateNothing // or what is past its end, and not swept yet
	case r.Kind == driver.KindTombstone && r.Codec == 0:
		s.Fate = FateDeleted
	case r.Kind == driver.KindTombstone:
		s.Fate = FateReleased
	case r.Kind == driver.KindLease:
		s.Fate = FateLoading
	case r.Kind == driver.KindStale:
		s.Fate = FateKept
	case r.Kind == driver.KindWatermark:
		s.Fate = FateForeign
	case r.Err != nil:
		s.Fate = FateExpired
	default:
		s.judgeLive()
	}
}

// judgeLive is judge for a record that nothing but clock and watermarks can have ended.
func (s *Stored) judgeLive() {
	s.Fate = FateLive
	if s.Record.Kind == driver.KindNotFound {
		s.Fate = FateNegative
	}
	if s.Record.Clock < s.Clock {
		s.Fate = FateCleared
		return
	}
	for i, slot := range s.Record.Slots {
		if s.Watermarks[i] == 0 || s.Watermarks[i] > s.Record.TagClock { // one that is lost counts as raised
			s.Fate, s.Slot = FateTagged, slot
			return
		}
	}
}

// search looks for the key among the newest entries of its journal.
func (s *Stored) search(ctx context.Context, tier *shared.Tier, depth int) (t JournalTrail) {
	if depth <= 0 {
		return t
	}
	entries, err := tier.Recall(ctx, s.Name, depth)
	if err != nil {
		t.Err = err
		return t
	}
	t.Searched = len(entries)
	for i := range entries {
		if entries[i].Key == s.Name {
			t.Newest, t.Later = &entries[i], i
			return t
		}
	}
	return t
}
