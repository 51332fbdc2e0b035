package storetest

import (
	"bytes"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

func fillCases() []testCase {
	return []testCase{
		{"fill replaces its lease", anything, fillReplacesLease},
		{"fill without a lease is refused", anything, fillWithoutLease},
		{"fill by another is refused", anything, fillByAnother},
		{"set ends a lease", anything, setEndsLease},
		{"delete ends a lease", anything, deleteEndsLease},
		{"fill after the tombstone expired is refused", anything, fillAfterTombstone},
		{"fill after the lease expired is refused", anything, fillAfterExpiry},
		{"fill after the lease went to another is refused", anything, fillAfterOther},
		{"a lease is filled once", anything, filledOnce},
		{"a lease may be given back", anything, givenBack},
		{"batch fill equals single fills", anything, batchFill},
		{"a fill is as old as its load", revisions, fillAsOldAsItsLoad},
		{"a fill is newer than what it replaced", revisions, fillAfterReplaced},
		{"a fill of an earlier epoch is refused", revisions, fillOfEarlierEpoch},
	}
}

// stale requires that the value loaded under this lease is refused.
func (s *scene) stale(key string, token uint64) {
	r := s.tryFill(filling(key, value("stale"), token))
	s.fails(r.Err, driver.ErrLeaseLost, "stale fill")
}

func fillReplacesLease(s *scene) {
	token := s.acquire("key")
	s.fill(filling("key", value("loaded"), token))
	s.holds("key", "loaded")
	s.asks(lease("key", driver.NewNonce()), driver.LeasePresent)
}

func fillWithoutLease(s *scene) {
	s.stale("missing", 1)
	s.empty("missing")
	s.set("key", "value")
	s.stale("key", 1)
	s.holds("key", "value")
}

func fillByAnother(s *scene) {
	token := s.acquire("key")
	s.stale("key", token+1)
	s.stale("key", token^1<<63)
	s.require(s.record("key").Nonce == token, "the lease is not there any more")
	s.fill(filling("key", value("loaded"), token))
	s.holds("key", "loaded")
}

// setEndsLease is the stale fill: what was loaded before a write must not
// replace it.
func setEndsLease(s *scene) {
	token := s.acquire("key")
	s.set("key", "newer")
	s.stale("key", token)
	s.holds("key", "newer")

	s.put(write("key", tombstone()))
	token = s.acquire("key")
	s.put(write("key", value("newer")))
	s.stale("key", token)
	s.holds("key", "newer")
}

func deleteEndsLease(s *scene) {
	token := s.acquire("key")
	s.put(write("key", tombstone()))
	s.stale("key", token)
	s.require(s.record("key").Kind == driver.KindTombstone, "the tombstone was replaced")
	s.acquire("key")
}

func fillAfterTombstone(s *scene) {
	token := s.acquire("key")
	w := write("key", tombstone())
	w.TTL = 50 * time.Millisecond
	s.put(w)
	s.until(func() bool { return s.image("key") == nil }, "the end of a tombstone")
	s.stale("key", token)
	s.empty("key")
}

func fillAfterExpiry(s *scene) {
	l := lease("key", 1)
	l.TTL = 50 * time.Millisecond
	s.asks(l, driver.LeaseGranted)
	s.until(func() bool { return s.image("key") == nil }, "the end of a lease")
	s.stale("key", 1)
	s.empty("key")
}

func fillAfterOther(s *scene) {
	l := lease("key", 1)
	l.TTL = 50 * time.Millisecond
	s.asks(l, driver.LeaseGranted)
	s.until(func() bool { return s.ask(lease("key", 2)).Status == driver.LeaseGranted }, "the end of a lease")
	s.stale("key", 1)
	s.fill(filling("key", value("loaded by the second"), 2))
	s.holds("key", "loaded by the second")
	s.stale("key", 1)
}

// filledOnce requires that a fill that is sent again is known as the same, and
// does nothing after another write.
func filledOnce(s *scene) {
	token := s.acquire("key")
	w := filling("key", value("loaded"), token)
	first := s.fill(w)
	stored := s.record("key").Revision
	again := s.fill(filling("key", value("loaded"), token))
	s.require(again.Revision == first.Revision && s.record("key").Revision == stored, "a repeated fill was stored again")
	s.set("key", "newer")
	s.stale("key", token)
	s.holds("key", "newer")
}

func givenBack(s *scene) {
	token := s.acquire("key")
	s.fill(filling("key", tombstone(), token))
	s.acquire("key")
}

// batchFill has every outcome in one call.
func batchFill(s *scene) {
	leased, back, overdue := s.acquire("leased"), s.acquire("back"), s.acquire("late")
	s.set("refreshed", "old")
	expect := s.record("refreshed").Nonce
	late := filling("late", value("late"), overdue)
	late.NotAfter = s.now().Add(-time.Minute)
	again := filling("again", value("again"), s.acquire("again"))
	repeated := again
	repeated.Image = bytes.Clone(again.Image)
	first := s.fill(again)
	writes := []driver.Write{
		filling("missing", value("missing"), 1), filling("leased", value("filled"), leased), late,
		refreshing("refreshed", "new", expect), filling("back", tombstone(), back), repeated,
	}
	receipts := s.store.Fill(s.ctx, writes)
	s.require(len(receipts) == len(writes), "%d receipts for %d fills", len(receipts), len(writes))
	for i, r := range receipts {
		if want := map[int]error{0: driver.ErrLeaseLost, 2: driver.ErrTooLate}[i]; want != nil {
			s.fails(r.Err, want, "fill of "+writes[i].Key)
		} else {
			s.noError(r.Err, "fill of "+writes[i].Key)
		}
	}
	s.require(receipts[5].Revision == first.Revision, "the repeated fill was given another revision")
	s.empty("missing")
	s.holds("leased", "filled")
	s.holds("refreshed", "new")
	s.require(s.record("late").Nonce == overdue, "the lease of a late fill is not there any more")
	s.require(s.record("back").Kind == driver.KindTombstone, "a lease that was given back is there still")
}

// fillAsOldAsItsLoad requires that the revision of a fill tells when its load was
// permitted: below that of a write which came while it was loaded.
func fillAsOldAsItsLoad(s *scene) {
	s.put(write("key", tombstone())) // there is an epoch
	token := driver.NewNonce()
	grant := s.asks(lease("key", token), driver.LeaseGranted)
	s.require(grant.Revision.Number > 0, "a lease was granted without a revision")
	before := s.set("before", "value").Revision
	s.until(func() bool { return uint64(s.now().UnixMicro()) > before.Number+1 }, "the clock of the server to go on")
	w := filling("key", value("loaded"), token)
	w.Born = grant.Revision
	r := s.fill(w).Revision
	s.require(r == grant.Revision, "the fill has revision %v, its lease had %v", r, grant.Revision)
	s.require(s.record("key").Revision == r, "the revision of the record is not that of the receipt")
	s.later(r, s.set("key", "newer").Revision, "a write after the fill")
	s.later(before, s.set("before", "newer").Revision, "a write of another key after the fill")
}

// fillAfterReplaced requires that a fill is above the record that it replaced,
// whatever its lease was told.
func fillAfterReplaced(s *scene) {
	old := s.set("key", "value")
	w := live("key", time.Minute)
	w.Image, w.Expect, w.Born = image(value("refreshed")), s.record("key").Nonce, driver.Revision{Epoch: old.Revision.Epoch, Number: 1}
	refreshed := s.later(old.Revision, s.fill(w).Revision, "a refresh")
	s.later(refreshed, s.set("key", "newer").Revision, "a write after a refresh")
}

// fillOfEarlierEpoch requires that a lease which was granted before the store may have
// lost writes is of no use.
func fillOfEarlierEpoch(s *scene) {
	s.put(write("key", tombstone())) // there is an epoch
	token := driver.NewNonce()
	grant := s.asks(lease("key", token), driver.LeaseGranted)
	w := filling("key", value("loaded"), token)
	w.Born = grant.Revision
	w.Born.Epoch--
	s.fails(s.tryFill(w).Err, driver.ErrLeaseLost, "a fill of an earlier epoch")
	s.require(s.record("key").Nonce == token, "the lease is not there any more")
	w.Born = grant.Revision
	s.fill(w)
}
