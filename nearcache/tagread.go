package nearcache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// knowTags reads what is needed to judge the records among found that have
// tags, in one more round trip for all of them if any is, and makes those that a
// tag has ended unusable. clockRead says that the tag clock was read with them.
func (k *keyspace) knowTags(ctx context.Context, found []shared.Found, clockRead bool) error {
	if k.node.faults.Off(fault.Watermarks) {
		return nil
	}
	var missing []uint32
	hears := k.node.hears()
	tagged := false
	for i := range found {
		f := &found[i]
		if f.Err != nil || len(f.Slots) == 0 {
			continue
		}
		if slices.Max(f.Slots) >= near.Slots {
			f.Err = errUnusable // not by this library
			continue
		}
		tagged = true
		missing = k.tags.Missing(&f.Record, hears || clockRead, hears, missing)
	}
	if !tagged {
		return nil
	}
	k.tags.InUse.Store(true)
	var unread map[uint32]error
	if len(missing) > 0 {
		var err error
		if unread, err = k.readSlots(ctx, missing); err != nil {
			return err
		}
	}
	for i := range found {
		k.judgeTags(&found[i], unread)
	}
	return nil
}

// judgeTags makes a record that a tag has ended unusable, and one whose
// watermarks could not be read unread.
func (k *keyspace) judgeTags(f *shared.Found, unread map[uint32]error) {
	if f.Err != nil || len(f.Slots) == 0 {
		return
	}
	for _, slot := range f.Slots {
		if err := unread[slot]; err != nil {
			f.Err = err
			return
		}
	}
	if _, live := k.tagsLive(f); !live {
		k.tagMisses.Add(1)
		f.Err = errUnusable
	}
}

// tagsLive reports whether a record is live as far as its tags go, and since
// when this node would have heard that it is not, on the clock of the near tier.
func (k *keyspace) tagsLive(f *shared.Found) (since int64, live bool) {
	if len(f.Slots) == 0 || k.node.faults.Off(fault.Watermarks) {
		return 1<<63 - 1, true
	}
	if k.pending.HasSlots(f.Slots) {
		return 0, false
	}
	var horizons *generation.Horizons
	if k.node.journal != nil {
		horizons = &generation.Horizons{
			Clock: k.node.near.HorizonOf(k.node.partition(k.tagClockKey())),
			Slots: make([]int64, len(f.Slots)),
		}
		for i, slot := range f.Slots {
			horizons.Slots[i] = k.node.near.HorizonOf(k.node.partition(k.slotKey(slot)))
		}
	}
	return k.tags.Judge(&f.Record, horizons)
}

// readSlots reads the watermarks of slots, and the tag clock, in one round trip,
// and learns them. What could not be read is returned by slot; if that is the tag
// clock, or all, it is the error.
//
// A watermark that is not there was never written, or was lost: evicted, or with
// the writes of a server that failed. Nobody can tell, so it counts as raised
// just now and is made so: what is lost must not bring back what it had ended.
// Since whoever first writes a value with a tag of the slot comes here as well,
// this costs no value that is worth anything unless something was lost.
func (k *keyspace) readSlots(ctx context.Context, slots []uint32) (unread map[uint32]error, err error) {
	slots = slices.Compact(slices.Sorted(slices.Values(slots)))
	keys := make([]string, 1, len(slots)+1)
	keys[0] = k.tagClockKey()
	for _, slot := range slots {
		keys = append(keys, k.slotKey(slot))
	}
	highest, _, forgot := k.tags.Get()
	at := k.node.near.Now()
	found, err := k.node.tier.Read(ctx, keys)
	if err != nil {
		return nil, err
	}
	var reads []generation.SlotRead
	lost := make(map[uint32]*shared.Found)
	unread = make(map[uint32]error)
	for i, slot := range slots {
		f := &found[i+1]
		switch rev := k.watermark(keys[i+1], f); {
		case errors.Is(f.Err, shared.ErrUnread):
			unread[slot] = f.Err
		case rev.Number == 0:
			lost[slot] = f
		default:
			reads = append(reads, generation.SlotRead{Slot: slot, Watermark: f.Clock, Revision: rev})
			highest = max(highest, f.Clock)
		}
	}
	clock, err := k.haveTagClock(ctx, &found[0], highest)
	if err != nil {
		return nil, err
	}
	k.tags.Learn(clock, at, forgot)
	k.raiseMarks(k.tags.LearnSlots(reads, at, forgot))
	k.makeSlots(ctx, lost, clock)
	return unread, nil
}

// haveTagClock returns the tag clock that was found, after making it if it is
// not there, or raising it if it fell behind what this node knows: otherwise
// values would be dead on arrival. Where records are not read in one step, the
// clock was read before a watermark that passed it, and is read again.
func (k *keyspace) haveTagClock(ctx context.Context, f *shared.Found, highest uint64) (uint64, error) {
	for began, again := time.Now(), false; ; {
		if errors.Is(f.Err, shared.ErrUnread) {
			return 0, f.Err
		}
		clock := k.watermark(k.tagClockKey(), f).Number
		if clock > 0 && clock >= highest {
			return clock, nil
		}
		if clock > 0 && !again {
			found, err := k.node.tier.Read(ctx, []string{k.tagClockKey()})
			if err != nil {
				return 0, err
			}
			f, again = &found[0], true
			continue
		}
		if clock > 0 {
			r := k.advanceTagClock(ctx, highest)
			return r.Revision.Number, r.Err
		}
		one := []making{{key: k.tagClockKey(), found: f, floor: highest + 1}}
		k.makeWatermarks(ctx, one)
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
		if waited >= k.node.tier.LeaseTTL() {
			r := k.advanceTagClock(ctx, highest+1)
			return r.Revision.Number, r.Err
		}
		if err := sleep(ctx, pauseAfter(waited)); err != nil {
			return 0, err
		}
	}
}

// makeSlots makes watermarks that are not there. Those that another node is
// making, or that cannot be made, stay unknown: records that need them are dead
// until somebody comes by again.
func (k *keyspace) makeSlots(ctx context.Context, lost map[uint32]*shared.Found, clock uint64) {
	if len(lost) == 0 {
		return
	}
	slots, all := make([]uint32, 0, len(lost)), make([]making, 0, len(lost))
	for slot, f := range lost {
		slots, all = append(slots, slot), append(all, making{key: k.slotKey(slot), found: f, clock: clock})
	}
	at := k.node.near.Now()
	_, _, forgot := k.tags.Get()
	for part := range slices.Chunk(all, maxPart) {
		k.makeWatermarks(ctx, part)
	}
	var made, reads []generation.SlotRead
	for i := range all {
		switch m := &all[i]; {
		case m.err != nil:
		case m.there != nil && k.watermark(m.key, m.there).Number > 0:
			reads = append(reads, generation.SlotRead{Slot: slots[i], Watermark: m.there.Clock, Revision: m.there.Revision})
		case m.revision.Number > 0:
			made = append(made, generation.SlotRead{Slot: slots[i], Watermark: clock, Revision: m.revision})
		}
	}
	k.raiseMarks(k.tags.LearnSlots(reads, at, forgot))
	k.raiseMarks(k.tags.Wrote(made))
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
func (k *keyspace) makeWatermarks(ctx context.Context, all []making) {
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
	for i, got := range k.node.tier.Acquire(ctx, claims) {
		m := &all[i]
		switch {
		case got.Err != nil:
			m.err = got.Err
		case got.Status == driver.LeasePresent:
			m.there = &got.Present
		case got.Status == driver.LeaseUnusable:
			m.err = fmt.Errorf("%q: %w", m.key, errUnusable)
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
	for i, r := range k.node.tier.Fill(ctx, puts) {
		r = raised(r, granted[i].floor)
		granted[i].revision = r.Revision
		if !errors.Is(r.Err, shared.ErrLeaseLost) { // an invalidation came in between
			granted[i].err = r.Err
		}
	}
}

// raiseMarks ends what is near of slots that turned out to be invalidated.
func (k *keyspace) raiseMarks(slots []uint32) {
	if len(slots) > 0 {
		k.space.InvalidateSlots(slots)
	}
}

// watermark returns the revision of what was found under key, zero if it is no
// watermark, or was there before the shared tier lost writes.
func (k *keyspace) watermark(key string, f *shared.Found) driver.Revision {
	if f.Err != nil || f.Kind != driver.KindWatermark || k.node.superseded(k.node.partition(key), f.Revision) {
		return driver.Revision{}
	}
	if max(f.Revision.Number, f.Clock) >= driver.MaxRevision {
		return driver.Revision{} // not by this library, and nothing could be above it
	}
	return f.Revision
}

// learnTagClock takes in the tag clock that was read along with records, as
// learnClock does the clock. If there is none, whoever needs one makes it.
func (k *keyspace) learnTagClock(ctx context.Context, f *shared.Found, before uint64, at int64, forgot uint64) {
	clock := k.watermark(k.tagClockKey(), f).Number
	if before > clock {
		r := k.advanceTagClock(ctx, before)
		if r.Err != nil {
			return
		}
		clock = r.Revision.Number
	}
	if clock > 0 {
		k.tags.Learn(clock, at, forgot)
	}
}

// readyTags returns the tag clock for a value with these slots that is about to
// be written, and makes sure that their watermarks are there.
func (k *keyspace) readyTags(ctx context.Context, slots []uint32) (clock uint64, err error) {
	if len(slots) == 0 {
		return 0, nil
	}
	k.tags.InUse.Store(true)
	missing := k.tags.Unseen(slots, nil)
	clock, known, _ := k.tags.Get()
	if len(missing) == 0 && known && k.node.hears() {
		return clock, nil
	}
	if _, err := k.readSlots(ctx, missing); err != nil {
		return 0, err
	}
	clock, _, _ = k.tags.Get()
	return clock, nil
}

// readyTagClock makes sure, before a load under a lease that may bring tags, that
// there is a tag clock: the value carries what was known before its load, and without
// one it would be dead on arrival. If that fails, the value is a miss to others. It
// reads once for each node, and makes the clock once for the fleet.
func (k *keyspace) readyTagClock(ctx context.Context) {
	if !k.opts.Tagged && !k.tags.Expected.Load() {
		return
	}
	if clock, _, _ := k.tags.Get(); clock > 0 {
		return
	}
	if _, err := k.readSlots(ctx, nil); err != nil {
		k.sharedErrors.Add(1)
	}
}

// seeSlots makes sure that the watermarks of a loaded value's slots are there. If
// that fails, the value is a miss to others.
func (k *keyspace) seeSlots(ctx context.Context, slots []uint32) {
	if len(slots) == 0 {
		return
	}
	k.tags.InUse.Store(true)
	if missing := k.tags.Unseen(slots, nil); len(missing) > 0 {
		if _, err := k.readSlots(ctx, missing); err != nil {
			k.sharedErrors.Add(1)
		}
	}
}
