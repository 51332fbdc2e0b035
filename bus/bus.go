package bus

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
)

// Bus tells every process that listens on the channel of its [Transport] what
// changed, and hears what the others changed. It is safe for use by many
// goroutines. The package comment says what it promises.
type Bus struct {
	transport   Transport
	announcing  Announcing // nil if no store can announce for this bus
	opts        Options
	incarnation uint64
	start       time.Time
	latest      atomic.Int64 // moment that was returned last
	about       atomic.Pointer[About]
	said        atomic.Int64 // interval that the latest heartbeat says, or would

	ctx    context.Context // ends with Close, with the values of Options.Background; for the goroutines
	cancel context.CancelFunc
	done   sync.WaitGroup // the sender

	outbox   outbox
	barriers barriers
	asking   asking
	rollCall rollCall
	wake     chan struct{} // the outbox has something; never closed
	beat     chan struct{} // a heartbeat is wanted at once; never closed

	mu     sync.Mutex // protects the following fields; taken with no other lock held
	closed bool
	sub    *subscription

	counters
}

// New returns a Bus that sends and receives through transport. It does not
// wait for a server. From now on it sends heartbeats; it receives once
// [Bus.Subscribe] is called. Call [Bus.Close] when done.
func New(transport Transport, opts Options) (*Bus, error) {
	if isNil(transport) {
		return nil, errors.New("bus: New: transport is nil")
	}
	opts = opts.withDefaults()
	if err := opts.validate(); err != nil {
		return nil, err
	}
	b := &Bus{
		transport:   transport,
		opts:        opts,
		incarnation: newIncarnation(),
		start:       time.Now(),
		outbox:      outbox{maxBatch: opts.MaxBatch, size: opts.QueueSize},
		wake:        make(chan struct{}, 1),
		beat:        make(chan struct{}, 1),
	}
	if a, ok := transport.(Announcing); ok && a.Endpoint() != nil {
		b.announcing = a
	}
	b.barriers.init()
	b.asking.wake = make(chan struct{}, 1)
	b.rollCall.init()
	b.ctx, b.cancel = context.WithCancel(context.WithoutCancel(opts.Background))
	b.done.Go(b.send) // ends with ctx; Close waits
	return b, nil
}

func isNil(t Transport) bool {
	if t == nil {
		return true
	}
	v := reflect.ValueOf(t)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

// newIncarnation returns a number other than 0, which stands for nobody.
func newIncarnation() uint64 {
	for {
		if n := rand.Uint64(); n != 0 {
			return n
		}
	}
}

// Publish tells every subscriber, this process included, what changed. It
// returns nil when the server has all of it. When Publish returns an error, any
// part of invs may have been sent or may still be, for HeartbeatTimeout; or the
// others will have a gap.
//
// Publish sends at once when nothing is being sent. Otherwise the invalidations
// go with the next message, together with those of other callers, or when the
// queue is full, as soon as there is room. More than one message can carry are
// sent in several, in order, up to the first that fails.
//
// The error is [ErrInvalid] for something that cannot be sent, [ErrReadOnly],
// [ErrClosed], or that of ctx when it ended first; otherwise it wraps the error of
// the transport. It may be that of an earlier message, behind which this one waits.
func (b *Bus) Publish(ctx context.Context, invs ...Invalidation) error {
	if b.opts.ReadOnly {
		return ErrReadOnly
	}
	for i := range invs {
		if err := invs[i].check(); err != nil {
			return err
		}
	}
	for len(invs) > 0 {
		n, err := b.publishSome(ctx, invs)
		if err != nil {
			return err
		}
		invs = invs[n:]
	}
	return nil
}

// publishSome sends the first n of invs in one message.
func (b *Bus) publishSome(ctx context.Context, invs []Invalidation) (n int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	p, n, err := b.outbox.add(ctx, invs, b.bodyLimit())
	if err != nil {
		return 0, err
	}
	signal(b.wake)
	select {
	case <-p.done:
		return n, p.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// bodyLimit returns the largest length of a batch's body. The transport is
// asked each time, since a client may learn its limit from the server late.
func (b *Bus) bodyLimit() int {
	limit := maxPayload
	if most := b.transport.MaxPayload(); most > 0 {
		limit = min(limit, most)
	}
	return limit
}

// Subscribe starts receiving and calls the functions of h from now on. It does
// not wait for the server: h.Ready says when the subscription stands. Apply and
// Gap must be set. The error is [ErrSubscribed] when there is a subscriber and
// [ErrClosed] after Close.
func (b *Bus) Subscribe(h Handler) error {
	if h.Apply == nil || h.Gap == nil {
		return errors.New("bus: Subscribe: Handler.Apply and Handler.Gap must be set")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return ErrClosed
	case b.sub != nil:
		return ErrSubscribed
	}
	b.sub = newSubscription(b, h)
	signal(b.beat) // says that this process listens from now on
	return nil
}

// Unsubscribe stops receiving. When it returned, no function of the handler
// runs or will be called. It must not be called by one of them. Afterwards
// there may be another Subscribe.
func (b *Bus) Unsubscribe() {
	b.mu.Lock()
	sub := b.sub
	b.mu.Unlock()
	if sub == nil {
		return
	}
	sub.stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sub == sub {
		b.sub = nil
		signal(b.beat) // says that this process does not listen any more
	}
}

// Announcement returns the message that a store is to publish in the same step
// as the write that inv tells of. The store replaces the 16 bytes at revisionAt
// with epoch and number of the revision, big endian. Whether a store can do
// that for this bus says [Bus.Endpoint]; where none can, and for an inv that
// Publish would refuse, the payload is nil.
func (b *Bus) Announcement(inv Invalidation) (channel string, payload []byte, revisionAt int) {
	if b.announcing == nil || b.opts.ReadOnly || inv.check() != nil {
		return "", nil, 0
	}
	payload = make([]byte, 0, frameSize+minItemSize+len(inv.Cache)+len(inv.Key)+2)
	payload = appendHeader(payload, typeInvalidations, b.opts.Node, b.incarnation, 0)
	payload = binary.AppendUvarint(payload, 1)
	revisionAt = len(payload) + 1
	return b.announcing.Channel(), appendItem(payload, &inv, ""), revisionAt
}

// Endpoint returns what the transport's [Announcing] returns, nil if it has
// none.
func (b *Bus) Endpoint() any {
	if b.announcing == nil {
		return nil
	}
	return b.announcing.Endpoint()
}

// Namespace returns the namespace of the transport, "" if it has none or does not tell it.
func (b *Bus) Namespace() string {
	if n, ok := b.transport.(Named); ok {
		return n.Namespace()
	}
	return ""
}

// HeartbeatInterval returns [Options.HeartbeatInterval].
func (b *Bus) HeartbeatInterval() time.Duration { return b.opts.HeartbeatInterval }

// Incarnation returns the number by which messages of this Bus are told from
// those of any other, earlier ones of the same node included.
func (b *Bus) Incarnation() uint64 { return b.incarnation }

// Close ends the Bus. Calls of Publish that wait return ErrClosed, and a
// subscriber is told of one last gap, with ErrClosed as its reason. When Close
// returned, no function of the handler runs or will be called; it must not be
// called by one of them. It may be called at any time, also twice, and does not
// close the client of the transport.
func (b *Bus) Close() error {
	b.mu.Lock()
	b.closed = true
	sub := b.sub
	b.mu.Unlock()

	b.cancel()
	b.outbox.close()
	if sub != nil {
		sub.stop()
	}
	b.done.Wait()
	return nil
}

// moment returns the time since the Bus was made, a little more where that is
// needed to make each moment later than all that were returned before: so of a
// heartbeat and a loss it is always known which came first.
func (b *Bus) moment() int64 {
	for {
		latest := b.latest.Load()
		now := max(int64(time.Since(b.start)), latest+1)
		if b.latest.CompareAndSwap(latest, now) {
			return now
		}
	}
}

// age returns how long ago a moment was. The moment may come from outside.
func (b *Bus) age(moment int64) (age time.Duration, ok bool) {
	if moment <= 0 || moment > b.latest.Load() {
		return 0, false
	}
	return max(0, time.Since(b.start)-time.Duration(moment)), true
}

// signal leaves a signal in a channel with room for one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
