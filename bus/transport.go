package bus

import "context"

// Transport is the contract that a driver fills: it moves bytes from every
// publisher to every receiver of one channel, this process included. Callers
// use it through a [Bus].
//
// Methods may be called from many goroutines at once, except that at most one
// Receive runs at a time. A transport makes one attempt and never retries,
// buffers or reconnects on its own where its client lets it choose: the Bus
// does that, the same for all. It gives the same payload again after a failure. It never closes a client that it was given.
//
// The package bustest holds the suite that every driver must pass.
type Transport interface {
	// Publish sends payload to all receivers and returns when the server has
	// it, not when a client library buffered it. It must not keep payload
	// after it returned. When ctx ended, the error satisfies
	// errors.Is(err, ctx.Err()); a driver whose client cannot be interrupted may
	// answer as late as that client's own timeout.
	Publish(ctx context.Context, payload []byte) error

	// Receive makes a new subscription and delivers to sink until ctx ends or
	// the continuity of the subscription is lost: connection lost, server
	// gone, subscription moved, messages dropped. It then releases the
	// subscription and returns the reason, never nil, and as in Publish when ctx
	// ended. Waiting for payloads ends at once when ctx does, and no payload
	// is delivered after that. The Bus takes every return as a gap and calls
	// Receive again.
	Receive(ctx context.Context, sink Sink) error

	// MaxPayload returns the largest payload that Publish accepts, in bytes; 0
	// means no limit of its own.
	MaxPayload() int
}

// Sink is what a [Transport] delivers to. Its functions never block for long
// and are called from one goroutine at a time, in the order of arrival.
type Sink struct {
	// Ready is called once, when the server has confirmed the subscription:
	// every payload published after Ready was called will be delivered.
	Ready func()

	// Deliver hands over one payload. The payload may be used only during the
	// call.
	Deliver func(payload []byte)

	// Gap reports that messages may have been missed although the
	// subscription goes on.
	Gap func(reason error)
}

// Announcing is implemented by a [Transport] whose messages a store can
// publish in the same atomic step as a write.
type Announcing interface {
	// Endpoint returns the client that the transport uses. A store with the
	// equal client can announce for this bus. It returns nil when this client
	// cannot.
	Endpoint() any

	// Channel returns the name that the store publishes on.
	Channel() string
}

// Spreading is implemented by a [Transport] whose server may be one of several
// that pass messages on to each other, and learn of a subscription a little later
// than Ready says it stands. For such a transport the Bus calls Handler.Ready once
// more. A transport that wraps another one passes on what that one says.
type Spreading interface {
	// Spreads reports whether there may be such servers, connected now or
	// behind the one that is. It does not block, and never changes its answer.
	Spreads() bool
}

// Named is implemented by a [Transport] that knows which namespace it was given.
type Named interface {
	// Namespace returns what [Namespace] made of it, or "" if another name was given in
	// its place.
	Namespace() string
}
