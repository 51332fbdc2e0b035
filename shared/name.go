package shared

import (
	"fmt"
	"slices"
	"strings"
)

// Keys of caches and what belongs to a cache begin with its name, which is not empty, and
// have one of these characters after it. What belongs to the tier begins with the second.
const reserved = ":!"

// own is before keys of callers that could be names of a cache.
const own = ":"

// Records returns t with the names of records for keys, as they follow the namespace in the
// store: "users:42" is key 42 of the cache users, and "users!clock" its clock. Caches use
// it, and who looks into their records or repairs them. Whoever keeps values of its own in
// a Tier does without it.
//
// A key of a caller that has neither ":" nor "!" is its own name. Any other has ":" before
// it, which is the beginning of no name of a cache.
//
// Both are one Tier: they have the same counters and the same breaker, and closing one
// closes both.
func (t *Tier) Records() *Tier { return &Tier{tier: t.tier, records: true} }

// name returns the name of the record of key.
func (t *Tier) name(key string) string {
	if t.records || !strings.ContainsAny(key, reserved) {
		return key
	}
	return own + key
}

// check returns the name of the record of key, and refuses bad keys before anything is sent.
func (t *Tier) check(key string) (name string, err error) {
	name = t.name(key)
	switch limit := MaxKeySize - (len(name) - len(key)); {
	case t.closed.Load():
		return "", ErrClosed
	case key == "":
		return "", fmt.Errorf("%w: it is empty", ErrInvalidKey)
	case len(key) > limit:
		return "", fmt.Errorf("%w: %d bytes, more than %d", ErrInvalidKey, len(key), limit)
	}
	return name, nil
}

// checkAll is check for several keys.
func (t *Tier) checkAll(keys []string) (names []string, err error) {
	names = keys
	for i, key := range keys {
		name, err := t.check(key)
		if err != nil {
			return nil, err
		}
		if len(name) == len(key) {
			continue
		}
		if &names[0] == &keys[0] {
			names = slices.Clone(keys)
		}
		names[i] = name
	}
	return names, nil
}
