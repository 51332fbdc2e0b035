package coherence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/nearcache/internal/pause"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// knowTags reads what is needed to judge the records among found that have
// tags, in one more round trip for all of them if any is, and makes those that a
// tag has ended unusable. clockRead says that the tag clock was read with them.
func (rs *Records) knowTags(ctx context.Context, found []shared.Found, clockRead bool) error {
	if rs.node.Faults.Off(fault.Watermarks) {
		return nil
	}
	var missing []uint32
	hears := rs.node.Hears()
	tagged := false
	for i := range found {
		f := &found[i]
		if f.Err != nil || len(f.Slots) == 0 {
			continue
		}
		if slices.Max(f.Slots) >= near.Slots {
			f.Err = ErrUnusable // not by this library
			continue
		}
		tagged = true
		missing = rs.Tags.Missing(&f.Record, hears || clockRead, hears, missing)
	}
	if !tagged {
		return nil
	}
	rs.Tags.InUse.Store(true)
	var unread map[uint32]error
	if len(missing) > 0 {
		var err error
		if unread, err = rs.ReadSlots(ctx, missing); err != nil {
			return err
		}
	}
	for i := range found {
		rs.judgeTags(&found[i], unread)
	}
	return nil
}

// judgeTags makes a record that a tag has ended unusable, and one whose
// watermarks could not be read unread.
func (rs *Records) judgeTags(f *shared.Found, unread map[uint32]error) {
	if f.Err != nil || len(f.Slots) == 0 {
		return
	}
	for _, slot := range f.Slots {
		if err := unread[slot]; err != nil {
			f.Err = err
			return
		}
	}
	if _, live := rs.TagsLive(f); !live {
		rs.TagMisses.Add(1)
		f.Err, f.Kept = ErrTagged, rs.Options.StaleTags && f.Kind == driver.KindValue
	}
}

// TagsLive reports whether a record is live as far as its tags go, and since
// when this node would have heard that it is not, on the clock of the near tier.
func (rs *Records) TagsLive(f *shared.Found) (since int64, live bool) {
	if len(f.Slots) == 0 || rs.node.Faults.Off(fault.Watermarks) {
		return 1<<63 - 1, true
	}
	if rs.Pending.HasSlots(f.Slots) {
		return 0, false
	}
	var horizons *generation.Horizons
	if rs.node.Journal != nil {
		horizons = &generation.Horizons{
			Clock: rs.node.Near.HorizonOf(rs.node.partition(rs.tagClockKey())),
			Slots: make([]int64, len(f.Slots)),
		}
		for i, slot := range f.Slots {
			horizons.Slots[i] = rs.node.Near.HorizonOf(rs.node.partition(rs.slotKey(slot)))
		}
	}
	return rs.Tags.Judge(&f.Record, horizons)
}

// ReadSlots reads the watermarks of slots, and the tag clock, in one round trip,
// and learns them. What could not be read is returned by slot; if that is the tag
// clock, or all, it is the error.
//
// A watermark that is not there was never written, or was lost: evicted, or with
// the writes of a server that failed. Nobody can tell, so it counts as raised
// just now and is made so: what is lost must not bring back what it had ended.
// Since whoever first writes a value with a tag of the slot comes here as well,
// this costs no value that is worth anything unless something was lost.
func (rs *Records) ReadSlots(ctx context.Context, slots []uint32) (unread map[uint32]error, err error) {
	slots = slices.Compact(slices.Sorted(slices.Values(slots)))
	keys := make([]string, 1, len(slots)+1)
	keys[0] = rs.tagClockKey()
	for _, slot := range slots {
		keys = append(keys, rs.slotKey(slot))
	}
	highest, _, forgot := rs.Tags.Get()
	at := rs.node.Near.Now()
	found, err := rs.node.Tier.Read(ctx, keys)
	if err != nil {
		return nil, err
	}
	var reads []generation.SlotRead
	lost := make(map[uint32]*shared.Found)
	unread = make(map[uint32]error)
	for i, slot := range slots {
		f := &found[i+1]
		switch rev := rs.watermark(keys[i+1], f); {
		case errors.Is(f.Err, shared.ErrUnread):
			unread[slot] = f.Err
		case rev.Number == 0:
			lost[slot] = f
		default:
			reads = append(reads, generation.SlotRead{Slot: slot, Watermark: f.Clock, Revision: rev})
			highest = max(highest, f.Clock)
		}
	}
	clock, err := rs.haveTagClock(ctx, &found[0], highest)
	if err != nil {
		return nil, err
	}
	rs.Tags.Learn(clock, at, forgot)
	rs.raiseMarks(rs.Tags.LearnSlots(reads, at, forgot))
	rs.makeSlots(ctx, lost, clock)
	return unread, nil
}

// haveTagClock returns the tag clock that was found, after making it if it is
// not there, or raising it if it fell behind what this node knows: otherwise
// values would be dead on arrival. Where records are not read in one step, the
// clock was read before a watermark that passed it, and is read again.
func (rs *Records) haveTagClock(ctx context.Context, f *shared.Found, highest uint64) (uint64, error) {
	for began, again := time.Now(), false; ; {
		if errors.Is(f.Err, shared.ErrUnread) {
			return 0, f.Err
		}
		clock := rs.watermark(rs.tagClockKey(), f).Number
		if clock > 0 && clock >= highest {
			return clock, nil
		}
		if clock > 0 && !again {
			found, err := rs.node.Tier.Read(ctx, []string{rs.tagClockKey()})
			if err != nil {
				return 0, err
			}
			f, again = &found[0], true
			continue
		}
		if clock > 0 {
			r := rs.advanceTagClock(ctx, highest)
			return r.Revision.Number, r.Err
		}
		one := []making{{key: rs.tagClockKey(), found: f, floor: highest + 1}}
		rs.makeWatermarks(ctx, one)
		switch m := &one[0]; {
		case m.err != nil:
			return 0, m.err
		case m.revision.Number > 0:
			return m.revision.Number, nil
		case m.there != nil:
			f = m.there
			continue
		}
		// Another node is making it.
		waited := time.Since(began)
		if waited >= rs.node.Tier.LeaseTTL() {
			r := rs.advanceTagClock(ctx, highest+1)
			return r.Revision.Number, r.Err
		}
		if err := pause.Sleep(ctx, pause.After(waited)); err != nil {
			return 0, err
		}
	}
}

// makeSlots makes watermarks that are not there. Those that another node is
// making, or that cannot be made, stay unknown: records that need them are dead
// until somebody comes by again.
func (rs *Records) makeSlots(ctx context.Context, lost map[uint32]*shared.Found, clock uint64) {
	if len(lost) == 0 {
		return
	}
	slots, all := make([]uint32, 0, len(lost)), make([]making, 0, len(lost))
	for slot, f := range lost {
		slots, all = append(slots, slot), append(all, making{key: rs.slotKey(slot), found: f, clock: clock})
	}
	if !rs.node.Faults.Off(fault.Lost) {
		rs.Tags.Lose(slots)
	}
	at := rs.node.Near.Now()
	_, _, forgot := rs.Tags.Get()
	for part := range slices.Chunk(all, MaxPart) {
		rs.makeWatermarks(ctx, part)
	}
	var made, reads []generation.SlotRead
	for i := range all {
		switch m := &all[i]; {
		case m.err != nil:
		case m.there != nil && rs.watermark(m.key, m.there).Number > 0:
			reads = append(reads, generation.SlotRead{Slot: slots[i], Watermark: m.there.Clock, Revision: m.there.Revision})
		case m.revision.Number > 0:
			made = append(made, generation.SlotRead{Slot: slots[i], Watermark: clock, Revision: m.revision})
		}
	}
	rs.raiseMarks(rs.Tags.LearnSlots(reads, at, forgot))
	rs.raiseMarks(rs.Tags.Made(made))
}

// making is a watermark that is not there, and what became of making it: its
// revision, or what came meanwhile. If both are missing, another node is making it.
type making struct {
	key          string
	found        *shared.Found // in its place
	clock, floor uint64

	revision driver.Revision
	there    *shared.Found
	err      error
}

// makeWatermarks makes watermarks, in two round trips. It never replaces one.
//
// They are made as values are loaded, under leases, because two nodes that make
// one at a time must not end each other's values; and because, unlike a write,
// that is no news to the others.
func (rs *Records) makeWatermarks(ctx context.Context, all []making) {
	claims := make([]shared.Claim, len(all))
	for i := range all {
		m := &all[i]
		claims[i] = shared.Claim{Key: m.key, Token: driver.NewNonce()}
		if m.found.Kind != driver.KindLease {
			claims[i].Discard = unusable(m.found)
		}
	}
	var puts []shared.Put
	var granted []*making
	for i, got := range rs.node.Tier.Acquire(ctx, claims) {
		m := &all[i]
		switch {
		case got.Err != nil:
			m.err = got.Err
		case got.Status == driver.LeasePresent:
			m.there = &got.Present
		case got.Status == driver.LeaseUnusable:
			m.err = fmt.Errorf("%q: %w", m.key, ErrUnusable)
		case got.Status == driver.LeaseGranted:
			granted = append(granted, m)
			puts = append(puts, shared.Put{Key: m.key, Floor: m.floor, Record: driver.Record{
				Kind: driver.KindWatermark, Nonce: claims[i].Token, Clock: m.clock,
			}})
		}
	}
	if len(puts) == 0 {
		return
	}
	for i, r := range rs.node.Tier.Fill(ctx, puts) {
		r = raised(r, granted[i].floor)
		granted[i].revision = r.Revision
		if !errors.Is(r.Err, shared.ErrLeaseLost) { // an invalidation came in between
			granted[i].err = r.Err
		}
	}
}

// raiseMarks ends what is near of slots that turned out to be invalidated.
func (rs *Records) raiseMarks(slots []uint32) {
	if len(slots) > 0 {
		rs.Space.InvalidateSlots(slots)
	}
}

// watermark returns the revision of what was found under key, zero if it is no
// watermark, or was there before the shared tier lost writes.
func (rs *Records) watermark(key string, f *shared.Found) driver.Revision {
	if f.Err != nil || f.Kind != driver.KindWatermark || rs.node.superseded(rs.node.partition(key), f.Revision) {
		return driver.Revision{}
	}
	if max(f.Revision.Number, f.Clock) >= driver.MaxRevision {
		return driver.Revision{} // not by this library, and nothing could be above it
	}
	return f.Revision
}

// learnTagClock takes in the tag clock that was read along with records, as
// learnClock does the clock. If there is none, whoever needs one makes it.
func (rs *Records) learnTagClock(ctx context.Context, f *shared.Found, before uint64, at int64, forgot uint64) {
	clock := rs.watermark(rs.tagClockKey(), f).Number
	if before > clock {
		r := rs.advanceTagClock(ctx, before)
		if r.Err != nil {
			return
		}
		clock = r.Revision.Number
	}
	if clock > 0 {
		rs.Tags.Learn(clock, at, forgot)
	}
}

// readyTags returns the tag clock for a value with these slots that is about to
// be written, and makes sure that their watermarks are there.
func (rs *Records) readyTags(ctx context.Context, slots []uint32) (clock uint64, err error) {
	if len(slots) == 0 {
		return 0, nil
	}
	rs.Tags.InUse.Store(true)
	missing := rs.Tags.Unseen(slots, nil)
	clock, known, _ := rs.Tags.Get()
	if len(missing) == 0 && known && rs.node.Hears() {
		return clock, nil
	}
	if _, err := rs.ReadSlots(ctx, missing); err != nil {
		return 0, err
	}
	clock, _, _ = rs.Tags.Get()
	return clock, nil
}

// ReadyTagClock makes sure, before a load under a lease that may bring tags, that
// there is a tag clock: the value carries what was known before its load, and without
// one it would be dead on arrival. If that fails, the value is a miss to others. It
// reads once for each node, and makes the clock once for the fleet.
func (rs *Records) ReadyTagClock(ctx context.Context) {
	if !rs.Options.Tagged && !rs.Tags.Expected.Load() {
		return
	}
	if clock, _, _ := rs.Tags.Get(); clock > 0 {
		return
	}
	if _, err := rs.ReadSlots(ctx, nil); err != nil {
		rs.SharedErrors.Add(1)
	}
}

// SeeSlots makes sure that the watermarks of a loaded value's slots are there. If
// that fails, the value is a miss to others.
func (rs *Records) SeeSlots(ctx context.Context, slots []uint32) {
	if len(slots) == 0 {
		return
	}
	rs.Tags.InUse.Store(true)
	if missing := rs.Tags.Unseen(slots, nil); len(missing) > 0 {
		if _, err := rs.ReadSlots(ctx, missing); err != nil {
			rs.SharedErrors.Add(1)
		}
	}
}
