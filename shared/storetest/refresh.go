package storetest

import (
	"bytes"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

func refreshCases() []testCase {
	return []testCase{
		{"fill replaces the record expected", anything, refreshReplaces},
		{"fill is refused where another record is than expected", anything, refreshRefused},
		{"fill that expects a record is repeated", anything, refreshRepeated},
		{"fill is refused after the expected expired", anything, refreshAfterExpiry},
		{"refresh races a write", anything, refreshRacesWrite},
		{"a stale value is kept", anything, staleKept},
		{"a stale value is kept again", anything, staleKeptAgain},
		{"a stale value keeps its expiry", anything, staleExpires},
		{"keeping without a value is a delete", anything, nothingToKeep},
		{"keeping is journaled", journal, keepingJournaled},
		{"a stale value may be leased", anything, staleLeased},
		{"not found lives like a value", anything, notFoundPresent},
	}
}

// refreshing returns a fill that replaces the record with this nonce.
func refreshing(key, v string, expect uint64) driver.Write {
	w := write(key, value(v))
	w.Expect = expect
	return w
}

// keeping returns a write that invalidates key and keeps its value.
func keeping(key string) driver.Write {
	w := write(key, tombstone())
	w.KeepStale = true
	return w
}

func refreshReplaces(s *scene) {
	s.set("key", "old")
	old := s.record("key")
	w := refreshing("key", "refreshed", old.Nonce)
	receipt := s.fill(w)
	s.holds("key", "refreshed")
	got := s.record("key")
	s.require(got.Nonce != old.Nonce, "the nonce is still that of the old record")
	s.require(got.Revision != old.Revision, "the revision is still that of the old record")
	s.require(receipt.Revision.Number == 0 || receipt.Revision == got.Revision, "the receipt tells another revision")

	s.put(keeping("kept")) // nothing there: a tombstone
	s.fill(refreshing("kept", "over a tombstone", s.record("kept").Nonce))
	s.holds("kept", "over a tombstone")
	s.put(keeping("kept"))
	s.fill(refreshing("kept", "over a stale value", s.record("kept").Nonce))
	s.holds("kept", "over a stale value")
}

// refreshRefused is the stale fill of a refresh: every write in between is
// newer than what was loaded.
func refreshRefused(s *scene) {
	refused := func(key string, expect uint64, doing string) {
		r := s.tryFill(refreshing(key, "stale", expect))
		s.fails(r.Err, driver.ErrLeaseLost, doing)
	}
	refused("absent", 1, "refresh of nothing")
	s.empty("absent")

	s.set("key", "old")
	expect := s.record("key").Nonce
	refused("key", expect+1, "refresh of another record")
	refused("key", expect^1<<63, "refresh of another record")
	s.set("key", "newer")
	refused("key", expect, "refresh after a write")
	s.holds("key", "newer")

	expect = s.record("key").Nonce
	s.put(keeping("key"))
	refused("key", expect, "refresh after an invalidation that kept the value")
	s.require(s.record("key").Kind == driver.KindStale, "the stale value was replaced")

	expect = s.record("key").Nonce
	s.put(write("key", tombstone()))
	refused("key", expect, "refresh after a delete")
	token := s.acquire("key")
	refused("key", expect, "refresh against a lease")
	s.fill(filling("key", value("loaded"), token))
	s.holds("key", "loaded")
}

func refreshRepeated(s *scene) {
	s.set("key", "old")
	w := refreshing("key", "refreshed", s.record("key").Nonce)
	again := w
	again.Image = bytes.Clone(w.Image)
	first := s.fill(w)
	stored := s.record("key").Revision
	second := s.fill(again)
	s.require(first.Revision == second.Revision && s.record("key").Revision == stored, "a repeated fill was stored again")
	s.set("key", "newer")
	r := s.tryFill(again)
	s.fails(r.Err, driver.ErrLeaseLost, "refresh after a write")
}

func refreshAfterExpiry(s *scene) {
	w := write("key", value("old"))
	w.TTL = 50 * time.Millisecond
	s.put(w)
	s.until(func() bool { return s.image("key") == nil }, "the end of a value")
	r := s.tryFill(refreshing("key", "stale", nonceOf(w.Image)))
	s.fails(r.Err, driver.ErrLeaseLost, "refresh of what expired")
	s.empty("key")
}

func nonceOf(image []byte) uint64 {
	r, _ := driver.DecodeHeader(image)
	return r.Nonce
}

// refreshRacesWrite requires that no refresh takes the place of a write that
// it did not expect.
func refreshRacesWrite(s *scene) {
	for range 25 {
		s.set("key", "old")
		expect := s.record("key").Nonce
		s.together(2, func(i int) error {
			if i == 0 {
				return s.try(write("key", value("written"))).Err
			}
			s.tryFill(refreshing("key", "refreshed", expect))
			return nil
		})
		s.holds("key", "written")
	}
}

func staleKept(s *scene) {
	old := value("value")
	old.Clock, old.Schema, old.TagClock, old.Slots = 12, 3, 4, []uint32{5, 6}
	old.NearTTL, old.Ahead = time.Second, time.Minute
	s.put(write("key", old))
	before := s.record("key")
	w := keeping("key")
	nonce := nonceOf(w.Image)
	receipt := s.put(w)
	got := s.record("key")
	s.require(got.Kind == driver.KindStale, "the record is of kind %d", got.Kind)
	s.require(got.Nonce == nonce, "the nonce is not that of the write")
	s.require(got.Revision != before.Revision, "the revision is still that of the value")
	s.require(receipt.Revision.Number == 0 || receipt.Revision == got.Revision, "the receipt tells another revision")
	s.require(string(got.Value) == "value" && got.Codec == 7 && got.Clock == 12 && got.Schema == 3 &&
		got.TagClock == 4 && len(got.Slots) == 2 && got.NearTTL == time.Second && got.Ahead == time.Minute, "the value is not what it was")
	s.require(sameEnd(got.Hard, before.Hard) && sameEnd(got.Soft, before.Soft), "the expiries are not what they were")
}

func staleKeptAgain(s *scene) {
	s.set("key", "value")
	s.put(keeping("key"))
	first := s.record("key")
	s.put(keeping("key"))
	got := s.record("key")
	s.require(got.Kind == driver.KindStale && string(got.Value) == "value", "the value is gone")
	s.require(got.Nonce != first.Nonce && got.Revision != first.Revision, "nonce or revision are those of the first time")
	s.set("key", "newer")
	s.holds("key", "newer")
	s.put(keeping("key"))
	s.put(write("key", tombstone()))
	s.require(s.record("key").Kind == driver.KindTombstone, "a delete left a stale value")
}

func staleExpires(s *scene) {
	const ttl = 1100 * time.Millisecond
	key := s.within(ttl, func(key string) error {
		w := write(key, value("value"))
		w.TTL = ttl
		s.put(w)
		s.put(keeping(key))
		return nil
	})
	s.until(func() bool { return s.image(key) == nil }, "the end of a stale value")

	s.put(write("long", value("value")))
	w := keeping("long")
	w.TTL = 50 * time.Millisecond // of the tombstone, if it came to that
	s.put(w)
	s.pass(2 * ttl)
	s.require(s.record("long").Kind == driver.KindStale, "the stale value ended before its time")
}

func nothingToKeep(s *scene) {
	leased := s.acquire("leased")
	s.put(write("deleted", tombstone()))
	s.put(write("not found", driver.Record{Kind: driver.KindNotFound, Nonce: driver.NewNonce()}))
	for _, key := range []string{"absent", "leased", "deleted", "not found"} {
		s.put(keeping(key))
		s.require(s.record(key).Kind == driver.KindTombstone, "%s: a record of kind %d is left", key, s.record(key).Kind)
	}
	s.stale("leased", leased)
}

func keepingJournaled(s *scene) {
	s.set("key", "value")
	at := s.ends()
	receipt := s.put(keeping("key"))
	s.fill(refreshing("key", "refreshed", s.record("key").Nonce))
	s.tells(s.since(at), driver.JournalEntry{Key: "key", Revision: receipt.Revision})
}

func staleLeased(s *scene) {
	s.set("key", "value")
	s.put(keeping("key"))
	token := s.acquire("key")
	s.fill(filling("key", value("loaded"), token))
	s.holds("key", "loaded")
}

func notFoundPresent(s *scene) {
	s.put(write("key", driver.Record{Kind: driver.KindNotFound, Nonce: driver.NewNonce()}))
	grant := s.asks(lease("key", 1), driver.LeasePresent)
	s.require(bytes.Equal(grant.Image, s.image("key")), "the image of the grant is not what is stored")
	l := lease("key", 1)
	l.MinClock = 1
	s.asks(l, driver.LeaseGranted)
}
