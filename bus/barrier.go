package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	maxBarriers = 64           // calls of Barrier that are under way at a time; others wait
	maxArrivals = 4096         // answers that wait to be sent; the one who asked asks again
	maxAnswers  = 2 * maxPeers // processes whose answers one Barrier remembers

	// Pauses before those who have not answered are asked again: the question
	// or the answer may be lost.
	firstAsk   = 100 * time.Millisecond
	longestAsk = time.Second

	minWait = time.Millisecond // between two looks without news

	// leeway is how long a process that fell silent is waited for at least once that
	// was noticed: if it is only cut off it notices so at about the same time, and
	// then has something to do.
	leeway = 100 * time.Millisecond
)

// awaited is a process that is to answer a barrier.
type awaited struct {
	node   string
	silent time.Time // when that was noticed; zero while it is heard of
}

// Call is the question of another process whether all that was sent before it
// has been applied. Answer it with [Bus.Arrive].
type Call struct {
	incarnation uint64 // of the process that asks
	number      uint64 // which it gave the question
}

// BarrierError is returned by [Bus.Barrier] when it was given up.
type BarrierError struct {
	// Missing are the names of the processes that have not said that they have
	// applied everything, in their order. It is empty when this process cannot
	// tell who is there, because it cannot hear the channel or began to listen a
	// moment ago.
	Missing []string

	// Err is why it was given up, usually that of the context.
	Err error
}

// Error names a few of the processes.
func (e *BarrierError) Error() string {
	const most = 8
	switch {
	case len(e.Missing) == 0:
		return fmt.Sprintf("bus: barrier: it is not known who listens: %v", e.Err)
	case len(e.Missing) > most:
		return fmt.Sprintf("bus: barrier: no answer from %s and %d more: %v",
			strings.Join(e.Missing[:most], ", "), len(e.Missing)-most, e.Err)
	}
	return fmt.Sprintf("bus: barrier: no answer from %s: %v", strings.Join(e.Missing, ", "), e.Err)
}

// Unwrap returns Err.
func (e *BarrierError) Unwrap() error { return e.Err }

var errNoSubscriber = errors.New("bus: barrier: this process does not listen")

// barriers are the questions of this process that are not settled yet, and its
// answers to others that are not sent yet.
type barriers struct {
	places chan struct{} // holds one element for each call of Barrier
	wake   chan struct{} // there is something to send; never closed

	mu       sync.Mutex // protects the following fields, and those of open barriers
	latest   uint64
	open     map[uint64]*barrier
	arrivals []Call
}

// barrier is one call of Barrier.
type barrier struct {
	number  uint64
	changed chan struct{} // a signal that done or echoed changed; never closed

	done   map[uint64]struct{} // incarnations that answered or left
	echoed bool                // the own question came back: this process hears the channel
	asks   bool                // the question is to be sent
	asked  []uint64            // to these; none means everybody
}

func (bs *barriers) init() {
	bs.places = make(chan struct{}, maxBarriers)
	bs.wake = make(chan struct{}, 1)
	bs.open = make(map[uint64]*barrier)
}

// Barrier returns nil when every process that listens on the channel has
// applied all that this one published, or had announced by a store, before the
// call. Each must have said so: those that have not are asked again, since
// questions and answers may be lost.
//
// Who listens is known from heartbeats. A process that says goodbye, or stops
// listening, is not waited for any longer. One that falls silent for
// [Options.HeartbeatTimeout] is waited for until grace has passed since the
// call, within which it must have noticed by itself that it hears nothing. Who
// is heard of for the first time meanwhile is waited for as well. For a
// HeartbeatTimeout after the subscription was made, at first or anew, it is not
// known who else listens, and Barrier waits.
//
// So it takes a round trip if all is well. It takes up to HeartbeatTimeout (3 s) in
// a fresh process, and for a process that died the longer of grace and
// HeartbeatTimeout + [Options.HeartbeatInterval] (4 s).
//
// When ctx ends first, the error is a [BarrierError] that names who did not
// answer. It is [ErrClosed] after Close. At most 64 calls are under way at a
// time; others wait for their turn.
func (b *Bus) Barrier(ctx context.Context, grace time.Duration) error {
	select {
	case b.barriers.places <- struct{}{}:
		defer func() { <-b.barriers.places }()
	case <-ctx.Done():
		return &BarrierError{Err: ctx.Err()}
	case <-b.ctx.Done():
		return ErrClosed
	}
	w := b.barriers.begin()
	defer b.barriers.end(w)
	began, waiting := time.Now(), make(map[uint64]awaited)
	ask := time.NewTimer(0)
	defer ask.Stop()
	known := time.NewTimer(grace) // something may be known then without anybody saying so
	defer known.Stop()
	for pause := firstAsk; ; {
		sub := b.subscriber()
		if sub == nil {
			return b.notListening()
		}
		missing, all, until := b.missing(w, sub, waiting, time.Since(began) >= grace)
		if all && len(missing) == 0 {
			return nil
		}
		if left := grace - time.Since(began); left > 0 {
			until = min(until, left)
		}
		known.Reset(max(until, minWait))
		select {
		case <-w.changed:
		case <-known.C:
		case <-ask.C:
			if !all {
				missing = nil // there may be others
			}
			b.barriers.ask(w, missing)
			ask.Reset(pause)
			pause = min(2*pause, longestAsk)
		case <-ctx.Done():
			return &BarrierError{Missing: namesOf(missing, waiting), Err: ctx.Err()}
		case <-b.ctx.Done():
			return ErrClosed
		}
	}
}

// notListening returns why this process does not listen.
func (b *Bus) notListening() error {
	if b.ctx.Err() != nil {
		return ErrClosed
	}
	return errNoSubscriber
}

func namesOf(incarnations []uint64, waiting map[uint64]awaited) []string {
	missing := make([]string, len(incarnations))
	for i, id := range incarnations {
		missing[i] = waiting[id].node
	}
	slices.Sort(missing)
	return missing
}

// missing adds to waiting who listens, and returns who of waiting has neither
// answered nor left. It reports whether these are all: this process hears the
// channel, and for long enough to know who else does. until is how long it is at
// most until there is something else to be found.
func (b *Bus) missing(w *barrier, sub *subscription, waiting map[uint64]awaited, graceOver bool) (missing []uint64, all bool, until time.Duration) {
	here, until := sub.peers.roll(b.moment())
	for id, node := range here {
		waiting[id] = awaited{node: node}
	}
	all = until < 0
	if all {
		until = longestAsk
	}
	b.barriers.mu.Lock()
	defer b.barriers.mu.Unlock()
	for id, who := range waiting {
		if _, done := w.done[id]; done {
			continue
		}
		if _, heard := here[id]; !heard {
			if who.silent.IsZero() {
				who.silent = time.Now()
				waiting[id] = who
			}
			left := leeway - time.Since(who.silent)
			switch {
			case left > 0:
				until = min(until, left)
			case graceOver:
				continue
			}
		}
		missing = append(missing, id)
	}
	slices.Sort(missing)
	return missing, all && w.echoed, until
}

func (bs *barriers) begin() *barrier {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	bs.latest++
	w := &barrier{number: bs.latest, changed: make(chan struct{}, 1), done: make(map[uint64]struct{})}
	bs.open[w.number] = w
	return w
}

func (bs *barriers) end(w *barrier) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	delete(bs.open, w.number)
}

// ask has the question sent to these incarnations, or to everybody.
func (bs *barriers) ask(w *barrier, asked []uint64) {
	bs.mu.Lock()
	w.asks, w.asked = true, asked
	bs.mu.Unlock()
	signal(bs.wake)
}

// answered takes in that a process has arrived at a barrier of this one.
func (bs *barriers) answered(number, incarnation uint64) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if w := bs.open[number]; w != nil {
		w.doneLocked(incarnation)
	}
}

// stir has all barriers look again who listens.
func (bs *barriers) stir() {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	for _, w := range bs.open {
		signal(w.changed)
	}
}

// left takes in that a process has said that it does not listen any more.
func (bs *barriers) left(incarnation uint64) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	for _, w := range bs.open {
		w.doneLocked(incarnation)
	}
}

func (w *barrier) doneLocked(incarnation uint64) {
	if len(w.done) < maxAnswers {
		w.done[incarnation] = struct{}{}
		signal(w.changed)
	}
}

// echo takes in that an own question came back.
func (bs *barriers) echo(number uint64) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if w := bs.open[number]; w != nil && !w.echoed {
		w.echoed = true
		signal(w.changed)
	}
}

// Arrive answers call: this process has applied all that was sent before it. It
// does not wait for the answer to be sent, and may be called from a handler. An
// answer that is lost is asked for again.
func (b *Bus) Arrive(call Call) {
	bs := &b.barriers
	bs.mu.Lock()
	if len(bs.arrivals) < maxArrivals {
		bs.arrivals = append(bs.arrivals, call)
	}
	bs.mu.Unlock()
	signal(bs.wake)
}

// due returns the questions and answers that are to be sent.
func (bs *barriers) due() (questions []barrier, arrivals []Call) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	for _, w := range bs.open {
		if w.asks {
			w.asks = false
			questions = append(questions, barrier{number: w.number, asked: w.asked})
		}
	}
	arrivals, bs.arrivals = bs.arrivals, nil
	return questions, arrivals
}

// maxArrivalsSent is how many answers go in one message.
const maxArrivalsSent = 1024

// sendCalls sends questions and answers. It ignores errors: what was lost is
// asked for again.
func (b *Bus) sendCalls(sequence uint64) {
	questions, arrivals := b.barriers.due()
	for _, q := range questions {
		payload := encodeBarrier(b.opts.Node, b.incarnation, sequence, q.number, q.asked)
		if len(payload) > b.bodyLimit() {
			payload = encodeBarrier(b.opts.Node, b.incarnation, sequence, q.number, nil)
		}
		_ = b.transmit(payload, b.opts.PublishTimeout)
	}
	for some := range slices.Chunk(arrivals, maxArrivalsSent) {
		_ = b.transmit(encodeArrivals(b.opts.Node, b.incarnation, sequence, some), b.opts.PublishTimeout)
	}
}

// subscriber returns the subscription, nil if there is none.
func (b *Bus) subscriber() *subscription {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sub
}
