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
	// Namespace keeps fleets apart that share a server: applications, staging and
	// production. It has 1 to 64 of A-Z a-z 0-9 _ -. Give the store the same.
	// Empty is a namespace as well.
	Namespace string

	// Subject is what all processes of the fleet publish on, in place of what
	// follows from Namespace: "nearbus", or "nearbus-" and the namespace. It has
	// no wildcards.
	Subject string
}

// subject returns the subject that the options ask for.
func (o Options) subject() (string, error) {
	name, err := bus.Namespace(o.Namespace)
	switch {
	case err != nil:
		return "", fmt.Errorf("natsbus: Options.Namespace: %w", err)
	case o.Namespace != "" && o.Subject != "":
		return "", fmt.Errorf("natsbus: Options.Namespace %q and Options.Subject %q exclude each other", o.Namespace, o.Subject)
	case o.Subject != "":
		return o.Subject, validateSubject("Options.Subject", o.Subject)
	}
	return name, nil
}

// validateSubject checks the subject that an option gives.
func validateSubject(option, subject string) error {
	if strings.ContainsAny(subject, " \t\r\n") {
		return fmt.Errorf("natsbus: %s %q contains white space", option, subject)
	}
	for token := range strings.SplitSeq(subject, ".") {
		if token == "" || token == "*" || token == ">" {
			return fmt.Errorf("natsbus: %s %q has an empty part or a wildcard", option, subject)
		}
	}
	return nil
}

// Transport is a [bus.Transport] over core NATS.
type Transport struct {
	nc      *nats.Conn
	subject string
	named   string // as in bus.Named
}

var (
	_ bus.Transport = (*Transport)(nil)
	_ bus.Named     = (*Transport)(nil)
	_ bus.Spreading = (*Transport)(nil)
)

// New returns a Transport over nc, which may be disconnected. A connection that can
// end for good is refused: it needs [nats.MaxReconnects] of -1 and
// [nats.IgnoreAuthErrorAbort], for two refused logins end it otherwise. So is one
// with [nats.NoReconnect], without pings or a flusher timeout, and with
// [nats.NoEcho]: a bus must hear its own heartbeat. The error names each.
func New(nc *nats.Conn, opts Options) (*Transport, error) {
	if err := checkConnection(nc, true); err != nil {
		return nil, fmt.Errorf("natsbus: New: %w", err)
	}
	subject, err := opts.subject()
	if err != nil {
		return nil, err
	}
	t := &Transport{nc: nc, subject: subject}
	if opts.Subject == "" {
		t.named = subject
	}
	return t, nil
}

// Namespace implements [bus.Named].
func (t *Transport) Namespace() string { return t.named }

// MaxPayload returns the limit of the server, 0 before the first connection.
func (t *Transport) MaxPayload() int { return int(t.nc.MaxPayload()) }

// Spreads returns true. Servers of a cluster, of a super-cluster and leaf nodes tell
// each other of subscriptions and do not wait for each other, and a client cannot
// know which of them there are.
func (t *Transport) Spreads() bool { return true }

// Publish returns when the server has payload.
func (t *Transport) Publish(ctx context.Context, payload []byte) error {
	if err := ctx.Err(); err != nil {
		return failed(ctx, "publish", err)
	}
	if !t.nc.IsConnected() {
		return failed(ctx, "publish", notConnected(t.nc))
	}
	said := listen(t.nc)
	if err := t.nc.Publish(t.subject, payload); err != nil {
		return failed(ctx, "publish", err)
	}
	return failed(ctx, "publish", said.join(t.flush(ctx), t.subject))
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
		return failed(ctx, "subscribe", notConnected(t.nc))
	}
	said := listen(t.nc)
	messages := make(chan *nats.Msg, queueSize)
	sub, err := t.nc.ChanSubscribe(t.subject, messages)
	if err != nil {
		return failed(ctx, "subscribe", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // Fails only when it has ended.
	if err := said.join(t.flush(ctx), t.subject); err != nil {
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
