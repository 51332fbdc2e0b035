package storetest

import (
	"bytes"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
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
		{"a lease tells what it replaced", anything, tellsReplaced},
		{"a lease carries on when its key was deleted", revisions, carriesOn},
		{"a watermark is never leased", anything, watermarkPresent},
		{"a value of an old clock counts as absent", anything, oldClockValue},
		{"a lease of an old clock counts as absent", anything, oldClockLease},
		{"what is discarded counts as absent", anything, discarded},
		{"what came after the discarded stays", anything, discardedOther},
		{"batch of leases equals single ones", anything, batchAcquire},
		{"a thousand leases at once", anything, thousandLeases},
	}
}

func oneHolder(s *scene) {
	token := s.acquire("key")
	for range 3 {
		grant := s.asks(lease("key", driver.NewNonce()), driver.LeaseHeld)
		s.require(grant.Image == nil, "an image where there is no value")
	}
	s.acquire("another key")
	s.fill(filling("key", value("value"), token))
}

func leaseIsNoValue(s *scene) {
	token := driver.NewNonce()
	l := lease("key", token)
	r := driver.Record{Kind: driver.KindLease, Nonce: token, Clock: 12}
	l.Image, l.MinClock = r.Append(nil), 12
	s.asks(l, driver.LeaseGranted)
	got := s.record("key")
	s.require(got.Kind == driver.KindLease && got.Nonce == token && got.Clock == 12,
		"kind %d, nonce %x, clock %d", got.Kind, got.Nonce, got.Clock)
}

func holderAsksAgain(s *scene) {
	token := s.acquire("key")
	s.asks(lease("key", token), driver.LeaseGranted)
	s.asks(lease("key", driver.NewNonce()), driver.LeaseHeld)
	s.fill(filling("key", value("value"), token))
}

// holderRenews requires that a renewed lease is there after its first TTL, as a
// record and as an obstacle for others.
func holderRenews(s *scene) {
	const ttl = 1100 * time.Millisecond
	token := driver.NewNonce()
	key := s.within(ttl, func(key string) error {
		l := lease(key, token)
		l.TTL = ttl
		s.asks(l, driver.LeaseGranted)
		l.TTL, l.Renew = time.Hour, true
		grant := s.tryAcquire(l)
		if grant.Err == nil && grant.Status != driver.LeaseGranted {
			return fmt.Errorf("renewal: the status is %d", grant.Status)
		}
		return grant.Err
	})
	s.pass(2 * ttl)
	s.asks(lease(key, driver.NewNonce()), driver.LeaseHeld)
	s.require(s.record(key).Kind == driver.KindLease, "no lease is left")
	s.fill(filling(key, value("value"), token))
}

// renewBringsNothingBack requires that only the lease that stands is renewed:
// what ended it is newer than the load that it stands for.
func renewBringsNothingBack(s *scene) {
	renew := func(key string, token uint64) {
		l := lease(key, token)
		l.Renew = true
		err := s.tryAcquire(l).Err
		s.fails(err, driver.ErrLeaseLost, "renewal of "+key)
	}
	renew("never leased", 1)
	s.empty("never leased")

	token := s.acquire("deleted")
	s.put(write("deleted", tombstone()))
	renew("deleted", token)
	s.require(s.record("deleted").Kind == driver.KindTombstone, "a renewal replaced a tombstone")

	token = s.acquire("written")
	s.set("written", "newer")
	renew("written", token)
	s.holds("written", "newer")

	token = s.acquire("filled")
	s.fill(filling("filled", value("value"), token))
	renew("filled", token)
	s.holds("filled", "value")

	other := s.acquire("another's")
	renew("another's", driver.NewNonce())
	s.fill(filling("another's", value("value"), other))

	l := lease("expired", 2)
	l.TTL = 50 * time.Millisecond
	s.asks(l, driver.LeaseGranted)
	s.until(func() bool { return s.image("expired") == nil }, "the end of a lease")
	renew("expired", 2)
	s.empty("expired")
}

func leaseExpires(s *scene) {
	const ttl = 300 * time.Millisecond
	l := lease("key", 1)
	l.TTL = ttl
	start := time.Now()
	s.asks(l, driver.LeaseGranted)
	s.until(func() bool { return s.ask(lease("key", 2)).Status == driver.LeaseGranted }, "the end of a lease")
	s.require(time.Since(start) > ttl-slack, "a lease of %v ended after %v", ttl, time.Since(start))
	s.asks(lease("key", 3), driver.LeaseHeld)
}

func valuePresent(s *scene) {
	s.set("key", "value")
	grant := s.asks(lease("key", 1), driver.LeasePresent)
	s.require(bytes.Equal(grant.Image, s.image("key")), "the image of the grant is not what is stored")
	s.holds("key", "value")
}

func tombstoneLeased(s *scene) {
	s.put(write("key", tombstone()))
	token := s.acquire("key")
	s.asks(lease("key", driver.NewNonce()), driver.LeaseHeld)
	s.fill(filling("key", value("value"), token))
	s.holds("key", "value")
}

// tellsReplaced requires that a grant has the header of what was there.
func tellsReplaced(s *scene) {
	replaced := func(l driver.Lease) driver.Record {
		grant := s.asks(l, driver.LeaseGranted)
		r, _ := driver.DecodeHeader(grant.Image)
		return r
	}
	s.require(replaced(lease("nothing", 1)).Kind == 0, "a lease replaced nothing, and tells of a record")

	for name, w := range map[string]driver.Write{"deleted": write("deleted", tombstone()), "kept": keeping("kept")} {
		s.set(name, "value")
		s.put(w)
		there := s.record(name)
		got := replaced(lease(name, 1))
		s.require(got.Kind == there.Kind && got.Nonce == there.Nonce && got.Revision == there.Revision,
			"a lease replaced %+v, and tells of %+v", there, got)
	}
	s.set("discarded", "value")
	l := lease("discarded", 1)
	l.Discard = s.image("discarded")[:driver.HeaderSize]
	s.require(replaced(l).Kind == driver.KindValue, "a lease does not tell that it replaced a value")
}

// carriesOn requires that the revision of a tombstone can be told from the lease that
// replaced it, and from what gives the lease back: it says when the key was deleted.
func carriesOn(s *scene) {
	s.put(write("key", tombstone()))
	deleted := s.record("key").Revision
	for range 2 {
		token := s.acquire("key")
		carried := s.record("key").Revision
		s.require(carried.Number-deleted.Number <= 1, "a lease has revision %v, what it replaced had %v", carried, deleted)
		s.until(func() bool { return uint64(s.now().UnixMicro()) > carried.Number+10 }, "the clock of the server to go on")
		back := filling("key", tombstone(), token)
		back.Born.Number = max(1, carried.Number)
		s.fill(back)
		deleted = s.record("key").Revision
		s.require(deleted.Number-carried.Number == 1, "what gave the lease back has revision %v, the lease had %v", deleted, carried)
	}
}

func watermarkPresent(s *scene) {
	s.put(write("clock", watermark()))
	l := lease("clock", 1)
	l.MinClock = 100
	grant := s.asks(l, driver.LeasePresent)
	s.require(bytes.Equal(grant.Image, s.image("clock")), "the image of the grant is not what is stored")
}

// clock is as large as the numbers of watermarks are.
const clock = 1_900_000_000_000_001

func oldClockValue(s *scene) {
	for _, kind := range []driver.Record{value("value"), tombstone()} {
		key := fmt.Sprintf("kind %d", kind.Kind)
		kind.Clock = clock
		s.put(write(key, kind))
		if kind.Kind == driver.KindValue {
			l := lease(key, 1)
			l.MinClock = clock
			s.asks(l, driver.LeasePresent)
		}
		l := lease(key, 2)
		l.MinClock = clock + 1
		s.asks(l, driver.LeaseGranted)
		s.fill(filling(key, value("new"), 2))
		s.holds(key, "new")
	}
}

func oldClockLease(s *scene) {
	l := lease("key", 1)
	r := driver.Record{Kind: driver.KindLease, Nonce: 1, Clock: clock}
	l.Image, l.MinClock = r.Append(nil), clock
	s.asks(l, driver.LeaseGranted)
	l = lease("key", 2)
	l.MinClock = clock
	s.asks(l, driver.LeaseHeld)
	l.MinClock = clock + 1
	s.asks(l, driver.LeaseGranted)
	s.fails(s.tryFill(filling("key", value("old"), 1)).Err, driver.ErrLeaseLost, "fill by the older")
	s.fill(filling("key", value("new"), 2))
}

func discarded(s *scene) {
	for _, size := range []int{driver.HeaderSize, driver.NonceOffset} {
		key := fmt.Sprintf("%d bytes", size)
		s.set(key, "cannot be decoded by its reader")
		l := lease(key, 1)
		l.Discard = s.image(key)[:size]
		s.asks(l, driver.LeaseGranted)
		s.fill(filling(key, value("good"), 1))
		s.holds(key, "good")
	}
}

func discardedOther(s *scene) {
	s.set("key", "bad")
	discard := s.image("key")[:driver.HeaderSize]
	s.set("key", "good")
	l := lease("key", 1)
	l.Discard = discard
	s.asks(l, driver.LeasePresent)
	s.holds("key", "good")

	holder := s.acquire("leased")
	l = lease("leased", driver.NewNonce())
	l.Discard = discard
	s.asks(l, driver.LeaseHeld)
	s.fill(filling("leased", value("value"), holder))
}

// batchAcquire has every outcome in one call.
func batchAcquire(s *scene) {
	held, renewed := s.acquire("held"), s.acquire("renewed")
	s.set("present", "value")
	late := lease("late", 1)
	late.NotAfter = s.now().Add(-time.Minute)
	again, lost := lease("renewed", renewed), lease("lost", 1)
	again.Renew, lost.Renew = true, true
	leases := []driver.Lease{
		lease("free", 1), lease("held", held+1), late, lease("present", 1), again, lost, lease("free too", 2),
	}
	grants := s.store.Acquire(s.ctx, leases)
	s.require(len(grants) == len(leases), "%d grants for %d leases", len(grants), len(leases))
	for i, want := range []driver.GrantStatus{
		driver.LeaseGranted, driver.LeaseHeld, 0, driver.LeasePresent, driver.LeaseGranted, 0, driver.LeaseGranted,
	} {
		if want == 0 {
			s.fails(grants[i].Err, map[string]error{"late": driver.ErrTooLate, "lost": driver.ErrLeaseLost}[leases[i].Key], leases[i].Key)
			continue
		}
		s.noError(grants[i].Err, "acquire "+leases[i].Key)
		s.require(grants[i].Status == want, "%s: the status is %d, not %d", leases[i].Key, grants[i].Status, want)
	}
	s.require(bytes.Equal(grants[3].Image, s.image("present")), "the image of the grant is not what is stored")
	s.empty("late")
	s.empty("lost")
	for key, token := range map[string]uint64{"free": 1, "free too": 2, "held": held, "renewed": renewed} {
		r := s.record(key)
		s.require(r.Kind == driver.KindLease && r.Nonce == token, "%s: kind %d, nonce %x", key, r.Kind, r.Nonce)
	}
}

// thousandLeases takes as many leases as a batch may have, and fills them.
func thousandLeases(s *scene) {
	const theirs = 500 // is another's
	keys := make([]string, 1000)
	leases, writes := make([]driver.Lease, len(keys)), make([]driver.Write, len(keys))
	for i := range keys {
		keys[i] = fmt.Sprintf("key %d", i)
		leases[i] = lease(keys[i], uint64(i+1))
		writes[i] = filling(keys[i], value("value of "+keys[i]), uint64(i+1))
	}
	held := s.acquire(keys[theirs])
	for i, grant := range s.store.Acquire(s.ctx, leases) {
		s.noError(grant.Err, "acquire")
		s.require((grant.Status == driver.LeaseGranted) == (i != theirs), "%d: the status is %d", i, grant.Status)
	}
	receipts := s.store.Fill(s.ctx, writes)
	s.require(len(receipts) == len(writes), "%d receipts for %d fills", len(receipts), len(writes))
	images, err := s.store.Read(s.ctx, keys)
	s.noError(err, "read")
	for i, r := range receipts {
		got, err := driver.DecodeRecord(images[i])
		s.noError(err, "decode")
		if i == theirs {
			s.fails(r.Err, driver.ErrLeaseLost, "fill by another")
			s.require(got.Nonce == held, "the lease of another is not there any more")
			continue
		}
		s.noError(r.Err, "fill")
		s.require(string(got.Value) == "value of "+keys[i], "%q holds %q", keys[i], got.Value)
		s.require(s.harness.NoRevisions || got.Revision == r.Revision, "%q has the receipt of another", keys[i])
	}
}
