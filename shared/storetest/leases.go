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
		grant := s.tryAcquire(l)
		if grant.Err == nil && grant.Status != shared.LeaseGranted {
			return fmt.Errorf("renewal: the status is %d", grant.Status)
		}
		return grant.Err
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
		err := s.tryAcquire(l).Err
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

// tellsReplaced requires that a grant has the header of what was there.
func tellsReplaced(s *scene) {
	replaced := func(l shared.Lease) shared.Record {
		grant := s.asks(l, shared.LeaseGranted)
		r, _ := shared.DecodeHeader(grant.Image)
		return r
	}
	s.require(replaced(lease("nothing", 1)).Kind == 0, "a lease replaced nothing, and tells of a record")

	for name, w := range map[string]shared.Write{"deleted": write("deleted", tombstone()), "kept": keeping("kept")} {
		s.set(name, "value")
		s.put(w)
		there := s.record(name)
		got := replaced(lease(name, 1))
		s.require(got.Kind == there.Kind && got.Nonce == there.Nonce && got.Revision == there.Revision,
			"a lease replaced %+v, and tells of %+v", there, got)
	}
	s.set("discarded", "value")
	l := lease("discarded", 1)
	l.Discard = s.image("discarded")[:shared.HeaderSize]
	s.require(replaced(l).Kind == shared.KindValue, "a lease does not tell that it replaced a value")
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
	s.fails(s.tryFill(filling("key", value("old"), 1)).Err, shared.ErrLeaseLost, "fill by the older")
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

// batchAcquire has every outcome in one call.
func batchAcquire(s *scene) {
	held, renewed := s.acquire("held"), s.acquire("renewed")
	s.set("present", "value")
	late := lease("late", 1)
	late.NotAfter = s.now().Add(-time.Minute)
	again, lost := lease("renewed", renewed), lease("lost", 1)
	again.Renew, lost.Renew = true, true
	leases := []shared.Lease{
		lease("free", 1), lease("held", held+1), late, lease("present", 1), again, lost, lease("free too", 2),
	}
	grants := s.store.Acquire(s.ctx, leases)
	s.require(len(grants) == len(leases), "%d grants for %d leases", len(grants), len(leases))
	for i, want := range []shared.GrantStatus{
		shared.LeaseGranted, shared.LeaseHeld, 0, shared.LeasePresent, shared.LeaseGranted, 0, shared.LeaseGranted,
	} {
		if want == 0 {
			s.fails(grants[i].Err, map[string]error{"late": shared.ErrTooLate, "lost": shared.ErrLeaseLost}[leases[i].Key], leases[i].Key)
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
		s.require(r.Kind == shared.KindLease && r.Nonce == token, "%s: kind %d, nonce %x", key, r.Kind, r.Nonce)
	}
}

// thousandLeases takes as many leases as a batch may have, and fills them.
func thousandLeases(s *scene) {
	const theirs = 500 // is another's
	keys := make([]string, 1000)
	leases, writes := make([]shared.Lease, len(keys)), make([]shared.Write, len(keys))
	for i := range keys {
		keys[i] = fmt.Sprintf("key %d", i)
		leases[i] = lease(keys[i], uint64(i+1))
		writes[i] = filling(keys[i], value("value of "+keys[i]), uint64(i+1))
	}
	held := s.acquire(keys[theirs])
	for i, grant := range s.store.Acquire(s.ctx, leases) {
		s.noError(grant.Err, "acquire")
		s.require((grant.Status == shared.LeaseGranted) == (i != theirs), "%d: the status is %d", i, grant.Status)
	}
	receipts := s.store.Fill(s.ctx, writes)
	s.require(len(receipts) == len(writes), "%d receipts for %d fills", len(receipts), len(writes))
	images, err := s.store.Read(s.ctx, keys)
	s.noError(err, "read")
	for i, r := range receipts {
		got, err := shared.DecodeRecord(images[i])
		s.noError(err, "decode")
		if i == theirs {
			s.fails(r.Err, shared.ErrLeaseLost, "fill by another")
			s.require(got.Nonce == held, "the lease of another is not there any more")
			continue
		}
		s.noError(r.Err, "fill")
		s.require(string(got.Value) == "value of "+keys[i], "%q holds %q", keys[i], got.Value)
		s.require(s.harness.NoRevisions || got.Revision == r.Revision, "%q has the receipt of another", keys[i])
	}
}
