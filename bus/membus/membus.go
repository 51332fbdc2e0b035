// Package membus is a bus within one process: for tests, examples, and programs with a
// fleet inside.
//
//	hub := membus.NewHub()
//	one, err := bus.New(hub.Join(), bus.Options{})
//	two, err := bus.New(hub.Join(), bus.Options{})
//
// Order: all receivers of a hub get all payloads in the same order, the order of the
// calls of Publish. Loss: a receiver with a lag of more than 1024 payloads loses new
// payloads, and is told in their place. Publishers never wait for receivers. Nothing is
// delivered twice, and a subscription ends only with its context. There is nothing to
// close: a hub keeps no goroutine, and forgets a receiver when Receive returns.
package membus

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"github.com/nearbus/nearbus/bus"
)

const queueSize = 1024

var errOverflow = errors.New("membus: receiver is too slow, messages were dropped")

// Hub connects the transports that joined it. Hubs do not hear each other.
type Hub struct {
	mu     sync.Mutex // protects the following field and the queues in it
	queues map[*queue]struct{}
}

// queue holds what one receiver has yet to take. It is guarded by Hub.mu.
type queue struct {
	payloads [][]byte
	overflow bool          // payloads were dropped after those in the queue
	filled   chan struct{} // has a signal when there is something; never closed
}

// NewHub returns a hub that nobody has joined.
func NewHub() *Hub {
	return &Hub{queues: make(map[*queue]struct{})}
}

// Join returns a new transport that is connected to all others of the hub.
func (h *Hub) Join() *Transport {
	return &Transport{hub: h}
}

// Transport is the [bus.Transport] of one member of a [Hub].
type Transport struct {
	hub *Hub
}

var _ bus.Transport = (*Transport)(nil)

// Publish hands a copy of payload to all receivers. It does not wait for them.
func (t *Transport) Publish(ctx context.Context, payload []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	payload = bytes.Clone(payload)
	t.hub.mu.Lock()
	defer t.hub.mu.Unlock()
	for q := range t.hub.queues {
		q.putLocked(payload)
	}
	return nil
}

// Receive delivers until ctx ends. Too slow a receiver is told through
// sink.Gap.
func (t *Transport) Receive(ctx context.Context, sink bus.Sink) error {
	q := t.hub.enter()
	defer t.hub.leave(q)
	sink.Ready()
	var payloads [][]byte
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-q.filled:
		}
		var overflow bool
		payloads, overflow = t.hub.swap(q, payloads)
		for _, payload := range payloads {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			sink.Deliver(payload)
		}
		if overflow {
			sink.Gap(errOverflow)
		}
	}
}

// MaxPayload returns 0: there is no limit.
func (t *Transport) MaxPayload() int { return 0 }

func (h *Hub) enter() *queue {
	q := &queue{filled: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.queues[q] = struct{}{}
	return q
}

func (h *Hub) leave(q *queue) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.queues, q)
}

// swap takes what is in the queue and leaves it the slice that was used before.
func (h *Hub) swap(q *queue, used [][]byte) (payloads [][]byte, overflow bool) {
	clear(used)
	h.mu.Lock()
	defer h.mu.Unlock()
	payloads, overflow = q.payloads, q.overflow
	q.payloads, q.overflow = used[:0], false
	return payloads, overflow
}

func (q *queue) putLocked(payload []byte) {
	if len(q.payloads) < queueSize {
		q.payloads = append(q.payloads, payload)
	} else {
		q.overflow = true
	}
	select {
	case q.filled <- struct{}{}:
	default:
	}
}
