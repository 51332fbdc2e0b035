package storetest

import (
	"bytes"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

const (
	day = 24 * time.Hour

	// slack is by how much a stamp may be off: clocks have a granularity, and
	// the servers of a cluster have a clock each.
	slack = 20 * time.Millisecond
)

// sameEnd reports whether two expiries are one that was read twice. A store of several servers
// tells those of each by what it knows of its clock, which it knows better later.
func sameEnd(a, b int64) bool {
	return (a == 0) == (b == 0) && max(a-b, b-a) <= slack.Milliseconds()
}

// sameRecord reports the same of two images.
func sameRecord(a, b []byte) bool {
	first, errFirst := driver.DecodeRecord(a)
	second, errSecond := driver.DecodeRecord(b)
	if errFirst != nil || errSecond != nil || !sameEnd(first.Hard, second.Hard) || !sameEnd(first.Soft, second.Soft) {
		return false
	}
	first.Hard, first.Soft = second.Hard, second.Soft
	return bytes.Equal(first.Append(nil), second.Append(nil))
}

func expiryCases() []testCase {
	return []testCase{
		{"TTL zero is no expiry", anything, ttlZero},
		{"TTL below a second", anything, ttlShort},
		{"TTL of more than 30 days", anything, ttlLong},
		{"expiries are stamped by the server's clock", anything, expiriesStamped},
		{"a value expires", anything, valueExpires},
		{"a value does not expire too early", anything, notTooEarly},
		{"a new TTL replaces the old one", anything, ttlReplaced},
		{"time goes on", anything, timeGoesOn},
	}
}

// live writes a value that lives for ttl.
func live(key string, ttl time.Duration) driver.Write {
	w := write(key, value("value"))
	w.TTL = ttl
	return w
}

func ttlZero(s *scene) {
	s.put(live("key", 0))
	r := s.record("key")
	s.require(r.Hard == 0 && r.Soft == 0, "expiries %d and %d", r.Soft, r.Hard)
	s.pass(1100 * time.Millisecond)
	s.holds("key", "value")
}

// ttlShort requires that a short TTL is not rounded to nothing or to ever.
func ttlShort(s *scene) {
	for _, ttl := range []time.Duration{time.Millisecond, 80 * time.Millisecond, 999 * time.Millisecond} {
		key := "lives " + ttl.String()
		s.put(live(key, ttl))
		s.until(func() bool { return s.image(key) == nil }, "the end of a value that %s", key)
	}
	s.require(s.put(live("tiny", time.Microsecond)).Err == nil, "TTL of a microsecond")
	s.until(func() bool { return s.image("tiny") == nil }, "the end of a value with a TTL of a microsecond")
}

func ttlLong(s *scene) {
	for _, ttl := range []time.Duration{30*day - time.Second, 30 * day, 30*day + time.Second, 40 * day, 365 * day, 20 * 365 * day} {
		key := "lives " + ttl.String()
		s.stamped(live(key, ttl))
	}
	s.pass(1100 * time.Millisecond)
	for _, ttl := range []time.Duration{30*day - time.Second, 30 * day, 30*day + time.Second, 40 * day, 365 * day, 20 * 365 * day} {
		s.holds("lives "+ttl.String(), "value")
	}
}

// stamped writes w and requires that its expiries are its TTLs after the time
// of the write.
func (s *scene) stamped(w driver.Write) {
	before := s.now()
	s.put(w)
	after := s.now()
	r := s.record(w.Key)
	for _, e := range []struct {
		name  string
		ttl   time.Duration
		stamp int64
	}{{"soft", w.Soft, r.Soft}, {"hard", w.TTL, r.Hard}} {
		if e.ttl == 0 {
			s.require(e.stamp == 0, "%s expiry %d, though there is none", e.name, e.stamp)
			continue
		}
		at := time.UnixMilli(e.stamp)
		s.require(!at.Before(before.Add(e.ttl-slack)) && !at.After(after.Add(e.ttl+slack)),
			"%s expiry is %v after the write, not %v", e.name, at.Sub(before), e.ttl)
	}
}

func expiriesStamped(s *scene) {
	w := live("both", time.Hour)
	w.Soft = time.Minute
	s.stamped(w)
	s.stamped(live("hard", 90_500*time.Millisecond))
	w = live("soft", 0)
	w.Soft = 1500 * time.Millisecond
	s.stamped(w)

	before := s.now()
	l := lease("lease", 1)
	l.TTL = 7 * time.Second
	s.asks(l, driver.LeaseGranted)
	at := time.UnixMilli(s.record("lease").Hard)
	s.require(!at.Before(before.Add(l.TTL-slack)) && !at.After(s.now().Add(l.TTL+slack)),
		"a lease of %v ends %v after it was granted", l.TTL, at.Sub(before))
}

// expired reports whether key holds nothing, and requires that it does not hold
// what had expired before it was asked for.
func (s *scene) expired(key string) bool {
	now := s.now()
	image := s.image(key)
	if image == nil {
		return true
	}
	r, err := driver.DecodeRecord(image)
	s.noError(err, "decode")
	past := now.Sub(time.UnixMilli(r.Hard))
	s.require(past < slack, "%q is there %v after it expired", key, past)
	return false
}

func valueExpires(s *scene) {
	for _, kind := range []driver.Record{value("value"), tombstone()} {
		key := fmt.Sprintf("kind %d", kind.Kind)
		w := write(key, kind)
		w.TTL = 300 * time.Millisecond
		start := time.Now()
		s.put(w)
		s.until(func() bool { return s.expired(key) }, "expiry")
		s.require(time.Since(start) > w.TTL-slack, "%q expired after %v", key, time.Since(start))
		images, err := s.store.Read(s.ctx, []string{key, key})
		s.noError(err, "read")
		s.require(images[0] == nil && images[1] == nil, "%q expired for a single read only", key)
		s.asks(lease(key, driver.NewNonce()), driver.LeaseGranted)
	}
}

func notTooEarly(s *scene) {
	const ttl = 1900 * time.Millisecond
	s.within(ttl, func(key string) error {
		s.put(live(key, ttl))
		s.pass(1200 * time.Millisecond)
		if s.image(key) == nil {
			return fmt.Errorf("a value with a TTL of %v is gone", ttl)
		}
		return nil
	})
}

func ttlReplaced(s *scene) {
	s.put(live("longer", 50*time.Millisecond))
	s.put(live("longer", time.Hour))
	s.put(live("for ever", 50*time.Millisecond))
	s.put(live("for ever", 0))
	s.put(live("shorter", time.Hour))
	s.put(live("shorter", 50*time.Millisecond))
	s.until(func() bool { return s.image("shorter") == nil }, "the new, shorter TTL")
	s.pass(100 * time.Millisecond)
	s.holds("longer", "value")
	s.holds("for ever", "value")
}

func timeGoesOn(s *scene) {
	first := s.now()
	s.pass(50 * time.Millisecond)
	r := s.set("key", "value")
	if !r.Now.IsZero() {
		s.require(r.Now.After(first) && !r.Now.After(s.now().Add(slack)), "a write at %v, after %v", r.Now, first)
	}
	grant := s.asks(lease("key", 1), driver.LeasePresent)
	if !grant.Now.IsZero() {
		s.require(grant.Now.After(first) && !grant.Now.After(s.now().Add(slack)), "a lease at %v, after %v", grant.Now, first)
	}
	passed := s.now().Sub(first)
	s.require(passed > 50*time.Millisecond-slack, "the clock went on by %v in 50 ms", passed)
}
