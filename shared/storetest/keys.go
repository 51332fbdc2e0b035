package storetest

import (
	"strings"

	"github.com/nearbus/nearbus/shared/driver"
)

func keyCases() []testCase {
	return []testCase{
		{"odd keys are kept apart", anything, keptApart},
		{"long keys are kept apart", anything, longKeptApart},
		{"odd keys have leases of their own", anything, oddLeases},
	}
}

// oddKeys yields keys that a server, a protocol or a client may stumble over.
// Many differ from another by what is easily lost.
func oddKeys(yield func(string) bool) {
	for _, key := range []string{
		"a", "A", "a ", " a", "a  ", " ", "  ", "a\x00", "a\x00b", "\x00", "\x00\x00",
		"a\n", "a\r\n", "a\tb", "a b", "\r\n", "\x7f", "a\x1b[0m",
		"\xff", "\xfe", "a\xff", "a\xfe", "\xff\xff", "\xc3", "\xed\xa0\x80",
		"é", "e\u0301", "ключ", "鍵", "🔑", "\ufeffa", "\u200ba",
		"{a}", "{a}b", "{b}a", "{}", "{}a", "}{", "{", "a{b", "{{a}}",
		":", "a:", ":a", "a:b", "a::b", "%s", "%00", "*", "?", "[a]", "\\", "'", "\"", "$5",
		"get a", "set a 0 0 1\r\nx", "a.b", "a>b", "a!b", "-", "0", "1",
	} {
		if !yield(key) {
			return
		}
	}
}

// longKeys yields keys around the lengths at which servers stop, which differ
// in their last byte, and in the middle.
func longKeys(yield func(string) bool) {
	for _, n := range []int{100, 200, 230, 240, 241, 242, 243, 249, 250, 251, 255, 256, 257, 512, driver.MaxKeySize} {
		long := strings.Repeat("k", n-1)
		for _, key := range []string{long + "1", long + "2", long + " ", long[:n/2] + "x" + long[n/2:]} {
			if !yield(key) {
				return
			}
		}
	}
}

func keptApart(s *scene)     { s.keptApart(oddKeys) }
func longKeptApart(s *scene) { s.keptApart(longKeys) }

// keptApart stores something else under each key, and then deletes one after
// the other.
func (s *scene) keptApart(keys func(func(string) bool)) {
	var all []string
	for key := range keys {
		s.empty(key)
		s.set(key, "value of "+key)
		all = append(all, key)
	}
	for _, key := range all {
		s.holds(key, "value of "+key)
	}
	images, err := s.store.Read(s.ctx, all)
	s.noError(err, "batch read")
	for i, key := range all {
		r, err := driver.DecodeRecord(images[i])
		s.require(err == nil && string(r.Value) == "value of "+key, "%.40q in a batch holds %.40q", key, r.Value)
	}
	for i, key := range all {
		s.put(write(key, tombstone()))
		if i+1 < len(all) {
			s.holds(all[i+1], "value of "+all[i+1])
		}
	}
}

func oddLeases(s *scene) {
	tokens := map[string]uint64{}
	for _, keys := range []func(func(string) bool){oddKeys, longKeys} {
		for key := range keys {
			tokens[key] = s.acquire(key)
		}
	}
	for key, token := range tokens {
		s.asks(lease(key, driver.NewNonce()), driver.LeaseHeld)
		s.fill(filling(key, value("value of "+key), token))
	}
	for key := range tokens {
		s.holds(key, "value of "+key)
	}
}
