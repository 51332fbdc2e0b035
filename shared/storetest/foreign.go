package storetest

import (
	"bytes"
	"strings"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

func foreignCases() []testCase {
	return []testCase{
		{"foreign bytes are read as they are", plant, foreignRead},
		{"foreign bytes are not leased", plant, foreignNotLeased},
		{"foreign bytes are leased when discarded", plant, foreignDiscarded},
		{"foreign bytes may be overwritten", plant, foreignOverwritten},
		{"foreign bytes are no lease", plant, foreignNoLease},
		{"damaged record is leased when discarded", plant, damagedDiscarded},
		{"newer format is left alone", plant, newerFormat},
		{"revision from far ahead is not carried on", plant, revisionAhead},
	}
}

// foreign are bytes that are no record, by name.
func foreign() map[string][]byte {
	return map[string][]byte{
		"one-byte":      {'x'},
		"text":          []byte("set by another program"),
		"long-text":     []byte(strings.Repeat("set by another program ", 100)),
		"magic-alone":   []byte("nb"),
		"cut-in-header": image(value("value"))[:driver.HeaderSize-1],
		"another-magic": altered(image(value("value")), 0, 'x'),
		"version-zero":  altered(image(value("value")), 2, 0),
		"unknown-kind":  altered(image(value("value")), driver.KindOffset, 200),
		"kind-zero":     altered(image(value("value")), driver.KindOffset, 0),
		"zeros":         make([]byte, 200),
		"noise":         []byte(noise(200)),
		"newer-but-cut": altered(image(value("value")), 2, 9)[:driver.HeaderSize-1],
	}
}

func image(r driver.Record) []byte { return r.Append(nil) }

func altered(image []byte, at int, b byte) []byte {
	image[at] = b
	return image
}

func foreignRead(s *scene) {
	for name, data := range foreign() {
		s.plant(name, data)
		s.require(bytes.Equal(s.image(name), data), "%s is not read as it was planted", name)
	}
	s.plant("nothing", nil)
	s.image("nothing") // empty or missing
	s.plant("cut-in-value", image(value("value"))[:driver.HeaderSize+2])
	_, err := driver.DecodeRecord(s.image("cut-in-value"))
	s.fails(err, driver.ErrCorrupt, "decoding a record that is cut")
}

func foreignNotLeased(s *scene) {
	for name, data := range foreign() {
		s.plant(name, data)
		s.asks(lease(name, 1), driver.LeaseUnusable)
		l := lease(name, 1)
		l.MinClock = 1 << 60
		s.asks(l, driver.LeaseUnusable)
		l.Discard = []byte("not how it begins")
		s.asks(l, driver.LeaseUnusable)
		s.require(bytes.Equal(s.image(name), data), "%s was changed by a request for a lease", name)
	}
}

func foreignDiscarded(s *scene) {
	for name, data := range foreign() {
		s.plant(name, data)
		l := lease(name, 1)
		l.Discard = s.image(name)
		l.Discard = l.Discard[:min(len(l.Discard), driver.HeaderSize)]
		s.asks(l, driver.LeaseGranted)
		s.fill(filling(name, value("loaded"), 1))
		s.holds(name, "loaded")
	}
}

func foreignOverwritten(s *scene) {
	for name, data := range foreign() {
		s.plant(name, data)
		s.set(name, "value")
		s.holds(name, "value")
	}
	s.plant("nothing", nil)
	s.set("nothing", "value")
	s.holds("nothing", "value")
}

func foreignNoLease(s *scene) {
	r := driver.Record{Kind: driver.KindLease, Nonce: 1}
	for name, data := range map[string][]byte{
		"another-magic": altered(image(r), 0, 'x'),
		"version-zero":  altered(image(r), 2, 0),
		"newer":         altered(image(r), 2, 9),
		"cut":           image(r)[:driver.HeaderSize-1],
	} {
		s.plant(name, data)
		s.stale(name, 1)
		l := lease(name, 1)
		l.Renew = true
		err := s.tryAcquire(l).Err
		s.fails(err, driver.ErrLeaseLost, "renewal of "+name)
		s.require(bytes.Equal(s.image(name), data), "%s was changed", name)
	}
	for name, data := range foreign() {
		s.plant(name, data)
		s.stale(name, 1)
	}
}

// damagedDiscarded has records whose header is good and whose value is not.
func damagedDiscarded(s *scene) {
	whole := image(value("value"))
	for name, data := range map[string][]byte{
		"wrong-checksum": altered(bytes.Clone(whole), len(whole)-1, 'x'),
		"cut-in-value":   bytes.Clone(whole[:len(whole)-1]),
		"too-long":       append(bytes.Clone(whole), 'x'),
		"header-alone":   bytes.Clone(whole[:driver.HeaderSize]),
	} {
		s.plant(name, data)
		_, err := driver.DecodeRecord(s.image(name))
		s.fails(err, driver.ErrCorrupt, name)
		l := lease(name, 1)
		l.Discard = s.image(name)[:driver.HeaderSize]
		s.asks(l, driver.LeaseGranted)
		s.fill(filling(name, value("loaded"), 1))
		s.holds(name, "loaded")
	}
}

// newerFormat requires that loads leave alone what a newer version of the
// library wrote, and that a Set replaces it.
func newerFormat(s *scene) {
	r := value("value")
	newer := altered(image(r), 2, driver.RecordVersion+1)
	s.plant("key", newer)
	s.require(bytes.Equal(s.image("key"), newer), "a newer record is not read as it was planted")
	l := lease("key", 1)
	s.asks(l, driver.LeaseUnusable)
	l.MinClock = 1 << 60
	s.asks(l, driver.LeaseUnusable)
	l.Discard = newer[:driver.HeaderSize]
	s.asks(l, driver.LeaseUnusable)
	s.stale("key", r.Nonce)
	s.require(bytes.Equal(s.image("key"), newer), "a newer record was changed")
	s.put(write("key", r))
	s.holds("key", "value")
}

// revisionAhead requires that hostile numbers do not become those of later
// writes, which would run out of digits.
func revisionAhead(s *scene) {
	limit := uint64(s.now().Add(2 * day).UnixMicro())
	for _, number := range []uint64{1 << 62, 1<<64 - 1, 1 << 53, uint64(s.now().Add(3 * day).UnixMicro())} {
		for _, r := range []driver.Record{value("value"), watermark()} {
			r.Revision = driver.Revision{Epoch: 1, Number: number}
			s.plant("key", image(r))
			w := write("key", watermark())
			w.Floor = 1
			got := s.put(w).Revision.Number
			goesOn := r.Kind == driver.KindWatermark && number < driver.MaxRevision
			s.require(got != 0 && (got < limit || goesOn), "revision %d after one of %d", got, number)
			s.require(got > number || !goesOn, "watermark %d over one of %d", got, number)
			w = write("key", value("value"))
			w.TTL = time.Minute
			s.require(s.put(w).Revision.Number < limit, "revision after one of %d", number)
		}
	}
}
