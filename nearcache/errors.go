package nearcache

import (
	"errors"
	"fmt"

	"github.com/nearbus/nearbus/shared"
)

// Errors that a caller decides on. Compare with [errors.Is].
var (
	// ErrNotFound is returned by reads when there is no value. Loaders return
	// it to say that the source has none; Fetch then returns what the loader
	// returned. It is [shared.ErrNotFound] as well.
	ErrNotFound = shared.ErrNotFound

	// ErrInvalidKey is returned by every method for a key that is empty or too
	// long. Nothing was sent for it; other keys of the same call are done.
	ErrInvalidKey = shared.ErrInvalidKey

	// ErrInvalidTag is returned for a tag that is empty or too long, and for too
	// many of them. Nothing was sent of the value, or, by InvalidateTags, whose error is
	// not one by tag, of the call; what a loader returned with it was not stored.
	ErrInvalidTag = errors.New("nearcache: invalid tag")

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
	ErrNotBroadcast = errors.New("nearcache: stored but not announced to other nodes")

	// ErrOutcomeUnknown is returned by writes that the shared tier did not
	// answer. The value may be stored or not. This node has dropped its copy,
	// and goes on trying to invalidate the key until that succeeds or a later
	// write of the key does. Until then, reads of the key on this node go to
	// the source; those without a loader return an error that wraps this one.
	//
	// What the source was told stands: do not undo it because of this error.
	// If the process dies before it succeeds, other nodes serve the old value
	// until its TTL.
	ErrOutcomeUnknown = errors.New("nearcache: the shared tier did not confirm the write")

	// ErrClosed is returned by every method after Node.Close.
	ErrClosed = errors.New("nearcache: closed")
)

// owedError is why a key is not read from the shared tier: an earlier write of
// it by this node failed with ErrOutcomeUnknown.
type owedError struct{}

func (owedError) Error() string {
	return "nearcache: not read from the shared tier, which may have an old value: " +
		"an earlier write of the key by this process was not confirmed, and is being made up for"
}

func (owedError) Unwrap() error { return ErrOutcomeUnknown }

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
// Options.FailSafe or RefreshAhead there may be an old value for it. So the first panic of
// each cache is logged, without its value, and Stats.Panics counts them all.
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
