package redisstore

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/nearbus/nearbus/shared/internal/bounded"
)

// gathering is how often a batch lets other goroutines run before it departs: those who
// travelled together last time are about to ask again.
const gathering = 3

// combiner turns requests for single keys that come at the same time into fewer: reads into
// an MGET, writes, fills and leases into a pipeline. How many are under way at a time, and
// how much is in each, follows from what was measured, see pace.
//
// A request that is alone goes out at once and as it is, on its caller's context. A batch is
// sent by the goroutine of a lane, on a context of its own that ends when the last of its
// callers has no time left. So no request fails because of another one's context, and a
// caller in a hurry costs the others neither the answer nor the connection, which the client
// closes when a context ends before the answer.
type combiner[Q any, A outcome] struct {
	one  func(ctx context.Context, q Q) A
	many func(ctx context.Context, qs []Q) []A
	fail func(ctx context.Context, q Q, err error) A // the answer to who gets none
	size func(q Q) int                               // about how many bytes q sends

	// again is the policy. Reads may be sent again: if a batch of them is not answered, each
	// goes alone, and if nobody waits for it any more, it is canceled. Nothing else is ever
	// sent twice: bytes of the first time could arrive after a later write of the key.
	again bool

	mu      sync.Mutex // protects the fields below and those of batches
	pace    pace
	busy    int // lanes taken
	crowded bool
	mean    int            // about how long answers are, in bytes
	queue   []*batch[Q, A] // oldest first; the last one takes more
	heard   time.Time      // when the last answer came
}

// outcome is the answer to a request.
type outcome interface {
	failure() error
	size() int // bytes, about
}

// do carries q out.
func (c *combiner[Q, A]) do(ctx context.Context, q Q) A {
	c.mu.Lock()
	company := c.crowded || c.busy >= c.pace.few
	if c.busy < c.pace.most && (!company || full(1, c.weigh(q))) {
		c.busy++
		c.mu.Unlock()
		return c.alone(ctx, q)
	}
	b, place := c.joinLocked(ctx, q)
	c.nextLocked()
	c.mu.Unlock()
	select {
	case <-b.news:
	case <-bounded.Within(ctx, b.patience): // which began when b did
		c.leave(b, place)
		return c.fail(ctx, q, ctx.Err())
	}
	if b.done != nil {
		select {
		case <-b.done:
		case <-ctx.Done():
			c.leave(b, place)
			return c.fail(ctx, q, ctx.Err())
		}
	}
	if b.apart {
		return c.one(ctx, q)
	}
	return b.answers[b.slots[place].at]
}

// alone carries q out in a lane of its own.
func (c *combiner[Q, A]) alone(ctx context.Context, q Q) (a A) {
	began, answered := time.Now(), false
	defer func() { // also if the client panics
		c.mu.Lock()
		defer c.mu.Unlock()
		if answered && a.failure() == nil {
			c.learnLocked(began, c.weigh(q), a)
		}
		c.busy--
		c.nextLocked()
	}()
	a = c.one(ctx, q)
	answered = true
	return a
}

// weigh returns about how many bytes q moves.
func (c *combiner[Q, A]) weigh(q Q) int { return c.size(q) + c.mean }

// joinLocked adds q to the last batch, or to a new one if that is full. While there are
// connections, batches are small.
func (c *combiner[Q, A]) joinLocked(ctx context.Context, q Q) (b *batch[Q, A], place int) {
	limit, weight := smallBatch, c.weigh(q)
	if c.busy >= c.pace.most {
		limit = c.pace.bytes()
	}
	if n := len(c.queue); n > 0 && len(c.queue[n-1].slots) < maxTogether && c.queue[n-1].bytes+weight <= limit {
		b = c.queue[n-1]
	} else {
		b = newBatch[Q, A](ctx, c.pace.patience())
		b.timer = time.AfterFunc(b.patience, func() { c.expire(b) })
		c.queue = append(c.queue, b)
	}
	return b, b.add(ctx, q, weight)
}

// nextLocked gives a lane to those who wait longest, if one is free.
func (c *combiner[Q, A]) nextLocked() {
	if b := c.oldestLocked(); b != nil {
		go c.lane(b) // ends when nobody waits
	}
}

// oldestLocked takes a lane for those who wait longest, nil if there is none or nobody. Who
// has all the company that there can be waits only for a connection.
func (c *combiner[Q, A]) oldestLocked() *batch[Q, A] {
	for _, b := range c.queue {
		if b.led {
			continue
		}
		lanes := c.pace.lanes()
		if full(len(b.slots), b.bytes) {
			lanes = c.pace.most
		}
		if c.busy >= lanes {
			return nil
		}
		b.led = true
		c.busy++
		return b
	}
	return nil
}

// full reports whether n requests, which move so many bytes, have no room for another one.
func full(n, bytes int) bool { return n >= maxTogether || bytes+bytes/n > smallBatch }

// lane sends one batch after the other, b first. It ends when nobody waits, or with a batch
// that nobody waits for any more.
func (c *combiner[Q, A]) lane(b *batch[Q, A]) {
	for b != nil {
		if ctx, qs := c.depart(b); ctx != nil {
			c.send(ctx, b, qs)
		}
		c.mu.Lock()
		if b.lost {
			c.mu.Unlock()
			return
		}
		c.busy--
		b = c.oldestLocked()
		c.mu.Unlock()
	}
}

// depart ends the time in which others may join b, and returns what is to be sent for those
// who have not left, and its context; nil if nobody is left.
func (c *combiner[Q, A]) depart(b *batch[Q, A]) (context.Context, []Q) {
	for range gathering {
		runtime.Gosched()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropLocked(b)
	if b.over {
		return nil, nil
	}
	c.crowded = len(b.slots) > 1
	return b.depart()
}

// dropLocked takes b out of the queue, if it is in it.
func (c *combiner[Q, A]) dropLocked(b *batch[Q, A]) {
	c.queue = slices.DeleteFunc(c.queue, func(queued *batch[Q, A]) bool { return queued == b })
}

// send sends b, which has left the queue. If the client panics, reads go alone, and meet
// that where it can be told; what became of the others is not known.
func (c *combiner[Q, A]) send(ctx context.Context, b *batch[Q, A], qs []Q) {
	var answers []A
	began := time.Now()
	defer func() {
		apart := c.again
		if answers == nil {
			_ = recover() // of the client
			for _, q := range qs {
				answers = append(answers, c.fail(ctx, q, errUnanswered))
			}
		} else {
			err := answers[0].failure()
			apart = apart && ended(err) && ctx.Err() == nil // of a call that had the connection before
		}
		c.end(b, began, answers, apart)
	}()
	if len(qs) > 1 {
		answers = c.many(ctx, qs)
	} else {
		answers = []A{c.one(ctx, qs[0])}
	}
}

// ended reports whether err says that a context ended.
func ended(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// end tells those who wait for b what became of it, unless they have been told.
func (c *combiner[Q, A]) end(b *batch[Q, A], began time.Time, answers []A, apart bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if answers[0].failure() == nil {
		c.learnLocked(began, b.bytes, answers...)
	}
	b.answers = answers
	b.endLocked(apart)
}

// learnLocked takes in that a request that began then, and moved about so many bytes, was
// answered.
func (c *combiner[Q, A]) learnLocked(began time.Time, moved int, answers ...A) {
	c.heard = time.Now()
	c.pace.learn(c.heard, c.heard.Sub(began), moved)
	bytes := 0
	for _, a := range answers {
		bytes += a.size()
	}
	c.mean += (bytes/len(answers) - c.mean) / 8
}

// expire is called when those who wait for b are to look at their own deadlines. Once they have lost
// patience, they wait on for a lane as long as other requests are answered, and for an answer if they
// must not ask again.
func (c *combiner[Q, A]) expire(b *batch[Q, A]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.over {
		return
	}
	b.lateLocked()
	since := c.heard
	if b.sent() {
		since = b.departed
	}
	wait := max(time.Until(since.Add(c.pace.patience())), time.Until(b.staying))
	switch {
	case b.sent() && !c.again:
	case wait > 0:
		b.timer.Reset(wait)
	default:
		c.giveUpLocked(b, true)
	}
}

// giveUpLocked ends the wait for b. If it was sent, its lane goes to others.
func (c *combiner[Q, A]) giveUpLocked(b *batch[Q, A], apart bool) {
	c.dropLocked(b)
	b.endLocked(apart)
	if b.sent() {
		b.lost = true
		c.busy--
		c.nextLocked()
	}
}

// leave is called by who does not wait any more.
func (c *combiner[Q, A]) leave(b *batch[Q, A], place int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b.slots[place].left = true
	b.waiting--
	if b.waiting == 0 && !b.over && (c.again || !b.sent()) {
		c.giveUpLocked(b, false)
	}
}

// errUnanswered is what became of a write when the client panicked as it was sent with
// others: it may arrive yet.
var errUnanswered error = unansweredError{}

// unansweredError is a net.Error, and a timeout.
type unansweredError struct{}

func (unansweredError) Error() string   { return "the client panicked" }
func (unansweredError) Timeout() bool   { return true }
func (unansweredError) Temporary() bool { return false }
