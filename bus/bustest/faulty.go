package bustest

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/bus"
)

// Fault says how a [Faulty] transport misbehaves on the receiving side. The
// zero value is no fault. Counts are of payloads received, heartbeats included.
type Fault struct {
	Drop       int           // each Drop-th payload is lost in silence
	Duplicate  int           // each Duplicate-th is delivered twice
	Reorder    int           // each Reorder-th is delivered after the one that follows it
	Disconnect int           // at each Disconnect-th the subscription is lost
	Delay      time.Duration // everything is delivered so much later
}

// Faulty is a transport that does to the payloads of another what networks and
// servers do to them. All that it does is allowed by the contract except to
// drop and to reorder, which a subscriber cannot see.
type Faulty struct {
	inner bus.Transport
	fault atomic.Pointer[Fault]
	cut   chan struct{} // has a signal when the subscription is to end; never closed
}

var errDisconnected = errors.New("bustest: subscription was cut")

// lineSize is how many payloads may be delayed at a time.
const lineSize = 1024

// NewFaulty returns a transport that has no fault yet.
func NewFaulty(inner bus.Transport) *Faulty {
	f := &Faulty{inner: inner, cut: make(chan struct{}, 1)}
	f.Set(Fault{})
	return f
}

// Set replaces the fault, from the next payload on.
func (f *Faulty) Set(fault Fault) { f.fault.Store(&fault) }

// Cut ends the running subscription as a lost connection would.
func (f *Faulty) Cut() {
	select {
	case f.cut <- struct{}{}:
	default:
	}
}

// Publish publishes through the inner transport.
func (f *Faulty) Publish(ctx context.Context, payload []byte) error {
	return f.inner.Publish(ctx, payload)
}

// MaxPayload returns that of the inner transport.
func (f *Faulty) MaxPayload() int { return f.inner.MaxPayload() }

// Spreads returns what the inner transport says, false if it says nothing.
func (f *Faulty) Spreads() bool {
	s, ok := f.inner.(bus.Spreading)
	return ok && s.Spreads()
}

// Endpoint returns that of the inner transport, nil if it has none.
func (f *Faulty) Endpoint() any {
	if a, ok := f.inner.(bus.Announcing); ok {
		return a.Endpoint()
	}
	return nil
}

// Channel returns that of the inner transport, nothing if it has none.
func (f *Faulty) Channel() string {
	if a, ok := f.inner.(bus.Announcing); ok {
		return a.Channel()
	}
	return ""
}

// event is one call of a function of the sink, on its way.
type event struct {
	due  time.Time
	call func(*victim)
}

// Receive receives through the inner transport and applies the fault.
func (f *Faulty) Receive(ctx context.Context, sink bus.Sink) error {
	ctx, cancel := context.WithCancel(ctx)
	line := make(chan event, lineSize)
	var err error
	ended := make(chan struct{}) // closed when err is set
	// Ends with ctx; waited for below.
	go func() {
		defer close(ended)
		err = f.inner.Receive(ctx, f.enqueue(ctx, line))
	}()

	v := &victim{faulty: f, sink: sink}
	for {
		select {
		case e := <-line:
			if wait(ctx, time.Until(e.due)) {
				e.call(v)
			}
		case <-ended:
			cancel()
			return err
		case <-f.cut:
			v.disconnected = true
		}
		if v.disconnected {
			cancel()
			<-ended
			return errDisconnected
		}
	}
}

// enqueue returns a sink that puts all calls into the line.
func (f *Faulty) enqueue(ctx context.Context, line chan<- event) bus.Sink {
	put := func(call func(*victim)) {
		select {
		case line <- event{due: time.Now().Add(f.fault.Load().Delay), call: call}:
		case <-ctx.Done():
		}
	}
	return bus.Sink{
		Ready: func() { put(func(v *victim) { v.sink.Ready() }) },
		Gap:   func(reason error) { put(func(v *victim) { v.sink.Gap(reason) }) },
		Deliver: func(payload []byte) {
			payload = bytes.Clone(payload)
			put(func(v *victim) { v.deliver(payload) })
		},
	}
}

// victim is the receiver of one subscription.
type victim struct {
	faulty       *Faulty
	sink         bus.Sink
	count        int
	held         [][]byte // to be delivered after the next payload
	disconnected bool
}

func (v *victim) deliver(payload []byte) {
	fault := v.faulty.fault.Load()
	v.count++
	hit := func(nth int) bool { return nth > 0 && v.count%nth == 0 }
	switch {
	case hit(fault.Disconnect):
		v.disconnected = true
	case hit(fault.Drop):
	case hit(fault.Reorder):
		v.held = append(v.held, payload)
	case hit(fault.Duplicate):
		v.pass(payload)
		v.pass(payload)
	default:
		v.pass(payload)
	}
}

func (v *victim) pass(payload []byte) {
	v.sink.Deliver(payload)
	for _, late := range v.held {
		v.sink.Deliver(late)
	}
	v.held = nil
}

// wait waits and reports whether ctx goes on.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
