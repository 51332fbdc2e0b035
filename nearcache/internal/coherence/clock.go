package coherence

import (
	"context"
	"errors"
	"fmt"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// ForgetClock forgets the clock, and all that is known of tags.
func (rs *Records) ForgetClock() {
	rs.Clock.Forget()
	rs.Tags.ForgetAll()
}

// forgetPartitions forgets what some partitions have of clock and tags, for lost has an
// element for each: there may have been a Clear or an InvalidateTags in them. It ends all that
// is near if the clock is among that. Of tags, the partitions of slots decide.
func (rs *Records) forgetPartitions(lost []bool) {
	rs.Tags.ForgetAll()
	if p := rs.clockPartition(); p < len(lost) && lost[p] {
		rs.Clock.Forget()
		rs.Space.Clear()
	}
}

// clockKey is where the clock is kept. Names of caches have no exclamation
// mark in them, and keys have a colon after the name.
func (rs *Records) clockKey() string { return rs.Name + clockSuffix }

const clockSuffix = "!clock"

// knownClock returns the clock, reading it first if need be. A write must know
// it: a record with too low a clock is dead on arrival.
func (rs *Records) knownClock(ctx context.Context) (uint64, error) {
	value, known, _ := rs.Clock.Get()
	if known && rs.node.Hears() {
		return value, nil
	}
	if _, err := rs.ReadRecords(ctx, nil); err != nil {
		return 0, err
	}
	value, _, _ = rs.Clock.Get()
	return value, nil
}

// clockRead returns since when this node would have heard of a Clear, on the
// clock of the near tier. What a record is worth was decided then.
func (rs *Records) clockRead() int64 {
	return max(rs.Clock.ReadAt(), rs.node.Near.HorizonOf(rs.clockPartition()))
}

// maxReads is how many times records are read until what decides on them is not lost
// meanwhile. The second read of the same records is rare, the third unheard of.
const maxReads = 3

// ReadRecords reads the records of keys, and the clock in the same round trip
// if it is not known, or if this node may not have heard of a Clear; the tag
// clock likewise. What a tag has ended is not usable. Of several keys some may be
// unread, but not all.
//
// It reads them again if they had to be confirmed, or if writes turn out to be lost: the
// clocks and watermarks that they were judged by may not hold any more.
func (rs *Records) ReadRecords(ctx context.Context, keys []string) ([]shared.Found, error) {
	for range maxReads {
		found, again, err := rs.readOnce(ctx, keys)
		if err != nil || !again {
			return found, err
		}
	}
	return nil, fmt.Errorf("%w: %w", shared.ErrUnread, errUnverified)
}

// readOnce is readRecords, but tells if the records are to be read again.
func (rs *Records) readOnce(ctx context.Context, keys []string) (found []shared.Found, again bool, err error) {
	losses := rs.node.Losses()
	hears := rs.node.Hears()
	clockBefore, everRead, forgot := rs.Clock.Get()
	known := everRead && hears
	tagsBefore, tagsKnown, tagsForgot := rs.Tags.Get()
	// A loader may be about to return the first tags: its value needs the clock.
	readTags := !everRead || rs.Tags.InUse.Load() && (!tagsKnown || !hears)
	names := rs.storeKeys(make([]string, 0, len(keys)+2), keys)
	if !known {
		names = append(names, rs.clockKey())
	}
	if readTags {
		names = append(names, rs.tagClockKey())
	}
	if len(names) == 0 {
		return nil, false, nil
	}
	var at int64
	if !known || readTags {
		at = rs.node.Near.Now()
	}
	if found, err = rs.node.Tier.Read(ctx, names); err != nil {
		return nil, false, err
	}
	if !known {
		clock := found[len(keys)]
		if errors.Is(clock.Err, shared.ErrUnread) {
			return nil, false, clock.Err // whether the records are live depends on it
		}
		if err := rs.learnClock(ctx, &clock, clockBefore, at, forgot); err != nil {
			return nil, false, err
		}
	}
	if readTags {
		tags := &found[len(found)-1]
		if errors.Is(tags.Err, shared.ErrUnread) {
			return nil, false, tags.Err
		}
		rs.learnTagClock(ctx, tags, tagsBefore, at, tagsForgot)
	}
	found = found[:len(keys)]
	again, err = rs.judge(ctx, keys, found, losses, readTags)
	return found, again, err
}

// judge makes the records found under keys unusable where a tag has ended them, and
// unread where nobody can tell, or where they cannot be believed. If that leaves
// none, it is the error. losses were those of the node before the records were read;
// tagsRead says that the tag clock was read with them. What judged them may not hold any
// more, and then they are to be read again.
func (rs *Records) judge(ctx context.Context, keys []string, found []shared.Found, losses uint64, tagsRead bool) (again bool, err error) {
	if err := rs.knowTags(ctx, found, tagsRead); err != nil {
		return false, err
	}
	waited := rs.verify(ctx, keys, found)
	if allUnread(found) {
		return false, found[0].Err
	}
	return waited || rs.node.Losses() != losses && !rs.node.Faults.Off(fault.Confirmation), nil
}

func allUnread(found []shared.Found) bool {
	for i := range found {
		if !errors.Is(found[i].Err, shared.ErrUnread) {
			return false
		}
	}
	return len(found) > 0
}

// learnClock takes in what was found under the clock's key by a read before
// which this node knew of the clock before. If the shared tier lost the clock or
// fell behind that, it is set to what this node knows, so that nodes do not take
// each other's records for dead. What this node learned since says nothing: to
// raise the clock for it would be a Clear that nobody asked for.
//
// After an error nobody knows whether records are live.
func (rs *Records) learnClock(ctx context.Context, f *shared.Found, before uint64, at int64, forgot uint64) error {
	f, err := rs.wholeClock(ctx, f, before)
	if err != nil {
		return err
	}
	value := clockOf(f)
	if before > value {
		if value = rs.advanceClock(ctx, before).Revision.Number; value == 0 {
			return nil // it failed: this node goes by before
		}
	}
	if rs.Clock.Learn(value, at, forgot) {
		rs.Space.Clear() // there was a Clear that nobody told of
		rs.Clock.Settle(value)
	}
	return nil
}

// clockOf returns the clock that was found, 0 if there is none.
func clockOf(f *shared.Found) uint64 {
	if f.Err != nil || f.Kind != driver.KindWatermark || f.Revision.Number >= driver.MaxRevision {
		return 0
	}
	return f.Revision.Number
}

// wholeClock is f, unless that is from before the shared tier lost writes. One of them
// may have been a Clear, and the records that it ended may be on servers that lost
// nothing. Nobody can tell, so everything counts as cleared just now: the clock is
// raised, once for the fleet, and what it is then is returned.
func (rs *Records) wholeClock(ctx context.Context, f *shared.Found, before uint64) (*shared.Found, error) {
	if clockOf(f) == 0 || !rs.node.superseded(rs.clockPartition(), f.Revision) || rs.node.Faults.Off(fault.Confirmation) {
		return f, nil
	}
	floor := max(before, f.Revision.Number) + 1
	r := raised(rs.node.Tier.Fill(ctx, []shared.Put{{
		Key: rs.clockKey(), Record: driver.Record{Kind: driver.KindWatermark}, Expect: f.Nonce, Floor: floor,
	}})[0], floor)
	if r.Err != nil && !errors.Is(r.Err, shared.ErrLeaseLost) {
		return nil, fmt.Errorf("%w: the clock: %w", shared.ErrUnread, r.Err)
	}
	found, err := rs.node.Tier.Read(ctx, []string{rs.clockKey()}) // another node may have been faster
	if err != nil {
		return nil, err
	}
	if f = &found[0]; clockOf(f) > 0 && rs.node.superseded(rs.clockPartition(), f.Revision) {
		return nil, fmt.Errorf("%w: the clock: %w", shared.ErrUnread, errUnverified)
	}
	return f, nil
}

// advanceClock raises the clock in the shared tier, to floor at least.
func (rs *Records) advanceClock(ctx context.Context, floor uint64) driver.Receipt {
	return rs.advanceTo(ctx, rs.clockKey(), floor)
}

// advanceTo raises a clock in the shared tier, to floor at least. One that is lower ends
// nothing on nodes that knew a higher one, so it is an error.
func (rs *Records) advanceTo(ctx context.Context, key string, floor uint64) driver.Receipt {
	return raised(rs.node.Tier.Write(ctx, []shared.Put{{
		Key: key, Record: driver.Record{Kind: driver.KindWatermark}, Floor: floor,
	}})[0], floor)
}

// errNotRaised says that the shared tier does not keep its contract, or that this node
// was made to believe in a clock that nothing can be above.
var errNotRaised = errors.New("nearcache: the shared tier raised a clock to less than this node knew")

// raised is the answer of the shared tier to a write of a clock, with an error if that did
// not come to floor.
func raised(r driver.Receipt, floor uint64) driver.Receipt {
	if r.Err == nil && r.Revision.Number < max(floor, 1) {
		r.Revision, r.Err = driver.Revision{}, errNotRaised
	}
	return r
}
