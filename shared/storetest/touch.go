package storetest

import (
	"errors"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// touchCases are for stores that are a [driver.Toucher]; others pass.
func touchCases() []testCase {
	return []testCase{
		{"touch gives a later end", anything, touchExtends},
		{"touch changes nothing else", anything, touchKeeps},
		{"touch keeps the revision", revisions, touchKeepsRevision},
		{"touch gives no earlier end", anything, touchShortensNothing},
		{"touch moves both expiries", anything, touchMovesBoth},
		{"touch brings nothing back", anything, touchRevivesNothing},
		{"touch of another record is refused", anything, touchRefused},
		{"late touch is refused", anything, touchLate},
		{"touch is not journaled", journal, touchUnjournaled},
		{"touch races a write", anything, touchRacesWrite},
		{"batch touch equals single touches", anything, touchBatch},
	}
}

// touchFor returns a request that the value now under key lives for ttl.
func (s *scene) touchFor(key string, ttl time.Duration) driver.Touch {
	return driver.Touch{Key: key, Revision: s.record(key).Revision, TTL: ttl}
}

// touch asks for later ends. ok says that the store can; otherwise there is nothing to test.
func (s *scene) touch(touches ...driver.Touch) (receipts []driver.Receipt, ok bool) {
	store, ok := s.store.(driver.Toucher)
	if !ok {
		return nil, false
	}
	receipts = store.Touch(s.ctx, touches)
	s.require(len(receipts) == len(touches), "%d receipts for %d touches", len(receipts), len(touches))
	return receipts, true
}

// touched touches and requires that it succeeds.
func (s *scene) touched(t driver.Touch) (ok bool) {
	receipts, ok := s.touch(t)
	if ok {
		s.noError(receipts[0].Err, "touch")
	}
	return ok
}

// untouched requires that a touch finds nothing to touch.
func (s *scene) untouched(t driver.Touch, doing string) (ok bool) {
	receipts, ok := s.touch(t)
	if ok {
		s.fails(receipts[0].Err, driver.ErrNotFound, doing)
	}
	return ok
}

func touchExtends(s *scene) {
	const ttl = 1500 * time.Millisecond
	ok := true
	key := s.within(ttl/2, func(key string) error {
		s.put(live(key, ttl))
		ok = s.touched(s.touchFor(key, 5*time.Second))
		return nil
	})
	if !ok {
		return
	}
	hard := time.UnixMilli(s.record(key).Hard)
	s.require(hard.Sub(s.now()) > 3*time.Second, "the value ends %v after a touch of 5 s", hard.Sub(s.now()))
	s.pass(2 * ttl)
	s.holds(key, "value")
	s.until(func() bool { return s.image(key) == nil }, "the end of a value that was touched")
}

func touchKeeps(s *scene) {
	r := value("value")
	r.Clock, r.Schema, r.TagClock, r.Slots = 12, 3, 4, []uint32{5, 6}
	r.NearTTL, r.Ahead = time.Second, time.Minute
	w := write("key", r)
	w.TTL = time.Minute
	s.put(w)
	if !s.touched(s.touchFor("key", time.Hour)) {
		return
	}
	got := s.record("key")
	s.require(got.Kind == driver.KindValue && got.Nonce == r.Nonce, "kind or nonce are not what they were")
	s.require(string(got.Value) == "value" && got.Codec == 7 && got.Clock == 12 && got.Schema == 3 &&
		got.TagClock == 4 && len(got.Slots) == 2 && got.NearTTL == time.Second && got.Ahead == time.Minute, "the value is not what it was")
	s.fill(refreshing("key", "refreshed", got.Nonce))
	s.holds("key", "refreshed")
}

func touchKeepsRevision(s *scene) {
	s.put(live("key", time.Minute))
	before := s.record("key").Revision
	if s.touched(s.touchFor("key", time.Hour)) {
		s.require(s.record("key").Revision == before, "the revision is another")
	}
}

func touchShortensNothing(s *scene) {
	s.put(live("key", time.Hour))
	before := s.record("key").Hard
	if !s.touched(s.touchFor("key", 50*time.Millisecond)) {
		return
	}
	s.put(live("for ever", 0))
	s.touched(s.touchFor("for ever", 50*time.Millisecond))
	s.pass(100 * time.Millisecond)
	s.holds("key", "value")
	s.holds("for ever", "value")
	s.require(sameEnd(s.record("key").Hard, before), "the expiry is %d, not %d", s.record("key").Hard, before)
	s.require(s.record("for ever").Hard == 0, "a value without an end has one")
}

func touchMovesBoth(s *scene) {
	w := live("key", time.Hour)
	w.Soft = time.Minute
	s.put(w)
	before := s.record("key")
	if !s.touched(s.touchFor("key", 10*time.Minute)) {
		return
	}
	got := s.record("key")
	s.require(sameEnd(got.Hard-got.Soft, before.Hard-before.Soft), "it is kept for %d ms, not %d", got.Hard-got.Soft, before.Hard-before.Soft)
	left := time.UnixMilli(got.Soft).Sub(s.now())
	s.require(left > 9*time.Minute && left < 11*time.Minute, "it lives for %v after a touch of 10 min", left)
}

// touchRevivesNothing requires that what has ended stays ended.
func touchRevivesNothing(s *scene) {
	w := live("expired", 50*time.Millisecond)
	s.put(w)
	expired := driver.Touch{Key: "expired", TTL: time.Hour}
	if image := s.image("expired"); image != nil {
		r, _ := driver.DecodeHeader(image)
		expired.Revision = r.Revision
	}
	s.until(func() bool { return s.image("expired") == nil }, "the end of a value")
	if !s.untouched(expired, "touch of what expired") {
		return
	}
	s.empty("expired")

	w = live("kept", time.Hour)
	w.Soft = 50 * time.Millisecond
	s.put(w)
	soft := s.record("kept").Soft
	s.until(func() bool { return s.now().UnixMilli() > soft+slack.Milliseconds() }, "a soft expiry")
	s.untouched(s.touchFor("kept", time.Hour), "touch past the soft expiry")
	s.require(sameEnd(s.record("kept").Soft, soft), "a value past its soft expiry was touched")
}

func touchRefused(s *scene) {
	s.set("key", "old")
	old := s.touchFor("key", 2*time.Hour)
	absent := old
	absent.Key = "absent"
	if !s.untouched(absent, "touch of nothing") {
		return
	}
	s.empty("absent")
	untouched := func(doing string) {
		before := s.image("key")
		s.untouched(old, doing)
		s.untouched(driver.Touch{Key: "key", Revision: s.record("key").Revision, TTL: 2 * time.Hour}, doing)
		s.require(sameRecord(s.image("key"), before), "%s: the record is not what it was", doing)
	}
	s.set("key", "newer")
	before := s.image("key")
	s.untouched(old, "touch after a write")
	s.require(sameRecord(s.image("key"), before), "the newer record is not what it was")
	s.put(keeping("key"))
	untouched("touch after an invalidation that kept the value")
	s.put(write("key", tombstone()))
	untouched("touch after a delete")
	s.acquire("key")
	untouched("touch of a lease")
	s.put(write("key", driver.Record{Kind: driver.KindNotFound, Nonce: driver.NewNonce()}))
	untouched("touch of what is not found")
	s.put(write("key", watermark()))
	untouched("touch of a watermark")
}

func touchLate(s *scene) {
	s.put(live("key", time.Minute))
	t := s.touchFor("key", time.Hour)
	t.NotAfter = s.now().Add(-time.Second)
	before := s.record("key").Hard
	receipts, ok := s.touch(t)
	if !ok {
		return
	}
	s.fails(receipts[0].Err, driver.ErrTooLate, "touch after its deadline")
	s.require(sameEnd(s.record("key").Hard, before), "a late touch took effect")
	t.NotAfter = s.now().Add(time.Minute)
	s.touched(t)
	s.require(s.record("key").Hard > before+time.Minute.Milliseconds(), "a touch before its deadline took no effect")
}

func touchUnjournaled(s *scene) {
	s.put(live("key", time.Minute))
	at := s.ends()
	if s.touched(s.touchFor("key", time.Hour)) {
		s.tells(s.since(at))
	}
}

// touchRacesWrite requires that no touch takes the place of a write.
func touchRacesWrite(s *scene) {
	if _, ok := s.store.(driver.Toucher); !ok {
		return
	}
	for range 25 {
		s.set("key", "old")
		t := s.touchFor("key", 2*time.Hour)
		s.together(2, func(i int) error {
			if i == 0 {
				return s.try(write("key", value("written"))).Err
			}
			if receipts, _ := s.touch(t); !errors.Is(receipts[0].Err, driver.ErrNotFound) {
				return receipts[0].Err
			}
			return nil
		})
		s.holds("key", "written")
		left := time.UnixMilli(s.record("key").Hard).Sub(s.now())
		s.require(left < 90*time.Minute, "a value that was written for an hour lives for %v", left)
	}
}

func touchBatch(s *scene) {
	s.put(live("a", time.Minute))
	s.put(live("b", time.Minute))
	gone := driver.Touch{Key: "absent", Revision: driver.Revision{Epoch: 1, Number: 1}, TTL: time.Hour}
	late := s.touchFor("b", time.Hour)
	late.NotAfter = s.now().Add(-time.Second)
	receipts, ok := s.touch(s.touchFor("a", time.Hour), gone, late)
	if !ok {
		return
	}
	s.noError(receipts[0].Err, "touch")
	s.fails(receipts[1].Err, driver.ErrNotFound, "touch of nothing")
	s.fails(receipts[2].Err, driver.ErrTooLate, "touch after its deadline")
	s.require(s.record("a").Hard > s.record("b").Hard, "the touches of a batch took another effect than single ones")
	if receipts, _ := s.touch(); len(receipts) != 0 {
		s.require(false, "%d receipts for no touch", len(receipts))
	}
}
