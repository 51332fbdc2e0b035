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

// BarrierRequest is the question of another process whether all that was sent before it
// has been applied. Answer it with [Bus.Ack].
type BarrierRequest struct {
	incarnation uint64 // of the process that asks
	number      uint64 // which it gave the question
	positions   Positions
}

// Positions returns how far the process that asks knows the journals of its shared tier:
// see [BarrierOptions]. Who knows less has not applied all yet.
func (c BarrierRequest) Positions() Positions { return c.positions }

// Same reports whether c and o are one question, which may have been asked twice.
func (c BarrierRequest) Same(o BarrierRequest) bool {
	return c.incarnation == o.incarnation && c.number == o.number
}

// wait is whom a call of Barrier waits for.
type wait struct {
	sub     *subscription
	goal    goal
	awaited map[uint64]awaited
}

// over has sub, if it is another one, hear of everybody anew.
func (w *wait) over(sub *subscription, now int64) {
	if w.sub != sub {
		w.sub, w.goal = sub, sub.peers.complete(now)
	}
}

// BarrierOptions say what [Bus.Barrier] waits for. The zero value waits for those who are
// known to listen.
type BarrierOptions struct {
	// AtLeast is how many other processes must have answered. Zero means that nobody
	// has to be there.
	AtLeast int

	// Grace is how long after the call a process that fell silent is waited for at
	// least: it must have noticed by itself by then that it hears nothing.
	Grace time.Duration

	// Positions returns how far this process knows the journals of its shared tier. It
	// is called each time before the question is sent, from one goroutine at a time, and
	// must not block. Nil means that the question says nothing of it.
	Positions func() Positions
}

// BarrierError is returned by [Bus.Barrier] when it was given up.
type BarrierError struct {
	// Missing are the names of the processes that have not said that they have
	// applied everything, in their order. It is empty when this process cannot
	// tell who is there, because it cannot hear the channel or began to listen a
	// moment ago, and when only AtLeast is not reached.
	Missing []string

	// Answered is how many other processes have said it, and AtLeast how many had to.
	Answered, AtLeast int

	// Err is why it was given up, usually that of the context.
	Err error
}

// Error names a few of the processes.
func (e *BarrierError) Error() string {
	const most = 8
	switch {
	case len(e.Missing) == 0 && e.Answered < e.AtLeast:
		return fmt.Sprintf("bus: barrier: %d answered, not the %d that were demanded: %v", e.Answered, e.AtLeast, e.Err)
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
	arrivals []BarrierRequest
}

// barrier is one call of Barrier.
type barrier struct {
	number  uint64
	changed chan struct{} // a signal that done or echoes changed; never closed

	done     map[uint64]struct{} // incarnations that answered or left
	answered int                 // of these, those that answered
	echoes   int                 // how often the own question came back: this process hears the channel
	asks     bool                // the question is to be sent
	asked    []uint64            // to these; none means everybody

	extension extension // of the question
}

func (bs *barriers) init() {
	bs.places = make(chan struct{}, maxBarriers)
	bs.wake = make(chan struct{}, 1)
	bs.open = make(map[uint64]*barrier)
}

// Barrier returns nil when every process that listens on the channel has
// applied all that this one published, or had announced by a store, before the
// call. Each must have said so: those that have not are asked again, since
// questions and answers may be lost. Barrier returns how many have.
//
// Who listens is known from heartbeats, and from who answers a question to everybody. A
// process that says goodbye, or stops listening, is not waited for any longer. One that
// falls silent for [Options.HeartbeatTimeout], being asked to say something, is waited for until opts.Grace has passed
// since the call. Who is heard of for the first time meanwhile is waited for as well. For
// a HeartbeatTimeout after the subscription was made, at first or anew, it is not known
// who else listens, and Barrier waits; where heartbeats are rarer, for three intervals of them
// after that, for a HeartbeatTimeout since the call at most. If the subscription breaks meanwhile, what is left of
// that is waited after the break: so Barrier ends also where subscriptions break again and again.
//
// If nobody answers, the question is asked again, after 100 ms, and then it is believed
// that nobody is there: answered is 0, which is no error unless opts.AtLeast says so.
// Processes on another channel, for one of another namespace, are not there.
//
// So it takes a round trip if all is well, and 100 ms for a process that is alone. It
// takes up to HeartbeatTimeout (3 s) in a fresh process, and for a process that died the
// longer of opts.Grace and HeartbeatTimeout + [Options.HeartbeatInterval] (4 s).
//
// When ctx ends first, the error is a [BarrierError] that names who did not
// answer. It is [ErrClosed] after Close. At most 64 calls are under way at a
// time; others wait for their turn.
func (b *Bus) Barrier(ctx context.Context, opts BarrierOptions) (answered int, err error) {
	select {
	case b.barriers.places <- struct{}{}:
		defer func() { <-b.barriers.places }()
	case <-ctx.Done():
		return 0, &BarrierError{AtLeast: opts.AtLeast, Err: ctx.Err()}
	case <-b.ctx.Done():
		return 0, ErrClosed
	}
	w := b.barriers.begin()
	defer b.barriers.end(w)
	began, whom := time.Now(), wait{awaited: make(map[uint64]awaited)}
	ask := time.NewTimer(0)
	defer ask.Stop()
	known := time.NewTimer(opts.Grace) // something may be known then without anybody saying so
	defer known.Stop()
	for pause := firstAsk; ; {
		sub := b.subscriber()
		if sub == nil {
			return 0, b.notListening()
		}
		whom.over(sub, b.moment())
		missing, all, until := b.missing(w, &whom, time.Since(began) >= opts.Grace)
		answered, alone := b.barriers.answers(w)
		if all && len(missing) == 0 && answered >= opts.AtLeast && (answered > 0 || alone) {
			return answered, nil
		}
		if left := opts.Grace - time.Since(began); left > 0 {
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
			b.barriers.ask(w, missing, b.question(sub, missing, opts.Positions))
			ask.Reset(pause)
			pause = min(2*pause, longestAsk)
		case <-ctx.Done():
			return answered, &BarrierError{
				Missing: whom.names(missing), Answered: answered, AtLeast: opts.AtLeast, Err: ctx.Err(),
			}
		case <-b.ctx.Done():
			return answered, ErrClosed
		}
	}
}

// question returns what a question to these, or to everybody, says beside that.
func (b *Bus) question(sub *subscription, asked []uint64, positions func() Positions) extension {
	var e extension
	if positions != nil {
		e.positions = positions()
		e.positions.Known = e.positions.Known[:min(len(e.positions.Known), maxPositions)]
	}
	if here := sub.peers.snapshot(); len(asked) == 0 && len(here) <= maxRoll {
		roll := make([]uint32, 0, len(here))
		for id := range here {
			roll = append(roll, uint32(id))
		}
		e.roll = &roll
	}
	return e
}

// notListening returns why this process does not listen.
func (b *Bus) notListening() error {
	if b.ctx.Err() != nil {
		return ErrClosed
	}
	return errNoSubscriber
}

// names returns the names of these, in their order.
func (w *wait) names(incarnations []uint64) []string {
	names := make([]string, len(incarnations))
	for i, id := range incarnations {
		names[i] = w.awaited[id].node
	}
	slices.Sort(names)
	return names
}

// missing adds to whom who listens, and returns who of these has neither
// answered nor left. It reports whether these are all: this process hears the
// channel, and has for long enough to know who else does. until is how long it is at
// most until there is something else to be found.
func (b *Bus) missing(w *barrier, whom *wait, graceOver bool) (missing []uint64, all bool, until time.Duration) {
	until, stands := whom.sub.peers.left(b.moment(), whom.goal)
	here := whom.sub.peers.snapshot()
	for id, node := range here {
		whom.awaited[id] = awaited{node: node}
	}
	all = until < 0
	if all || !stands {
		until = longestAsk
	}
	b.barriers.mu.Lock()
	defer b.barriers.mu.Unlock()
	for id, who := range whom.awaited {
		if _, done := w.done[id]; done {
			continue
		}
		if _, heard := here[id]; !heard {
			if who.silent.IsZero() {
				who.silent = time.Now()
				whom.awaited[id] = who
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
	return missing, all && w.echoes > 0, until
}

func (bs *barriers) begin() *barrier {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	bs.latest++
	w := &barrier{number: bs.latest, changed: make(chan struct{}, 1), done: make(map[uint64]struct{})}
	bs.open[w.number] = w
	return w
}

// waiting reports whether a call of Barrier is under way.
func (bs *barriers) waiting() bool {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	return len(bs.open) > 0
}

func (bs *barriers) end(w *barrier) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	delete(bs.open, w.number)
}

// answers returns how many have answered w. alone says that nobody did although
// the question, which everybody was asked first, came back twice.
func (bs *barriers) answers(w *barrier) (answered int, alone bool) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	return w.answered, w.answered == 0 && w.echoes > 1
}

// ask has the question sent to these incarnations, or to everybody.
func (bs *barriers) ask(w *barrier, asked []uint64, e extension) {
	bs.mu.Lock()
	w.asks, w.asked, w.extension = true, asked, e
	bs.mu.Unlock()
	signal(bs.wake)
}

// answered takes in that a process has arrived at a barrier of this one.
func (bs *barriers) answered(number, incarnation uint64) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if w := bs.open[number]; w != nil && w.doneLocked(incarnation) {
		w.answered++
	}
}

// wakeAll has all barriers look again who listens.
func (bs *barriers) wakeAll() {
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

// doneLocked reports whether that is news.
func (w *barrier) doneLocked(incarnation uint64) bool {
	_, known := w.done[incarnation]
	if known || len(w.done) >= maxAnswers {
		return false
	}
	w.done[incarnation] = struct{}{}
	signal(w.changed)
	return true
}

// echo takes in that an own question came back.
func (bs *barriers) echo(number uint64) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if w := bs.open[number]; w != nil {
		w.echoes++
		signal(w.changed)
	}
}

// Ack answers call: this process has applied all that was sent before it. It
// does not wait for the answer to be sent, and may be called from a handler. An
// answer that is lost is asked for again.
func (b *Bus) Ack(call BarrierRequest) {
	bs := &b.barriers
	bs.mu.Lock()
	if len(bs.arrivals) < maxArrivals {
		bs.arrivals = append(bs.arrivals, call)
	}
	bs.mu.Unlock()
	signal(bs.wake)
}

// due returns the questions and answers that are to be sent.
func (bs *barriers) due() (questions []barrier, arrivals []BarrierRequest) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	for _, w := range bs.open {
		if w.asks {
			w.asks = false
			questions = append(questions, barrier{number: w.number, asked: w.asked, extension: w.extension})
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
		payload, asked := b.encodeQuestion(sequence, &q)
		at := b.moment()
		if err := b.transmit(payload, b.opts.PublishTimeout); err != nil {
			continue
		}
		if sub := b.subscriber(); sub != nil {
			sub.peers.expect(asked, at)
		}
	}
	for some := range slices.Chunk(arrivals, maxArrivalsSent) {
		_ = b.transmit(encodeArrivals(b.opts.Node, b.incarnation, sequence, some), b.opts.PublishTimeout)
	}
}

// encodeQuestion encodes q. What does not fit is left out: whom it is for, so that
// everybody is asked, and the last of the positions. It returns who is asked by name.
func (b *Bus) encodeQuestion(sequence uint64, q *barrier) (payload []byte, named []uint64) {
	asked, e := q.asked, q.extension
	for {
		payload := encodeBarrier(b.opts.Node, b.incarnation, sequence, q.number, asked, &e)
		known := &e.positions.Known
		switch {
		case len(payload) <= b.bodyLimit():
			return payload, asked
		case len(asked) > 0:
			asked = nil
		case len(*known) > 0:
			*known = (*known)[:len(*known)/2]
		case e.roll != nil:
			e.roll = nil
		default:
			return payload, asked
		}
	}
}

// subscriber returns the subscription, nil if there is none.
func (b *Bus) subscriber() *subscription {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sub
}
