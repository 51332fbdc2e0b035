package redisstore

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/nearbus/nearbus/shared/internal/bounded"
)

const (
	// writeLanes is for writes what readLanes is for reads. The script costs more
	// than the request that brings it, so there is less to gain from company.
	writeLanes = 4

	// largeImage is how long an image is that goes alone, whoever waits.
	largeImage = bytesTogether / 4
)

// writeCombiner turns writes, fills and leases of single keys that come at the same
// time into fewer requests. One that is alone goes out at once and as it is. All are
// called writes here.
//
// It has no goroutine: of the writes that travel together, the one whose
// context ends last sends them, and goes on to its deadline even if it is
// canceled, as the client does by itself once it has begun to send. So no write
// fails because of another one's context, and none is ever sent twice: bytes of
// the first time could arrive after a later write of the key.
type writeCombiner struct {
	one  func(ctx context.Context, st step) answer
	many func(ctx context.Context, steps []step) []answer

	patience time.Duration // see there

	mu      sync.Mutex // protects the fields below and writer.left
	busy    int        // lanes taken
	crowded bool       // somebody had company in the last request
	queue   []*writer  // who waits longest first
}

// writer waits for its write.
type writer struct {
	step   step
	end    time.Time      // deadline of its context
	left   bool           // it waits no more
	turn   chan []*writer // has whose writes it is to send, its own among them, or nil once it has its answer
	answer answer
}

// never is a deadline that is later than others.
var never = time.Unix(1<<40, 0)

func newWriter(ctx context.Context, st step) *writer {
	end, ok := ctx.Deadline()
	if !ok {
		end = never
	}
	w := &writer{step: st, end: end, turn: make(chan []*writer, 1)}
	w.answer.Err = errUnanswered
	return w
}

// do carries st out.
func (c *writeCombiner) do(ctx context.Context, st step) answer {
	c.mu.Lock()
	free := c.busy < writeLanes
	if free {
		c.busy++
	}
	if free && !c.crowded {
		c.mu.Unlock()
		defer c.next()
		return c.one(ctx, st)
	}
	me := newWriter(ctx, st)
	c.queue = append(c.queue, me)
	c.mu.Unlock()
	if free {
		// Those who travelled together last time are about to write again.
		runtime.Gosched()
		c.next()
	}
	timer := time.NewTimer(c.patience)
	defer timer.Stop()
	over := bounded.Within(ctx, c.patience)
	for {
		select {
		case all := <-me.turn:
			if all != nil {
				c.send(ctx, all)
			}
			return me.answer
		case <-timer.C:
			if c.leaveQueue(me) {
				return c.one(ctx, st)
			}
			over = ctx.Done()
		case <-over:
			c.leave(me)
			return st.failed(ctx, ctx.Err())
		}
	}
}

// send sends the writes of all who still wait, which is one of them.
func (c *writeCombiner) send(ctx context.Context, all []*writer) {
	c.mu.Lock()
	all = slices.DeleteFunc(all, func(w *writer) bool { return w.left })
	c.mu.Unlock()
	defer func() { // also if the client panics
		for _, w := range all {
			w.turn <- nil // it has room
		}
		c.next()
	}()
	if len(all) == 1 {
		all[0].answer = c.one(ctx, all[0].step)
		return
	}
	steps := make([]step, len(all))
	for i, w := range all {
		steps[i] = w.step
	}
	steady := context.WithoutCancel(ctx)
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		steady, cancel = context.WithDeadline(steady, end)
		defer cancel()
	}
	for i, a := range c.many(steady, steps) {
		all[i].answer = a
	}
}

// next hands a lane on to those who wait longest, or frees it.
func (c *writeCombiner) next() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nextLocked()
}

func (c *writeCombiner) nextLocked() {
	n, bytes := 0, 0
	for n < min(len(c.queue), maxTogether) && bytes < bytesTogether {
		bytes += c.queue[n].step.size()
		n++
	}
	all := c.queue[:n:n]
	c.queue = c.queue[n:]
	if n > 0 {
		c.crowded = n > 1
	}
	c.appointLocked(all)
}

// appointLocked has the one of all whose context ends last send for them.
// Without one it hands the lane on.
func (c *writeCombiner) appointLocked(all []*writer) {
	var last *writer
	for _, w := range all {
		if !w.left && (last == nil || w.end.After(last.end)) {
			last = w
		}
	}
	switch {
	case last != nil:
		last.turn <- all // it has room
	case len(c.queue) > 0:
		c.nextLocked()
	default:
		c.queue = nil
		c.busy--
	}
}

// leaveQueue takes w out of the queue, if it is there still.
func (c *writeCombiner) leaveQueue(w *writer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaveQueueLocked(w)
}

func (c *writeCombiner) leaveQueueLocked(w *writer) bool {
	at := slices.Index(c.queue, w)
	if at < 0 {
		return false
	}
	c.queue = slices.Delete(c.queue, at, at+1)
	return true
}

// leave is called by who waits no more. What it was to send, another sends.
func (c *writeCombiner) leave(w *writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaveQueueLocked(w) {
		return
	}
	w.left = true
	select {
	case all := <-w.turn:
		if all != nil {
			c.appointLocked(all)
		}
	default: // another sends, or has begun to
	}
}

// errUnanswered is what became of a write when the client panicked as it sent
// it for another one: it may arrive yet.
var errUnanswered error = unansweredError{}

// unansweredError is a net.Error, and a timeout.
type unansweredError struct{}

func (unansweredError) Error() string   { return "redisstore: write: the client panicked" }
func (unansweredError) Timeout() bool   { return true }
func (unansweredError) Temporary() bool { return false }
