package nearcache

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// Errors that a caller decides on. Compare with [errors.Is].
var (
	// ErrNotFound is returned by reads when there is no value. Loaders return
	// it to say that the source has none; Fetch then returns what the loader
	// returned. It is [shared.ErrNotFound] as well. Where the tiers know why there is no
	// value, the error is one of those below, which wrap ErrNotFound.
	ErrNotFound = shared.ErrNotFound

	// ErrInvalidKey is returned by every method for a key that is empty or too
	// long. Nothing was sent for it; other keys of the same call are done.
	ErrInvalidKey = shared.ErrInvalidKey

	// ErrInvalidTag is returned for a tag that is empty or too long, and for too
	// many of them. Nothing was sent of the value, or, by InvalidateTags, whose error is
	// not one by tag, of the call; what a loader returned with it was not stored.
	ErrInvalidTag = coherence.ErrInvalidTag

	// ErrTooLarge is returned by Set for a value that the shared tier does not
	// take. The key was invalidated instead.
	ErrTooLarge = shared.ErrTooLarge

	// ErrEncode is returned by Set when the codec failed. The key was
	// invalidated instead.
	ErrEncode = errors.New("nearcache: value cannot be encoded")

	// ErrNotBroadcast is returned by writes that reached the shared tier but
	// could not be announced. Other nodes hear of it from the journal; without
	// one, this node goes on trying to announce it, and they may serve the old
	// value until it succeeds.
	ErrNotBroadcast = coherence.ErrNotBroadcast

	// ErrOutcomeUnknown is returned by writes that the shared tier did not
	// answer. The value may be stored or not. This node has dropped its copy,
	// and goes on trying to invalidate the key until that succeeds or a later
	// write of the key does. Until then, reads of the key on this node go to
	// the source; those without a loader return an error that wraps this one.
	//
	// What the source was told stands: do not undo it because of this error.
	// If the process dies before it succeeds, other nodes serve the old value
	// until its TTL.
	ErrOutcomeUnknown = coherence.ErrOutcomeUnknown

	// ErrUnproven is returned by Read when the shared tier cannot be read, so
	// that nothing shows whether a value is as new as ReadOptions.After demands.
	ErrUnproven = coherence.ErrUnproven

	// ErrNoBus is returned by Node.Barrier of a node without a bus: there is nobody
	// to ask.
	ErrNoBus = coherence.ErrNoBus

	// ErrClosed is returned by every method after Node.Close, and by those of a cache after
	// Cache.Close.
	ErrClosed = coherence.ErrClosed
)

// Why there is no value, as far as the tiers know. Each of these errors is [ErrNotFound] as
// well. They cost no round trip more. A read with a loader returns what that does.
var (
	// ErrNotStored says that nothing is stored under the key: it never was, or it is so long
	// ago that it expired or was evicted, or a load of it is under way.
	ErrNotStored error = absenceError("nothing is stored")

	// ErrNegative says that the source had no value when it was asked last, within
	// Options.NotFoundTTL.
	ErrNegative error = absenceError("the source had none")

	// ErrDeleted says that the key was deleted or invalidated, within
	// shared.Options.TombstoneTTL.
	ErrDeleted error = absenceError("deleted or invalidated")

	// ErrExpired says that there is a value past its TTL. Most stores forget such a value at
	// once, and the error is ErrNotStored then; with Options.Stale it is kept.
	ErrExpired error = absenceError("expired")

	// ErrCleared says that there is a value from before a Clear of the cache.
	ErrCleared error = absenceError("the cache was cleared")

	// ErrTagInvalidated says that there is a value of which a tag was invalidated since.
	ErrTagInvalidated error = absenceError("a tag was invalidated")

	// ErrUndecodable says that there is a record which this cache cannot read: of another
	// codec, schema or type, or damaged. Stats.Values.Undecodable counts them.
	ErrUndecodable error = absenceError("the record cannot be read")
)

// absenceError is why there is no value.
type absenceError string

// Error returns what [ErrNotFound] does, and why.
func (e absenceError) Error() string { return ErrNotFound.Error() + ": " + string(e) }

// Unwrap returns [ErrNotFound].
func (absenceError) Unwrap() error { return ErrNotFound }

// absenceOf returns why a record that is not live reads as a miss.
func absenceOf(found *shared.Found) error {
	switch {
	case errors.Is(found.Err, coherence.ErrTagged):
		return ErrTagInvalidated
	case !errors.Is(found.Err, ErrNotFound):
		return ErrUndecodable
	case found.Kind == driver.KindValue:
		return ErrExpired
	case found.Kind == driver.KindStale, found.Kind == driver.KindTombstone && found.Codec == 0:
		return ErrDeleted
	}
	return ErrNotStored
}

// What PanicError.Callback says.
const (
	callbackLoader = "loader"
	callbackCodec  = "codec"
	callbackClone  = "Clone"
	callbackTags   = "Tags"
	callbackCost   = "Cost" // in logs only: the value is not kept near then
)

// PanicError is what a panic in a loader, a codec, Options.Clone or Options.Tags becomes.
// Its text has no stack: that is in Stack, for logs. A caller need not see one: with
// Options.Stale or RefreshAhead there may be an old value for it. So the first panic of
// each cache is logged, without its value, and Stats.Values.Panics counts them all.
type PanicError struct {
	// Callback is what panicked: "loader", "codec", "Clone" or "Tags". It is empty for
	// anything else that was called for a read or a load, such as a store of
	// somebody else.
	Callback string

	Key   string // for which it was called; empty if there were several, or none
	Value any    // what was passed to panic; nil if the goroutine was ended by runtime.Goexit
	Stack []byte // of the panicking goroutine
}

// Error returns what panicked, for which key, and the value of the panic,
// without the stack.
func (e *PanicError) Error() string {
	what := "a call"
	switch e.Callback {
	case "":
	case callbackClone, callbackTags:
		what = "Options." + e.Callback
	default:
		what = "the " + e.Callback
	}
	if e.Key != "" {
		what += fmt.Sprintf(" for key %q", e.Key)
	}
	if e.Value == nil {
		return "nearcache: " + what + " ended its goroutine (runtime.Goexit)"
	}
	return fmt.Sprintf("nearcache: %s panicked: %v", what, e.Value)
}

// Unwrap returns the value of the panic if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

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
			fmt.Fprintf(&b, "nearcache: key %q: %s", coherence.Named(key), strings.TrimPrefix(err.Error(), "nearcache: "))
		}
		return b.String()
	}
	fmt.Fprintf(&b, "nearcache: %d of the keys failed", len(e))
	for i, key := range slices.Sorted(maps.Keys(e)) {
		if i == maxNamed {
			fmt.Fprintf(&b, "; and %d more", len(e)-maxNamed)
			break
		}
		fmt.Fprintf(&b, "%c %q: %s", ":;"[min(i, 1)], coherence.Named(key), strings.TrimPrefix(e[key].Error(), "nearcache: "))
	}
	return b.String()
}

// Unwrap returns the errors in the order of their keys.
func (e KeysError) Unwrap() []error {
	errs := make([]error, 0, len(e))
	for _, key := range slices.Sorted(maps.Keys(e)) {
		errs = append(errs, e[key])
	}
	return errs
}

// keysError returns the error of a call in which some keys failed, nil if none did.
func keysError(failed coherence.Failures) error {
	if len(failed) == 0 {
		return nil
	}
	return KeysError(failed)
}
