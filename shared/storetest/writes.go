package storetest

import (
	"fmt"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

func writeCases() []testCase {
	return []testCase{
		{"receipt tells the revision that is stored", revisions, receiptRevision},
		{"revisions rise", revisions, revisionsRise},
		{"revisions rise across delete and refill", revisions, riseAcrossDelete},
		{"revisions rise across expiry", revisions, riseAcrossExpiry},
		{"revisions rise within a batch", revisions, riseWithinBatch},
		{"revisions differ", anything, revisionsDiffer},
		{"floor is the least revision", revisions, floor},
		{"watermarks rise", anything, watermarksRise},
		{"watermarks rise from far ahead", anything, riseFromAhead},
		{"watermarks rise when they are lost", anything, riseWhenLost},
		{"a watermark keeps the higher clock", anything, keepsHigherClock},
		{"concurrent watermarks keep the highest clock", anything, keepHighestClock},
		{"only watermarks keep a clock", anything, onlyWatermarksKeep},
		{"repeated write keeps its revision", anything, repeatedWrite},
		{"repeat is known by its nonce alone", anything, repeatByNonce},
		{"overwritten write may be repeated", anything, repeatAfterOther},
		{"late write is refused", anything, lateWrite},
		{"deadline of a write is its own", anything, deadlineAhead},
	}
}

// later requires that r came after last, and returns it.
func (s *scene) later(last, r driver.Revision, what string) driver.Revision {
	s.require(r.Epoch != 0 && r.Number != 0, "%s has no revision", what)
	s.require(last.Epoch == 0 || r.Epoch == last.Epoch, "%s began another epoch", what)
	s.require(r.Number > last.Number, "%s has revision %d, not above %d", what, r.Number, last.Number)
	return r
}

func receiptRevision(s *scene) {
	for _, r := range []driver.Record{value("value"), tombstone(), watermark()} {
		receipt := s.put(write("key", r))
		s.later(driver.Revision{}, receipt.Revision, "a write")
		s.require(s.record("key").Revision == receipt.Revision, "the record and its receipt differ")
	}
	token := s.acquire("filled")
	receipt := s.fill(filling("filled", value("value"), token))
	s.require(s.record("filled").Revision == receipt.Revision, "the filled record and its receipt differ")
}

func revisionsRise(s *scene) {
	var last driver.Revision
	for i := range 200 {
		last = s.later(last, s.set("key", "value").Revision, fmt.Sprintf("write %d", i))
	}
}

func riseAcrossDelete(s *scene) {
	last := s.set("key", "value").Revision
	for range 3 {
		last = s.later(last, s.put(write("key", tombstone())).Revision, "a delete")
		token := s.acquire("key")
		last = s.later(last, s.fill(filling("key", value("value"), token)).Revision, "a fill after a delete")
		s.put(write("key", tombstone()))
		last = s.later(last, s.set("key", "value").Revision, "a write after a delete")
	}
}

// riseAcrossExpiry requires that a key keeps its place when no record of it is
// left.
func riseAcrossExpiry(s *scene) {
	w := live("key", time.Minute)
	w.Floor = uint64(s.now().Add(time.Hour).UnixMicro()) // as if the clock were set back then
	last := s.put(w).Revision
	w = live("key", time.Millisecond)
	last = s.later(last, s.put(w).Revision, "a short-lived write")
	s.until(func() bool { return s.image("key") == nil }, "expiry")
	last = s.later(last, s.set("key", "value").Revision, "a write after expiry")

	s.put(live("key", time.Millisecond))
	s.until(func() bool { return s.image("key") == nil }, "expiry")
	token := s.acquire("key")
	s.later(last, s.fill(filling("key", value("value"), token)).Revision, "a fill after expiry")
}

func riseWithinBatch(s *scene) {
	writes := make([]driver.Write, 50)
	for i := range writes {
		writes[i] = write("key", value("value"))
	}
	var highest driver.Revision
	seen := map[driver.Revision]bool{}
	for _, r := range s.store.Write(s.ctx, writes) {
		s.noError(r.Err, "write")
		s.require(!seen[r.Revision], "two writes of a batch have one revision")
		seen[r.Revision] = true
		if r.Revision.Number > highest.Number {
			highest = r.Revision
		}
	}
	s.require(s.record("key").Revision == highest, "what is stored is not the write with the highest revision")
}

// revisionsDiffer requires of every store that readers can tell two writes from
// each other.
func revisionsDiffer(s *scene) {
	seen := map[driver.Revision]bool{}
	for range 20 {
		s.set("key", "the same")
		r := s.record("key").Revision
		s.require(r.Number != 0, "a record that was read has no revision")
		s.require(s.record("key").Revision == r, "the revision of a record changes")
		s.require(!seen[r], "two writes have one revision")
		seen[r] = true
	}
}

func floor(s *scene) {
	ahead := uint64(s.now().Add(time.Hour).UnixMicro())
	w := write("key", value("value"))
	w.Floor = ahead
	last := s.put(w).Revision
	s.require(last.Number >= ahead, "revision %d is below the floor of %d", last.Number, ahead)
	last = s.later(last, s.set("key", "value").Revision, "a write after a floor")
	w = write("key", value("value"))
	w.Floor = 1
	s.later(last, s.put(w).Revision, "a write with a low floor")
}

// watermarksRise requires that watermarks have numbers of their own, that
// receipts tell them, and that a floor raises them.
func watermarksRise(s *scene) {
	var last uint64
	for i := range 20 {
		w := write("clock", watermark())
		w.TTL = 0
		if i == 10 {
			w.Floor = uint64(s.now().Add(time.Hour).UnixMicro())
		}
		r := s.put(w).Revision
		s.require(r.Number > last && r.Number >= w.Floor, "watermark %d after %d, floor %d", r.Number, last, w.Floor)
		last = r.Number
		got := s.record("clock")
		s.require(got.Kind == driver.KindWatermark, "kind %d", got.Kind)
		s.require(got.Revision == r, "the watermark that is read is %d, that of the receipt %d", got.Revision.Number, r.Number)
	}
}

// riseFromAhead requires that a watermark which was raised by a clock that was days ahead
// goes on from there, and that nothing else does.
func riseFromAhead(s *scene) {
	ahead := uint64(s.now().Add(3 * day).UnixMicro())
	var last uint64
	for _, floor := range []uint64{ahead, 1, ahead + 2, 1} {
		w := write("clock", watermark())
		w.TTL, w.Floor = 0, floor
		r := s.put(w).Revision
		s.require(r.Number > last && r.Number >= floor, "watermark %d after %d, floor %d", r.Number, last, floor)
		got := s.record("clock").Revision
		s.require(got == r, "the watermark that is read is %d, that of the receipt %d", got.Number, r.Number)
		last = r.Number
		other := s.set("key", "value").Revision.Number
		s.require(other < ahead-uint64(day/time.Microsecond), "revision %d after a watermark of %d", other, r.Number)
	}
}

// riseWhenLost requires that a watermark that a server dropped does not begin
// anew.
func riseWhenLost(s *scene) {
	w := write("clock", watermark())
	w.TTL = time.Millisecond
	last := s.put(w).Revision.Number
	s.until(func() bool { return s.image("clock") == nil }, "the end of a watermark")
	next := s.put(write("clock", watermark())).Revision.Number
	s.require(next > last, "watermark %d after one of %d that is gone", next, last)
}

// marking is a write of a watermark with a clock.
func marking(key string, clock uint64) driver.Write {
	w := write(key, marked(clock))
	w.TTL = 0
	return w
}

func keepsHigherClock(s *scene) {
	var highest uint64
	// Neighbours that differ in one digit of a number of 53 bits or of 64, and
	// those whose bytes are ordered in another way as text.
	for _, clock := range []uint64{
		0, 5, 4, 1 << 32, 1<<32 - 1, 1<<53 + 1, 1 << 53, 1 << 60, 1<<60 - 1, 0x0a0d << 40, 0x61 << 56, 0x42 << 56, 1<<64 - 2, 1<<64 - 1, 0,
	} {
		highest = max(highest, clock)
		s.put(marking("mark", clock))
		got := s.record("mark")
		s.require(got.Kind == driver.KindWatermark, "kind %d", got.Kind)
		s.require(got.Clock == highest, "after a watermark with clock %d the clock is %d, not %d", clock, got.Clock, highest)
	}
}

func keepHighestClock(s *scene) {
	const writers, writes = 8, 10
	s.together(writers, func(i int) error {
		for n := range writes {
			if r := s.try(marking("mark", uint64((n*7+i*3)%writes)*writers+uint64(i))); r.Err != nil {
				return r.Err
			}
		}
		return nil
	})
	want := uint64(writes*writers - 1)
	got := s.record("mark").Clock
	s.require(got == want, "the clock is %d, the highest written was %d", got, want)
}

func onlyWatermarksKeep(s *scene) {
	high := value("high")
	high.Clock = 9
	low := watermark()
	low.Clock = 3
	s.put(write("value then mark", high))
	s.put(write("value then mark", low))
	got := s.record("value then mark")
	s.require(got.Clock == 3, "a watermark took over the clock %d of a value", got.Clock)
	s.put(write("mark then value", marked(7)))
	low = value("low")
	low.Clock = 3
	s.put(write("mark then value", low))
	got = s.record("mark then value")
	s.require(got.Clock == 3, "a value took over the clock %d of a watermark", got.Clock)
	s.put(write("values", high))
	s.put(write("values", low))
	got = s.record("values")
	s.require(got.Clock == 3, "a value took over the clock %d of a value", got.Clock)
}

func marked(clock uint64) driver.Record {
	r := watermark()
	r.Clock = clock
	return r
}

func repeatedWrite(s *scene) {
	for _, r := range []driver.Record{value("value"), tombstone(), watermark()} {
		key := fmt.Sprintf("kind %d", r.Kind)
		s.put(write(key, value("before")))
		first := s.put(write(key, r))
		before := s.record(key)
		again := s.put(write(key, r))
		s.require(again.Revision == first.Revision, "%s: a repeated write has another revision", key)
		s.require(s.record(key).Revision == before.Revision, "%s: a repeated write was stored again", key)
	}
}

func repeatByNonce(s *scene) {
	first, second := value("the same"), value("the same")
	s.put(write("key", first))
	before := s.record("key").Revision
	s.put(write("key", second))
	s.require(s.record("key").Revision != before, "another write of the same value was taken for a repeat")
	s.put(write("another key", second))
	s.holds("another key", "the same")
}

func repeatAfterOther(s *scene) {
	first := value("first")
	s.put(write("key", first))
	s.set("key", "second")
	s.put(write("key", first))
	s.holds("key", "first")
}

func lateWrite(s *scene) {
	s.set("key", "value")
	token := s.acquire("leased")
	past := s.now().Add(-time.Second)
	late := func(w driver.Write) driver.Write {
		w.NotAfter = past
		return w
	}
	s.fails(s.try(late(write("key", value("late")))).Err, driver.ErrTooLate, "late write")
	s.fails(s.try(late(write("key", tombstone()))).Err, driver.ErrTooLate, "late delete")
	s.fails(s.try(late(write("new", value("late")))).Err, driver.ErrTooLate, "late write of a new key")
	s.fails(s.tryFill(late(filling("leased", value("late"), token))).Err, driver.ErrTooLate, "late fill")
	l := lease("unleased", 1)
	l.NotAfter = past
	err := s.tryAcquire(l).Err
	s.fails(err, driver.ErrTooLate, "late request for a lease")

	s.holds("key", "value")
	s.empty("new")
	s.empty("unleased")
	s.fill(filling("leased", value("in time"), token))
}

func deadlineAhead(s *scene) {
	w := write("key", value("value"))
	w.NotAfter = s.now().Add(time.Hour)
	s.put(w)
	s.holds("key", "value")
	l := lease("leased", 1)
	l.NotAfter = s.now().Add(time.Hour)
	s.asks(l, driver.LeaseGranted)
	w = filling("leased", value("filled"), 1)
	w.NotAfter = s.now().Add(time.Hour)
	s.fill(w)
}
