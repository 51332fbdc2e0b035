package bus

import (
	"errors"
	"fmt"
)

// Errors that a caller decides on. Compare with [errors.Is].
var (
	// ErrClosed is returned by every method after Close, and by calls that
	// Close interrupted. An interrupted message may have been sent.
	ErrClosed = errors.New("bus: closed")

	// ErrSubscribed is returned by Subscribe when the Bus has a subscriber.
	ErrSubscribed = errors.New("bus: has a subscriber already")

	// ErrInvalid is returned by Publish for an invalidation that cannot be
	// sent: an unknown operation, a missing or overlong name or key, or more
	// bytes than the transport carries. Nothing of the call was sent that
	// comes after it.
	ErrInvalid = errors.New("bus: invalid invalidation")

	// ErrReadOnly is returned by Publish with Options.ReadOnly. Nothing was sent.
	ErrReadOnly = errors.New("bus: Publish: Options.ReadOnly is set")

	// ErrPeerSilent is the reason of a gap when another process was not heard for
	// HeartbeatTimeout: it was killed or stopped, or this process does not hear it. The
	// Bus itself is fine; what that process sent last may be missing. The reason names
	// it.
	ErrPeerSilent = errors.New("bus: another process has fallen silent")

	// ErrUnreadable is the reason of a gap when a message could not be read that may have
	// been news: it is damaged, or a newer version of this package sent it. The Bus itself
	// is fine.
	ErrUnreadable = errors.New("bus: message cannot be read")
)

// Reasons for a gap that the Bus itself finds.
var (
	errSilent   = errors.New("bus: own heartbeat did not come back")
	errHole     = errors.New("bus: a message of another process is missing")
	errNoReason = errors.New("bus: transport ended its subscription without a reason")
	errNewer    = fmt.Errorf("%w: it is of a newer format", ErrUnreadable)
	errDamaged  = fmt.Errorf("%w: it is damaged", ErrUnreadable)
	errForeign  = fmt.Errorf("%w, or it is none of this package, and no text", errDamaged)
	errPanicked = errors.New("bus: handler panicked")
)
