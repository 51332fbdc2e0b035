package coherence

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// Limits of tags.
const (
	MaxTags    = driver.MaxSlots // of one value
	maxTagSize = 256             // bytes
	maxTagCall = 1024            // of one InvalidateTags
)

// CheckTags refuses tags that cannot be used, and more of them than most.
func CheckTags(tags []string, most int) error {
	if len(tags) > most {
		return fmt.Errorf("%w: %d tags, more than %d", ErrInvalidTag, len(tags), most)
	}
	for i, tag := range tags {
		if tag == "" || len(tag) > maxTagSize {
			return fmt.Errorf("%w: tag %d has %d bytes, want 1 to %d", ErrInvalidTag, i, len(tag), maxTagSize)
		}
	}
	return nil
}

const (
	tagClockSuffix = "!tags"
	tagInfix       = "!tag"
	slotInfix      = tagInfix + ":"
)

// tagClockKey is where the tag clock is kept.
func (rs *Records) tagClockKey() string { return rs.Name + tagClockSuffix }

// slotKey is where the watermark of a slot is kept.
func (rs *Records) slotKey(slot uint32) string {
	return rs.Name + slotInfix + strconv.FormatUint(uint64(slot), 10)
}

// InvalidateTags ends the values with one of these tags, and announces it.
func (k *Keyspace) InvalidateTags(ctx context.Context, tags []string) error {
	if err := k.Check(); err != nil {
		return err
	}
	if err := CheckTags(tags, maxTagCall); err != nil {
		return err
	}
	if len(tags) == 0 {
		return nil
	}
	tags = Distinct(tags)
	k.TagDrops.Add(uint64(len(tags)))
	return k.dropTags(ctx, tags, true)
}

// dropTags ends the values with these tags in every tier, and announces it if
// asked to.
func (k *Keyspace) dropTags(ctx context.Context, tags []string, announce bool) error {
	settles := k.Pending.Checkpoint()
	slots := generation.SlotsOf(tags)
	k.Space.InvalidateSlots(slots)
	// Readers may have read old values since, so the marks are raised again
	// when the outcome is known.
	defer k.Space.InvalidateSlots(slots)
	invs := k.invalidations(bus.OpTag, tags)
	announced, err := k.raiseSlots(ctx, invs, announce)
	switch {
	case err == nil:
		k.Pending.Resolve(settles, true, tags...)
	case !announce:
		return err
	default:
		k.retryLater(invs, false, time.Time{}) // before readers may read again
		return k.abandon(ctx, invs, err)
	}
	if announced || !announce {
		return nil
	}
	return k.broadcast(ctx, invs)
}

// raiseSlots raises the watermarks of the slots of invs, which are of tags, in
// the shared tier, and enters their revisions into invs. The marks of the near
// tier are up to the caller, before and after.
//
// The tag clock comes first. A load that began before it rose knows less than
// the watermarks will be, a load that began later has begun after the caller
// changed the source. A writer that dies in between has invalidated nothing, and
// nobody was told that it did.
func (k *Keyspace) raiseSlots(ctx context.Context, invs []bus.Invalidation, announce bool) (announced bool, err error) {
	if k.node.Tier == nil {
		return false, nil
	}
	k.Tags.InUse.Store(true)
	known, _, forgot := k.Tags.Get()
	at := k.node.Near.Now()
	clock := k.advanceTagClock(ctx, known+1)
	if clock.Err != nil {
		return false, clock.Err
	}
	k.Tags.Learn(clock.Revision.Number, at, forgot)
	// One put for each slot: the first of its tags speaks for the others.
	slots, puts := make([]uint32, 0, len(invs)), make([]shared.Put, 0, len(invs))
	places := make(map[uint32]int, len(invs))
	for i := range invs {
		slot := generation.SlotOf(invs[i].Key)
		if _, ok := places[slot]; !ok {
			places[slot] = len(slots)
			slots, puts = append(slots, slot), append(puts, k.slotPut(slot, clock.Revision.Number))
		}
	}
	if announce && len(puts) == 1 && memberOf(ctx) == nil {
		puts[0].Announce = k.announcement(&invs[0])
		announced = puts[0].Announce != nil
	}
	receipts := k.node.Tier.Write(ctx, puts)
	written, errs := make([]generation.SlotRead, 0, len(slots)), []error(nil)
	for i, r := range receipts {
		if r.Err != nil {
			errs = append(errs, r.Err)
			k.Tags.Doubt(slots[i])
			continue
		}
		written = append(written, generation.SlotRead{Slot: slots[i], Watermark: clock.Revision.Number, Revision: r.Revision})
	}
	k.raiseMarks(k.Tags.Wrote(written))
	for i := range invs {
		r := receipts[places[generation.SlotOf(invs[i].Key)]].Revision
		invs[i].Epoch, invs[i].Revision = r.Epoch, r.Number
	}
	return announced, errors.Join(errs...)
}

// slotPut raises the watermark of a slot to the tag clock. The store keeps the
// higher of two. It has no TTL, so that policies that evict what has one leave it
// alone; the number of slots bounds what that takes.
func (k *Keyspace) slotPut(slot uint32, clock uint64) shared.Put {
	return shared.Put{Key: k.slotKey(slot), Record: driver.Record{Kind: driver.KindWatermark, Clock: clock}}
}

// advanceTagClock raises the tag clock in the shared tier, to floor at least.
func (rs *Records) advanceTagClock(ctx context.Context, floor uint64) driver.Receipt {
	return rs.advanceTo(ctx, rs.tagClockKey(), floor)
}

// applyTag applies news of a tag that came by bus.
func (k *Keyspace) applyTag(m *bus.Message, inv *bus.Invalidation) {
	slot := generation.SlotOf(inv.Key)
	rev := driver.Revision{Epoch: inv.Epoch, Number: inv.Revision}
	k.node.heardOf(m, func() string { return k.slotKey(slot) }, rev)
	if m.Own && k.Tags.Covers(slot, rev) {
		return // the echo of a write that was answered
	}
	// First what is known, then the mark: a read with a stamp of after the mark
	// knows that it does not know. The watermark is read from the shared tier: a
	// number on the bus could be anybody's.
	k.Tags.Hear(slot, rev)
	k.Space.InvalidateSlots([]uint32{slot})
}

// repairSlot applies what the journal tells of the watermark of a slot, and reports whether
// something may have been near that it ended, and of which nobody had told.
func (k *Keyspace) repairSlot(slot uint32, rev driver.Revision) bool {
	ended, news := k.Tags.Repair(slot, rev)
	if news { // also for what is on its way
		k.Space.InvalidateSlots([]uint32{slot})
	}
	return ended
}

// advanceTags applies what the journal tells of the tag clock. The watermarks
// that go with it have entries of their own.
func (k *Keyspace) advanceTags(clock uint64) { k.Tags.Advance(clock) }

// SetNearBytes makes bytes the bound of the near tier. While the tables of tags take more than their
// share, those of one cache after the other are made small: nothing ended is served for that.
func (n *Node) SetNearBytes(bytes int64) {
	left := n.caches.all()
	n.Near.SetBytes(bytes, func() bool {
		if len(left) == 0 {
			return false
		}
		left[0].Space.ShrinkSlots()
		left[0].Tags.Shrink()
		left = left[1:]
		return true
	})
}
