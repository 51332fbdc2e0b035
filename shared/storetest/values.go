package storetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// largest is the size of the largest image that the suite writes.
const largest = 2 << 20

func valueCases() []testCase {
	return []testCase{
		{"set and read", anything, setAndRead},
		{"missing key", anything, func(s *scene) { s.empty("missing") }},
		{"overwrite", anything, overwrite},
		{"record comes back as written", anything, comesBack},
		{"empty value", anything, func(s *scene) { s.set("key", ""); s.holds("key", "") }},
		{"binary value", anything, binaryValue},
		{"large value", anything, largeValue},
		{"too large value is refused", anything, tooLarge},
		{"what is read is the caller's", anything, readNotAliased},
		{"what is written is not kept", anything, writtenNotAliased},
		{"batch read equals single reads", anything, batchRead},
		{"batch write equals single writes", anything, batchWrite},
		{"a thousand keys at once", anything, thousandKeys},
		{"nothing to read, write or lease", anything, nothingToDo},
		{"delete leaves a tombstone", anything, deleteLeavesTombstone},
		{"a tier over it sets, gets and deletes", anything, tierOver},
	}
}

func setAndRead(s *scene) {
	s.set("key", "value")
	s.holds("key", "value")
	s.holds("key", "value")
}

func overwrite(s *scene) {
	s.set("key", "first, which is longer")
	s.set("key", "second")
	s.holds("key", "second")
}

// comesBack requires that all is kept but what the store stamps.
func comesBack(s *scene) {
	want := driver.Record{
		Kind: driver.KindValue, Codec: 255, Compression: 3, Nonce: 1<<64 - 1, Clock: 1<<64 - 2, Value: []byte("value"),
	}
	s.put(write("key", want))
	s.is(want, s.record("key"))

	want.Schema, want.TagClock, want.Slots = 1<<32-1, 1<<64-3, []uint32{0, 1<<32 - 1}
	want.NearTTL, want.Ahead = driver.MaxDuration, time.Millisecond
	s.put(write("extended", want))
	s.is(want, s.record("extended"))
	grant := s.asks(lease("extended", 1), driver.LeasePresent)
	got, err := driver.DecodeRecord(grant.Image)
	s.noError(err, "decode what a request for a lease found")
	s.is(want, got)
	want.Nonce = s.acquire("filled")
	s.fill(write("filled", want))
	s.is(want, s.record("filled"))
}

// is requires that got is want but for what the store stamps.
func (s *scene) is(want, got driver.Record) {
	got.Revision, got.Soft, got.Hard = want.Revision, want.Soft, want.Hard
	s.require(bytes.Equal(got.Append(nil), want.Append(nil)), "wrote %+v, read %+v", want, got)
}

func binaryValue(s *scene) {
	var all []byte
	for b := range 256 {
		all = append(all, byte(b))
	}
	for name, v := range map[string]string{
		"all bytes": string(all), "zeros": strings.Repeat("\x00", 1000), "line ends": "\r\n\r\nEND\r\n",
	} {
		s.set(name, v)
		s.holds(name, v)
	}
}

// noise returns n bytes that nothing can compress or guess.
func noise(n int) string {
	b := make([]byte, n)
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(b) // never fails
	return string(b)
}

// limit returns the size of the largest value that the store or the suite
// allows.
func (s *scene) limit() int {
	limit := largest
	if n := s.store.MaxImage(); n > 0 {
		limit = min(limit, n)
	}
	return limit - driver.HeaderSize
}

// longest returns the longest key, which leaves the least room.
func longest() string { return strings.Repeat("k", driver.MaxKeySize) }

func largeValue(s *scene) {
	s.require(s.limit() > 0, "no value is small enough for a MaxImage of %d", s.store.MaxImage())
	v := noise(s.limit())
	s.set(longest(), v)
	s.holds(longest(), v)
	token := s.acquire("filled")
	s.fill(filling("filled", value(v), token))
	s.holds("filled", v)
}

func tooLarge(s *scene) {
	limit := s.store.MaxImage()
	if limit <= 0 || limit > 16<<20 {
		return // more than a test should send
	}
	s.set("key", "small")
	w := write("key", value(noise(limit-driver.HeaderSize+1)))
	s.fails(s.try(w).Err, driver.ErrTooLarge, "write of an image above MaxImage")
	s.holds("key", "small")
	token := s.acquire("filled")
	w = filling("filled", value(noise(limit)), token)
	s.fails(s.tryFill(w).Err, driver.ErrTooLarge, "fill of an image above MaxImage")
}

func readNotAliased(s *scene) {
	s.set("key", "value")
	images, err := s.store.Read(s.ctx, []string{"key", "key"})
	s.noError(err, "read")
	s.require(len(images) == 2 && images[1] != nil, "a key that is read twice is missing")
	clear(images[0])
	r, err := driver.DecodeRecord(images[1])
	s.require(err == nil && string(r.Value) == "value", "a key that is read twice shares its bytes")
	clear(images[1])
	s.holds("key", "value")
	grant := s.asks(lease("key", 1), driver.LeasePresent)
	clear(grant.Image)
	s.holds("key", "value")
}

func writtenNotAliased(s *scene) {
	w := write("key", value("value"))
	s.put(w)
	after := bytes.Clone(w.Image)
	s.holds("key", "value")
	s.require(bytes.Equal(after, w.Image), "the image was changed after Write returned")
	clear(w.Image)
	s.holds("key", "value")

	l := lease("leased", 1)
	s.asks(l, driver.LeaseGranted)
	clear(l.Image)
	s.require(s.record("leased").Nonce == 1, "the image of a lease was kept")
}

func batchRead(s *scene) {
	var keys []string
	for i := range 100 {
		key := "key " + string(rune('!'+i))
		keys = append(keys, key, "missing "+key)
		s.set(key, "value of "+key)
	}
	keys = append(keys, keys[0], keys[1], keys[0])
	images, err := s.store.Read(s.ctx, keys)
	s.noError(err, "read")
	s.require(len(images) == len(keys), "%d images for %d keys", len(images), len(keys))
	for i, key := range keys {
		single := s.image(key)
		s.require(bytes.Equal(images[i], single) && (images[i] == nil) == (single == nil),
			"%q differs between a batch and a single read", key)
	}
	all, err := s.store.Read(s.ctx, []string{"missing", "missing too"})
	s.noError(err, "read")
	s.require(len(all) == 2 && all[0] == nil && all[1] == nil, "missing keys were found")
}

func batchWrite(s *scene) {
	token := s.acquire("leased")
	repeated := write("repeated", value("repeated"))
	first := s.put(repeated)
	late := write("late", value("late"))
	late.NotAfter = s.now().Add(-time.Minute)
	writes := []driver.Write{
		write("set", value("set")), late, write("leased", value("written")), repeated, write("deleted", tombstone()),
	}
	receipts := s.store.Write(s.ctx, writes)
	s.require(len(receipts) == len(writes), "%d receipts for %d writes", len(receipts), len(writes))
	for i, r := range receipts {
		if i == 1 {
			s.fails(r.Err, driver.ErrTooLate, "late write")
		} else {
			s.noError(r.Err, "write "+writes[i].Key)
		}
	}
	s.require(receipts[3].Revision == first.Revision, "the repeated write was given another revision")
	s.holds("set", "set")
	s.empty("late")
	s.fails(s.tryFill(filling("leased", value("filled"), token)).Err, driver.ErrLeaseLost, "fill")
	s.require(s.record("deleted").Kind == driver.KindTombstone, "no tombstone")
}

func thousandKeys(s *scene) {
	keys := make([]string, 1000)
	writes := make([]driver.Write, len(keys))
	for i := range keys {
		keys[i] = fmt.Sprintf("key %d", i)
		writes[i] = write(keys[i], value("value of "+keys[i]))
	}
	receipts := s.store.Write(s.ctx, writes)
	s.require(len(receipts) == len(writes), "%d receipts for %d writes", len(receipts), len(writes))
	for _, r := range receipts {
		s.noError(r.Err, "write")
	}
	images, err := s.store.Read(s.ctx, keys)
	s.noError(err, "read")
	s.require(len(images) == len(keys), "%d images for %d keys", len(images), len(keys))
	for i, key := range keys {
		r, err := driver.DecodeRecord(images[i])
		s.require(err == nil && string(r.Value) == "value of "+key, "%q holds %q", key, r.Value)
		s.require(s.harness.NoRevisions || r.Revision == receipts[i].Revision, "%q has the receipt of another", key)
	}
}

func nothingToDo(s *scene) {
	images, err := s.store.Read(s.ctx, nil)
	s.noError(err, "read")
	s.require(len(images) == 0, "%d images for no key", len(images))
	s.require(len(s.store.Write(s.ctx, nil)) == 0, "receipts for no write")
	s.require(len(s.store.Fill(s.ctx, nil)) == 0, "receipts for no fill")
	s.require(len(s.store.Acquire(s.ctx, nil)) == 0, "grants for no lease")
}

func deleteLeavesTombstone(s *scene) {
	for _, key := range []string{"stored", "never stored"} {
		if key == "stored" {
			s.set(key, "value")
		}
		w := write(key, tombstone())
		w.TTL = time.Minute
		s.put(w)
		r := s.record(key)
		s.require(r.Kind == driver.KindTombstone && len(r.Value) == 0, "%q: no tombstone but kind %d", key, r.Kind)
	}
}

func tierOver(s *scene) {
	tier, err := shared.New(s.store, shared.Options{})
	s.noError(err, "new tier")
	keys := slices.Collect(oddKeys)
	for _, key := range keys {
		s.noError(tier.Set(s.ctx, key, []byte("value of "+key), 0), "set")
	}
	for _, key := range keys {
		v, err := tier.Get(s.ctx, key)
		s.noError(err, "get")
		s.require(string(v) == "value of "+key, "%.40q holds %.40q", key, v)
	}
	s.noError(tier.Delete(s.ctx, keys...), "delete")
	for _, key := range keys {
		_, err := tier.Get(s.ctx, key)
		s.fails(err, driver.ErrNotFound, "get after delete")
	}
}
