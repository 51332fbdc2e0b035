package natsbus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/nearbus/nearbus/bus"
)

const (
	// batchSize is how many payloads the client may hold for the receiver.
	batchSize = 256

	// pullHeartbeat is how often an idle consumer says that it is there. Two of
	// them may be missing before it is replaced.
	pullHeartbeat = time.Second

	// idleTimeout is when the server removes a consumer that nobody uses, such
	// as that of a process that died.
	idleTimeout = 30 * time.Second

	firstPause   = 20 * time.Millisecond
	longestPause = time.Second
)

// errSkipped says that messages were lost between the server and here.
var errSkipped = errors.New("messages were lost on the way")

// unfit is the reason why a subscription cannot go on where it was: the stream
// does not have what is missing.
type unfit struct{ error }

func (u *unfit) Unwrap() error { return u.error }

// replay delivers a stream to one sink, through one consumer after another.
// Its fields belong to the goroutine of Receive.
//
// The invariant: every message of the stream from the first one after Ready up
// to last has been delivered, once and in order.
type replay struct {
	stream *Stream
	sink   bus.Sink
	ready  bool // Ready was called

	created time.Time // when the stream was, which tells it from one of the same name
	last    uint64    // stream sequence
	stored  time.Time // when the message last was, which tells it from one of the same sequence
	taken   uint64    // sequence of the latest message among those of this consumer
}

// Receive delivers from the end of the stream on. When the connection is lost,
// it waits for it and goes on after the last message delivered, until ctx ends
// or the stream no longer has all that was missed.
func (s *Stream) Receive(ctx context.Context, sink bus.Sink) error {
	r := &replay{stream: s, sink: sink}
	if err := r.begin(ctx); err != nil {
		return failed(ctx, "subscribe", err)
	}
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		last := r.last
		err := s.connected(ctx, r.consume)
		switch {
		case !r.ready:
			return failed(ctx, "subscribe", err)
		case ctx.Err() != nil || !passing(err):
			return failed(ctx, "receive", err)
		case r.last != last:
			pause = firstPause
		}
		if err := s.await(ctx, pause/2+mathrand.N(pause/2)); err != nil {
			return failed(ctx, "receive", err)
		}
	}
}

// passing reports whether err is the kind that waiting heals.
func passing(err error) bool {
	var end *unfit
	var answer jetstream.JetStreamError
	switch {
	case errors.As(err, &end), errors.Is(err, nats.ErrConnectionClosed):
		return false
	case errors.As(err, &answer) && answer.APIError() != nil:
		return answer.APIError().Code >= 500 // That of a server which is just starting.
	}
	return true
}

// await waits for pause, and then for the connection.
func (s *Stream) await(ctx context.Context, pause time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pause):
	}
	changed := s.nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer s.nc.RemoveStatusListener(changed)
	for !s.nc.IsConnected() {
		if s.nc.IsClosed() {
			return nats.ErrConnectionClosed
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
	return nil
}

// begin notes where the stream ends.
func (r *replay) begin(ctx context.Context) error {
	info, err := r.stream.ensure(ctx)
	if err != nil {
		return err
	}
	r.created, r.last, r.stored = info.Created, info.State.LastSeq, info.State.LastTime
	return nil
}

// consume delivers through a new consumer until that is of no more use.
func (r *replay) consume(ctx context.Context) error {
	name := "nearbus-" + rand.Text()
	defer r.stream.remove(name)
	consumer, err := r.stream.consumer(ctx, name, r.last)
	if err != nil {
		return err
	}
	// A stream made anew after this look has taken the consumer with it.
	if err := r.compare(ctx); err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(batchSize), jetstream.PullHeartbeat(pullHeartbeat))
	if err != nil {
		return err
	}
	defer messages.Stop()
	if !r.ready {
		r.ready = true
		r.sink.Ready()
	}
	for r.taken = 0; ; {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err == nil {
			err = ctx.Err() // Next chooses between a message and the end.
		}
		if err == nil {
			err = r.take(m)
		}
		if err != nil {
			return err
		}
	}
}

// consumer makes a consumer that begins with the message last, which shows
// whether it is the same one still.
func (s *Stream) consumer(ctx context.Context, name string, last uint64) (c jetstream.Consumer, err error) {
	err = ask(ctx, func(ctx context.Context) error {
		c, err = s.js.CreateConsumer(ctx, s.opts.Stream, jetstream.ConsumerConfig{
			Name:              name,
			DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
			OptStartSeq:       max(last, 1),
			AckPolicy:         jetstream.AckNonePolicy,
			InactiveThreshold: idleTimeout,
			MemoryStorage:     true,
			Replicas:          1,
		})
		return err
	})
	return c, err
}

// remove tells the server to remove a consumer and does not wait for the
// answer, which may never come. While the connection is lost, the client sends
// it later, and otherwise the server removes what is idle.
func (s *Stream) remove(name string) {
	_ = s.nc.Publish(jetstream.DefaultAPIPrefix+"CONSUMER.DELETE."+s.opts.Stream+"."+name, nil)
}

// compare returns an error if the stream has not all that follows last.
func (r *replay) compare(ctx context.Context) error {
	info, err := r.stream.look(ctx)
	if err != nil {
		return err
	}
	name, state := r.stream.opts.Stream, info.State
	switch {
	case !info.Created.Equal(r.created):
		return &unfit{fmt.Errorf("stream %q was deleted and created again", name)}
	case state.LastSeq < r.last:
		return &unfit{fmt.Errorf("stream %q went back from message %d to %d", name, r.last, state.LastSeq)}
	case state.FirstSeq > r.last+1:
		return r.hole(state.FirstSeq)
	}
	return nil
}

// take delivers a message if it is the next one.
func (r *replay) take(m jetstream.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	skipped := meta.Sequence.Consumer != r.taken+1
	r.taken = meta.Sequence.Consumer
	sequence := meta.Sequence.Stream
	switch {
	case skipped:
		return errSkipped
	case sequence == r.last && r.taken == 1:
		if !meta.Timestamp.Equal(r.stored) {
			return &unfit{fmt.Errorf("stream %q has another message %d than before", r.stream.opts.Stream, sequence)}
		}
		return nil
	case sequence != r.last+1:
		return r.hole(sequence)
	}
	r.last, r.stored = sequence, meta.Timestamp
	r.sink.Deliver(m.Data())
	return nil
}

func (r *replay) hole(next uint64) error {
	return &unfit{fmt.Errorf("stream %q has no message %d any more, the next one is %d",
		r.stream.opts.Stream, r.last+1, next)}
}
