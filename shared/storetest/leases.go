package storetest

import (
	"bytes"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/shared"
)

func leaseCases() []testCase {
	return []testCase{
		{"one holder of a lease", anything, oneHolder},
		{"a lease reads as no value", anything, leaseIsNoValue},
		{"holder may ask again", anything, holderAsksAgain},
		{"holder renews", anything, holderRenews},
		{"renewal brings no lease back", anything, renewBringsNothingBack},
		{"a lease ends by itself", anything, leaseExpires},
		{"a live value is no lease", anything, valuePresent},
		{"a tombstone may be leased", anything, tombstoneLeased},
		{"a watermark is never leased", anything, watermarkPresent},
		{"a value of an old clock counts as absent", anything, oldClockValue},
		{"a lease of an old clock counts as absent", anything, oldClockLease},
		{"what is discarded counts as absent", anything, discarded},
		{"what came after the discarded stays", anything, discardedOther},
	}
}

func oneHolder(s *scene) {
	token := s.acquire("key")
	for range 3 {
		grant := s.asks(lease("key", shared.NewNonce()), shared.LeaseHeld)
		s.require(grant.Image == nil, "an image where there is no value")
	}
	s.acquire("another key")
	s.fill(filling("key", value("value"), token))
}

func leaseIsNoValue(s *scene) {
	token := shared.NewNonce()
	l := lease("key", token)
	r := shared.Record{Kind: shared.KindLease, Nonce: token, Clock: 12}
	l.Image, l.MinClock = r.Append(nil), 12
	s.asks(l, shared.LeaseGranted)
	got := s.record("key")
	s.require(got.Kind == shared.KindLease && got.Nonce == token && got.Clock == 12,
		"kind %d, nonce %x, clock %d", got.Kind, got.Nonce, got.Clock)
}

func holderAsksAgain(s *scene) {
	token := s.acquire("key")
	s.asks(lease("key", token), shared.LeaseGranted)
	s.asks(lease("key", shared.NewNonce()), shared.LeaseHeld)
	s.fill(filling("key", value("value"), token))
}

// holderRenews requires that a renewed lease is there after its first TTL, as a
// record and as an obstacle for others.
func holderRenews(s *scene) {
	const ttl = 1100 * time.Millisecond
	token := shared.NewNonce()
	key := s.within(ttl, func(key string) error {
		l := lease(key, token)
		l.TTL = ttl
		s.asks(l, shared.LeaseGranted)
		l.TTL, l.Renew = time.Hour, true
		grant, err := s.store.Acquire(s.ctx, l)
		if err == nil && grant.Status != shared.LeaseGranted {
			return fmt.Errorf("renewal: the status is %d", grant.Status)
		}
		return err
	})
	s.pass(2 * ttl)
	s.asks(lease(key, shared.NewNonce()), shared.LeaseHeld)
	s.require(s.record(key).Kind == shared.KindLease, "no lease is left")
	s.fill(filling(key, value("value"), token))
}

// renewBringsNothingBack requires that only the lease that stands is renewed:
// what ended it is newer than the load that it stands for.
func renewBringsNothingBack(s *scene) {
	renew := func(key string, token uint64) {
		l := lease(key, token)
		l.Renew = true
		_, err := s.store.Acquire(s.ctx, l)
		s.fails(err, shared.ErrLeaseLost, "renewal of "+key)
	}
	renew("never leased", 1)
	s.empty("never leased")

	token := s.acquire("deleted")
	s.put(write("deleted", tombstone()))
	renew("deleted", token)
	s.require(s.record("deleted").Kind == shared.KindTombstone, "a renewal replaced a tombstone")

	token = s.acquire("written")
	s.set("written", "newer")
	renew("written", token)
	s.holds("written", "newer")

	token = s.acquire("filled")
	s.fill(filling("filled", value("value"), token))
	renew("filled", token)
	s.holds("filled", "value")

	other := s.acquire("another's")
	renew("another's", shared.NewNonce())
	s.fill(filling("another's", value("value"), other))

	l := lease("expired", 2)
	l.TTL = 50 * time.Millisecond
	s.asks(l, shared.LeaseGranted)
	s.until(func() bool { return s.image("expired") == nil }, "the end of a lease")
	renew("expired", 2)
	s.empty("expired")
}

func leaseExpires(s *scene) {
	const ttl = 300 * time.Millisecond
	l := lease("key", 1)
	l.TTL = ttl
	start := time.Now()
	s.asks(l, shared.LeaseGranted)
	s.until(func() bool { return s.ask(lease("key", 2)).Status == shared.LeaseGranted }, "the end of a lease")
	s.require(time.Since(start) > ttl-slack, "a lease of %v ended after %v", ttl, time.Since(start))
	s.asks(lease("key", 3), shared.LeaseHeld)
}

func valuePresent(s *scene) {
	s.set("key", "value")
	grant := s.asks(lease("key", 1), shared.LeasePresent)
	s.require(bytes.Equal(grant.Image, s.image("key")), "the image of the grant is not what is stored")
	s.holds("key", "value")
}

func tombstoneLeased(s *scene) {
	s.put(write("key", tombstone()))
	token := s.acquire("key")
	s.asks(lease("key", shared.NewNonce()), shared.LeaseHeld)
	s.fill(filling("key", value("value"), token))
	s.holds("key", "value")
}

func watermarkPresent(s *scene) {
	s.put(write("clock", watermark()))
	l := lease("clock", 1)
	l.MinClock = 100
	grant := s.asks(l, shared.LeasePresent)
	s.require(bytes.Equal(grant.Image, s.image("clock")), "the image of the grant is not what is stored")
}

// clock is as large as the numbers of watermarks are.
const clock = 1_900_000_000_000_001

func oldClockValue(s *scene) {
	for _, kind := range []shared.Record{value("value"), tombstone()} {
		key := fmt.Sprintf("kind %d", kind.Kind)
		kind.Clock = clock
		s.put(write(key, kind))
		if kind.Kind == shared.KindValue {
			l := lease(key, 1)
			l.MinClock = clock
			s.asks(l, shared.LeasePresent)
		}
		l := lease(key, 2)
		l.MinClock = clock + 1
		s.asks(l, shared.LeaseGranted)
		s.fill(filling(key, value("new"), 2))
		s.holds(key, "new")
	}
}

func oldClockLease(s *scene) {
	l := lease("key", 1)
	r := shared.Record{Kind: shared.KindLease, Nonce: 1, Clock: clock}
	l.Image, l.MinClock = r.Append(nil), clock
	s.asks(l, shared.LeaseGranted)
	l = lease("key", 2)
	l.MinClock = clock
	s.asks(l, shared.LeaseHeld)
	l.MinClock = clock + 1
	s.asks(l, shared.LeaseGranted)
	s.fails(s.store.Fill(s.ctx, filling("key", value("old"), 1)).Err, shared.ErrLeaseLost, "fill by the older")
	s.fill(filling("key", value("new"), 2))
}

func discarded(s *scene) {
	for _, size := range []int{shared.HeaderSize, shared.NonceOffset} {
		key := fmt.Sprintf("%d bytes", size)
		s.set(key, "cannot be decoded by its reader")
		l := lease(key, 1)
		l.Discard = s.image(key)[:size]
		s.asks(l, shared.LeaseGranted)
		s.fill(filling(key, value("good"), 1))
		s.holds(key, "good")
	}
}

func discardedOther(s *scene) {
	s.set("key", "bad")
	discard := s.image("key")[:shared.HeaderSize]
	s.set("key", "good")
	l := lease("key", 1)
	l.Discard = discard
	s.asks(l, shared.LeasePresent)
	s.holds("key", "good")

	holder := s.acquire("leased")
	l = lease("leased", shared.NewNonce())
	l.Discard = discard
	s.asks(l, shared.LeaseHeld)
	s.fill(filling("leased", value("value"), holder))
}
