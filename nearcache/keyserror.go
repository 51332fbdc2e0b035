package nearcache

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// KeysError is the error of a call that takes several keys, of which some failed:
// what became of each of those. The other keys are done. Range over it after
// [errors.As]; [errors.Is] holds for whatever one of the keys failed with.
//
// An invalid key is one of those that failed, with [ErrInvalidKey].
type KeysError map[string]error

// maxNamed is how many keys the text of a KeysError tells of.
const maxNamed = 3

// Error names the first few keys.
func (e KeysError) Error() string {
	var b strings.Builder
	if len(e) == 1 {
		for key, err := range e {
			fmt.Fprintf(&b, "nearcache: key %q: %s", named(key), strings.TrimPrefix(err.Error(), "nearcache: "))
		}
		return b.String()
	}
	fmt.Fprintf(&b, "nearcache: %d of the keys failed", len(e))
	for i, key := range slices.Sorted(maps.Keys(e)) {
		if i == maxNamed {
			fmt.Fprintf(&b, "; and %d more", len(e)-maxNamed)
			break
		}
		fmt.Fprintf(&b, "%c %q: %s", ":;"[min(i, 1)], named(key), strings.TrimPrefix(e[key].Error(), "nearcache: "))
	}
	return b.String()
}

// named returns as much of key as an error has.
func named(key string) string { return key[:min(len(key), maxKeyNamed)] }

// Unwrap returns the errors in the order of their keys.
func (e KeysError) Unwrap() []error {
	errs := make([]error, 0, len(e))
	for _, key := range slices.Sorted(maps.Keys(e)) {
		errs = append(errs, e[key])
	}
	return errs
}

// put notes that key failed with err, if it did. It makes the map when it is
// needed.
func (e *KeysError) put(key string, err error) {
	if err == nil {
		return
	}
	if *e == nil {
		*e = make(KeysError)
	}
	(*e)[key] = err
}

// err returns e, or nil if nothing failed.
func (e KeysError) err() error {
	if len(e) == 0 {
		return nil
	}
	return e
}
