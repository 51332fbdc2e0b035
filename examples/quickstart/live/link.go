package live

import (
	"context"
	"sync"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
)

// link is the way of one server to the bus, with the faults on it.
type link struct {
	inner    *membus.Transport
	server   int
	switches *switches
	traffic  *traffic
	shown    func(payload []byte) bool // whether a message is one of a write
}

var _ bus.Transport = (*link)(nil)

// Publish tells nobody of a message that is lost, as a connection does of which only the ends
// are left.
func (l *link) Publish(ctx context.Context, payload []byte) error {
	if err := l.switches.runs(ctx, l.server); err != nil {
		return err
	}
	faults := l.switches.now()
	if faults.Bus || faults.Cut[l.server] {
		l.show(payload, hop{From: l.server, To: nowhere, Lost: true})
	}
	switch {
	case faults.Bus:
		return errBusStopped
	case faults.Cut[l.server]:
		return nil
	}
	return l.inner.Publish(ctx, append([]byte{byte(l.server)}, payload...))
}

// Receive implements [bus.Transport]. A server that is cut off cannot subscribe, and a
// subscription that it has goes on without a message.
func (l *link) Receive(ctx context.Context, sink bus.Sink) error {
	reached := func(f *Faults) bool { return f.Bus || !f.Cut[l.server] && !f.Paused[l.server] }
	if err := l.switches.await(ctx, reached); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { // ends with ctx
		if l.switches.await(ctx, func(f *Faults) bool { return f.Bus }) == nil {
			cancel(errBusStopped)
		}
	})
	defer watch.Wait()
	defer cancel(nil)
	deliver := sink.Deliver
	sink.Deliver = func(payload []byte) { l.deliver(ctx, payload, deliver) }
	if err := l.inner.Receive(ctx, sink); ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}

func (l *link) deliver(ctx context.Context, payload []byte, to func([]byte)) {
	if l.switches.runs(ctx, l.server) != nil {
		return
	}
	lost := l.switches.now().Cut[l.server]
	from, payload := int(payload[0]), payload[1:]
	if from != l.server {
		l.show(payload, hop{From: from, To: l.server, Lost: lost})
	}
	if !lost {
		to(payload)
	}
}

// MaxPayload implements [bus.Transport].
func (l *link) MaxPayload() int { return 0 }

func (l *link) show(payload []byte, h hop) {
	if l.shown(payload) {
		l.traffic.add(h)
	}
}
