package natsbus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/nearbus/nearbus/bus"
)

// apiTimeout is how long an answer of the server is waited for.
const apiTimeout = 5 * time.Second

var errNoAnswer = fmt.Errorf("no answer within %v", apiTimeout)

// Stream is a [bus.Transport] over JetStream, which replays what a lost
// connection kept from its receiver.
type Stream struct {
	nc   *nats.Conn
	js   jetstream.JetStream
	opts StreamOptions
}

var (
	_ bus.Transport = (*Stream)(nil)
	_ bus.Named     = (*Stream)(nil)
)

// NewStream returns a Stream over nc. If nc is connected, it makes sure that
// the stream is there: it creates it if there is none, and returns an error if
// there is one that is configured differently. If nc is disconnected, that is
// left to Receive, which does the same each time it begins. A connection that can end
// for good is refused, as by [New]; it may have NoEcho.
func NewStream(ctx context.Context, nc *nats.Conn, opts StreamOptions) (*Stream, error) {
	if err := checkConnection(nc, false); err != nil {
		return nil, fmt.Errorf("natsbus: NewStream: %w", err)
	}
	opts, err := opts.withNames()
	if err != nil {
		return nil, err
	}
	if err := opts.validate(); err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("natsbus: NewStream: %w", err)
	}
	s := &Stream{nc: nc, js: js, opts: opts}
	_, err = s.ensure(ctx)
	if err != nil && !errors.Is(err, errNotConnected) {
		return nil, failed(ctx, "NewStream", err)
	}
	return s, nil
}

// Namespace implements [bus.Named].
func (s *Stream) Namespace() string {
	if name, _ := bus.Namespace(s.opts.Namespace); name+".stream" == s.opts.Subject {
		return name
	}
	return ""
}

// MaxPayload returns the limit of the server, 0 before the first connection.
func (s *Stream) MaxPayload() int { return int(s.nc.MaxPayload()) }

// Publish returns when the stream has payload.
func (s *Stream) Publish(ctx context.Context, payload []byte) error {
	if err := ctx.Err(); err != nil {
		return failed(ctx, "publish", err)
	}
	return failed(ctx, "publish", s.connected(ctx, func(ctx context.Context) error {
		return s.store(ctx, payload)
	}))
}

func (s *Stream) store(ctx context.Context, payload []byte) error {
	// Without a deadline the client takes one of its own.
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	message := &nats.Msg{Subject: s.opts.Subject, Data: payload}
	ack, err := s.js.PublishMsg(ctx, message, jetstream.WithRetryAttempts(0))
	if err == nil && ack.Stream != s.opts.Stream {
		err = fmt.Errorf("subject %q belongs to the stream %q, not %q", s.opts.Subject, ack.Stream, s.opts.Stream)
	}
	return err
}

// connected calls do with a context that ends when the connection does.
func (s *Stream) connected(ctx context.Context, do func(context.Context) error) error {
	// Listen for the end of the connection before looking whether it is there.
	ended := s.nc.StatusChanged(nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED, nats.DRAINING_SUBS)
	defer s.nc.RemoveStatusListener(ended)
	if !s.nc.IsConnected() {
		return notConnected(s.nc)
	}
	said := listen(s.nc)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // ends with the listener, which closes the channel
		for range ended {
			cancel(errDisconnected)
		}
	}()
	err := do(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errDisconnected) {
		return errDisconnected
	}
	if err != nil {
		err = said.join(err, s.opts.Subject)
	}
	return err
}

// ask calls do, which waits for an answer of the server, with a time limit.
func ask(ctx context.Context, do func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	err := do(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return errNoAnswer
	}
	return err
}

// ensure creates the stream if there is none, and returns what it is like.
func (s *Stream) ensure(ctx context.Context) (info *jetstream.StreamInfo, err error) {
	err = s.connected(ctx, func(ctx context.Context) error {
		info, err = s.look(ctx)
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return err
		}
		err = ask(ctx, func(ctx context.Context) error {
			_, err := s.js.CreateStream(ctx, s.opts.config())
			return err
		})
		// Another process may have been faster, with other options.
		if err == nil || errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			info, err = s.look(ctx)
		}
		return err
	})
	return info, err
}

// look returns what the stream is like, if it is as it must be.
func (s *Stream) look(ctx context.Context) (info *jetstream.StreamInfo, err error) {
	err = ask(ctx, func(ctx context.Context) error {
		stream, err := s.js.Stream(ctx, s.opts.Stream)
		if err == nil {
			info = stream.CachedInfo()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := s.opts.check(info.Config); err != nil {
		return nil, &unfit{err}
	}
	return info, nil
}
