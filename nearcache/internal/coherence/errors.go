package coherence

import (
	"errors"
	"fmt"
)

// Errors that package nearcache gives to its callers, and describes.
var (
	ErrInvalidTag     = errors.New("nearcache: invalid tag")
	ErrNotBroadcast   = errors.New("nearcache: stored but not announced to other nodes")
	ErrOutcomeUnknown = errors.New("nearcache: the shared tier did not confirm the write")
	ErrUnproven       = errors.New("nearcache: the answer may be older than the token")
	ErrNoBus          = errors.New("nearcache: the node has no bus")
	ErrClosed         = errors.New("nearcache: closed")
)

// ErrUnusable says that a record is there and reads as a miss.
var ErrUnusable = errors.New("nearcache: record not usable")

// ErrTagged is [ErrUnusable] of a record that a tag has ended.
var ErrTagged = fmt.Errorf("%w: one of its tags was invalidated since", ErrUnusable)

// Failures are the errors of a call that takes several keys, by key.
type Failures map[string]error

// Put notes that key failed with err, if it did. It makes the map when it is
// needed.
func (f *Failures) Put(key string, err error) {
	if err == nil {
		return
	}
	if *f == nil {
		*f = make(Failures)
	}
	(*f)[key] = err
}

// pendingError is why a key is not read from the shared tier: an earlier write of
// it by this node failed with errOutcomeUnknown.
type pendingError struct{}

func (pendingError) Error() string {
	return "nearcache: not read from the shared tier, which may have an old value: " +
		"an earlier write of the key by this process was not confirmed, and is being made up for"
}

func (pendingError) Unwrap() error { return ErrOutcomeUnknown }
