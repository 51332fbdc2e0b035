// Package natsbus is a bus over core NATS.
//
//	nc, err := nats.Connect("nats://localhost:4222",
//		nats.MaxReconnects(-1),            // or the connection is given up after 60 attempts
//		nats.PingInterval(2*time.Second), // or a dead connection is noticed after minutes
//		nats.RetryOnFailedConnect(true),
//	)
//	transport, err := natsbus.New(nc, natsbus.Options{})
//	b, err := bus.New(transport, bus.Options{})
//
// Order: payloads published through one connection arrive in the order of the
// calls. Duplication: none. Loss: NATS keeps nothing for a subscriber that is
// not connected. Every disconnection ends the subscription, although nats.go
// would restore it by itself, and so does a receiver that lags by more than
// 1024 payloads, from which nats.go drops those that come then. The
// subscription is made anew by the bus.
//
// Publish returns when the server has answered a ping sent after the payload.
// While the connection is down it fails at once, where nats.go would keep the
// payload in a buffer and report success. A payload whose Publish failed by its
// context may still be sent, also after a reconnect.
//
// The connection is the user's: it is shared with whatever else uses it, this
// package sets no handler on it, does not reconnect it and never closes it. When
// it is dead without saying so, only nats.go can notice, by its pings: until
// then the bus reports a gap and nothing is heard.
//
// Another program invalidates with
//
//	nats pub nearbus 'invalidate users 42'
//
// Rights needed: publish and subscribe on the subject.
package natsbus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/nearbus/nearbus/bus"
)

// queueSize is how many payloads may wait for the receiver.
const queueSize = 1024

var (
	errNotConnected = errors.New("not connected")
	errDisconnected = errors.New("connection was lost")
	errSlow         = errors.New("receiver is too slow, messages were dropped")
)

// Options configure a [Transport]. The zero value is the production default.
type Options struct {
	// Subject is what all processes of the fleet publish on. It has no
	// wildcards. Empty means "nearbus".
	Subject string
}

func (o Options) withDefaults() Options {
	if o.Subject == "" {
		o.Subject = "nearbus"
	}
	return o
}

// validate checks options that have their defaults.
func (o Options) validate() error {
	if strings.ContainsAny(o.Subject, " \t\r\n") {
		return fmt.Errorf("natsbus: Options.Subject %q contains white space", o.Subject)
	}
	for token := range strings.SplitSeq(o.Subject, ".") {
		if token == "" || token == "*" || token == ">" {
			return fmt.Errorf("natsbus: Options.Subject %q has an empty part or a wildcard", o.Subject)
		}
	}
	return nil
}

// Transport is a [bus.Transport] over core NATS.
type Transport struct {
	nc      *nats.Conn
	subject string
}

var _ bus.Transport = (*Transport)(nil)

// New returns a Transport over nc, which may be disconnected. A connection with
// NoEcho is refused: a bus must hear its own heartbeat.
func New(nc *nats.Conn, opts Options) (*Transport, error) {
	if nc == nil {
		return nil, errors.New("natsbus: New: the connection is nil")
	}
	if nc.Opts.NoEcho {
		return nil, errors.New("natsbus: New: the connection has NoEcho set, so the bus could not hear its own heartbeat")
	}
	opts = opts.withDefaults()
	if err := opts.validate(); err != nil {
		return nil, err
	}
	return &Transport{nc: nc, subject: opts.Subject}, nil
}

// MaxPayload returns the limit of the server, 0 before the first connection.
func (t *Transport) MaxPayload() int { return int(t.nc.MaxPayload()) }

// Publish returns when the server has payload.
func (t *Transport) Publish(ctx context.Context, payload []byte) error {
	if err := ctx.Err(); err != nil {
		return failed(ctx, "publish", err)
	}
	if !t.nc.IsConnected() {
		return failed(ctx, "publish", errNotConnected)
	}
	if err := t.nc.Publish(t.subject, payload); err != nil {
		return failed(ctx, "publish", err)
	}
	return failed(ctx, "publish", t.flush(ctx))
}

// flush returns when the server has taken in all that was sent before.
func (t *Transport) flush(ctx context.Context) error {
	// The client insists on a deadline, whether the caller has one or not.
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	return t.nc.FlushWithContext(ctx)
}

// Receive makes a subscription that lasts as long as the connection.
func (t *Transport) Receive(ctx context.Context, sink bus.Sink) error {
	// Listen for the end of the connection before looking whether it is there.
	ended := t.nc.StatusChanged(nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED, nats.DRAINING_SUBS)
	defer t.nc.RemoveStatusListener(ended)
	if !t.nc.IsConnected() {
		return failed(ctx, "subscribe", errNotConnected)
	}
	messages := make(chan *nats.Msg, queueSize)
	sub, err := t.nc.ChanSubscribe(t.subject, messages)
	if err != nil {
		return failed(ctx, "subscribe", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // Fails only when it has ended.
	if err := t.flush(ctx); err != nil {
		return failed(ctx, "subscribe", err)
	}
	sink.Ready()
	for {
		select {
		case <-ctx.Done():
			return failed(ctx, "receive", ctx.Err())
		case <-ended:
			return failed(ctx, "receive", errDisconnected)
		case m := <-messages:
			if err := sound(ctx, sub, ended); err != nil {
				return failed(ctx, "receive", err)
			}
			sink.Deliver(m.Data)
		}
	}
}

// sound returns an error if a message may have been lost before the one that
// was just taken: what came first is not always what select chooses.
func sound(ctx context.Context, sub *nats.Subscription, ended <-chan nats.Status) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-ended:
		return errDisconnected
	default:
	}
	dropped, err := sub.Dropped()
	if err == nil && dropped > 0 {
		err = errSlow
	}
	return err
}

// failed names err, and makes it the error of ctx if that has ended.
func failed(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if end := ctx.Err(); end != nil && !errors.Is(err, end) {
		return fmt.Errorf("natsbus: %s: %w (%w)", op, end, err)
	}
	return fmt.Errorf("natsbus: %s: %w", op, err)
}
