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
	// returned. It is the error of package shared, and its text says so: "shared:
	// not found".
	ErrNotFound = shared.ErrNotFound

	// ErrInvalidKey is returned by every method for a key that is empty or too
	// long. Nothing was sent.
	ErrInvalidKey = shared.ErrInvalidKey

	// ErrInvalidTag is returned for a tag that is empty or too long, and for too
	// many of them. Nothing was sent; what a loader returned with it was not
	// stored.
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
	// the source; those without a loader return this error.
	ErrOutcomeUnknown = errors.New("nearcache: the shared tier did not confirm the write")

	// ErrClosed is returned by every method after Node.Close.
	ErrClosed = errors.New("nearcache: closed")
)

// PanicError is what a panic in a loader, codec or clone function becomes.
type PanicError struct {
	Value any    // what was passed to panic; nil if the goroutine was ended by runtime.Goexit
	Stack []byte // of the panicking goroutine
}

// Error returns the value of the panic, without the stack.
func (e *PanicError) Error() string {
	if e.Value == nil {
		return "nearcache: a callback called runtime.Goexit"
	}
	return fmt.Sprintf("nearcache: a callback panicked: %v", e.Value)
}

// Unwrap returns the value of the panic if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
