package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/bus"
)

// messageFaults counts what happened to messages on their way in.
type messageFaults struct {
	Dropped, Repeated, Delayed, Blocked uint64
}

// faultyTransport loses, repeats, delays and so reorders messages that come
// from a bus, when told to.
type faultyTransport struct {
	bus.Transport
	death   *death
	harming atomic.Bool
	blocked atomic.Int64 // how long the receiver is to stand still, once

	mu sync.Mutex // protects the following field
	n  messageFaults
}

const longestDelay = 2 * time.Second

func newFaultyTransport(t bus.Transport, d *death) *faultyTransport {
	return &faultyTransport{Transport: t, death: d}
}

func (f *faultyTransport) Spreads() bool {
	s, ok := f.Transport.(bus.Spreading)
	return ok && s.Spreads()
}

func (f *faultyTransport) Publish(ctx context.Context, payload []byte) error {
	f.death.at("announcing")
	err := f.Transport.Publish(ctx, payload)
	if err == nil {
		f.death.at("announced")
	}
	return err
}

func (f *faultyTransport) counts() messageFaults {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

func (f *faultyTransport) Receive(ctx context.Context, sink bus.Sink) error {
	ctx, cancel := context.WithCancel(ctx)
	var late sync.WaitGroup
	defer late.Wait()
	defer cancel()
	var mu sync.Mutex // serializes deliver
	deliver := sink.Deliver
	sink.Deliver = func(payload []byte) {
		if d := f.blocked.Swap(0); d > 0 {
			f.note(func(n *messageFaults) { n.Blocked++ })
			time.Sleep(time.Duration(d))
		}
		times, delay := f.fate()
		if delay > 0 {
			kept := append([]byte(nil), payload...)
			late.Go(func() { // ends with Receive
				select {
				case <-time.After(delay):
					mu.Lock()
					defer mu.Unlock()
					if ctx.Err() == nil {
						deliver(kept)
					}
				case <-ctx.Done():
				}
			})
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for range times {
			deliver(payload)
		}
	}
	return f.Transport.Receive(ctx, sink)
}

// fate decides how often and when a message arrives.
func (f *faultyTransport) fate() (times int, delay time.Duration) {
	if !f.harming.Load() {
		return 1, 0
	}
	switch rand.IntN(5) {
	case 0:
		f.note(func(n *messageFaults) { n.Dropped++ })
		return 0, 0
	case 1:
		f.note(func(n *messageFaults) { n.Repeated++ })
		return 2, 0
	case 2:
		f.note(func(n *messageFaults) { n.Delayed++ })
		return 1, rand.N(longestDelay)
	default:
		return 1, 0
	}
}

func (f *faultyTransport) note(count func(*messageFaults)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	count(&f.n)
}
