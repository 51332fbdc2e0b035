package redisstore

import (
	"context"
	"time"
)

// batch is what travels in one request.
type batch[Q any, A outcome] struct {
	slots    []slot[Q]
	bytes    int             // about how many it moves
	waiting  int             // callers that have not left
	last     context.Context // of the caller who has the most time
	end      time.Time       // when that ends
	patience time.Duration   // how long its callers wait before they look at their own deadlines
	timer    *time.Timer     // of their patience, which began with the first of them
	staying  time.Time       // until when they do not give up, at least

	led      bool               // a lane was given to it; it takes more until it departs
	departed time.Time          // zero before
	cancel   context.CancelFunc // once it departed
	lost     bool               // it departed, is no longer waited for, and has no lane

	// news is closed when b is over, or has lasted for longer than its patience. In the
	// second case done is set before, and is closed when b is over. When b is over, neither
	// the fields below nor the places in slots change any more.
	news, done chan struct{}
	over       bool
	answers    []A
	apart      bool // instead: each goes alone
}

// slot is the request of one caller.
type slot[Q any] struct {
	q    Q
	at   int  // of its answer, once the batch departed
	left bool // its caller has
}

// never is a deadline that is later than others.
var never = time.Unix(1<<40, 0)

// shortestWait is how long callers wait at least before they look at their own deadlines. Who has less
// time does so at once.
const shortestWait = 10 * time.Millisecond

// newBatch returns a batch for who has this patience, and begins with a caller. Callers have about
// as much time as the first: half of that is no longer than any of them has, as a rule, so none
// needs a timer of its own before.
func newBatch[Q any, A outcome](ctx context.Context, patience time.Duration) *batch[Q, A] {
	b := &batch[Q, A]{patience: patience, staying: time.Now().Add(patience), news: make(chan struct{})}
	if end, ok := ctx.Deadline(); ok {
		if half := time.Until(end) / 2; half >= shortestWait {
			b.patience = min(b.patience, half)
		}
	}
	return b
}

// add takes q in and returns its place.
func (b *batch[Q, A]) add(ctx context.Context, q Q, bytes int) (place int) {
	end, ok := ctx.Deadline()
	if !ok {
		end = never
	}
	if b.last == nil || end.After(b.end) {
		b.last, b.end = ctx, end
	}
	b.slots = append(b.slots, slot[Q]{q: q})
	b.bytes += bytes
	b.waiting++
	return len(b.slots) - 1
}

func (b *batch[Q, A]) sent() bool { return !b.departed.IsZero() }

// depart returns what is to be sent, and its context, which has the values of that of the
// caller with the most time: hooks of the client look for them.
func (b *batch[Q, A]) depart() (ctx context.Context, qs []Q) {
	qs = make([]Q, 0, b.waiting)
	for i := range b.slots {
		if s := &b.slots[i]; !s.left {
			s.at = len(qs)
			qs = append(qs, s.q)
		}
	}
	b.departed = time.Now()
	ctx = context.WithoutCancel(b.last)
	if b.end.Equal(never) {
		ctx, b.cancel = context.WithCancel(ctx)
	} else {
		ctx, b.cancel = context.WithDeadline(ctx, b.end)
	}
	return ctx, qs
}

// lateLocked has those who wait look at their own deadlines.
func (b *batch[Q, A]) lateLocked() {
	if b.done == nil {
		b.done = make(chan struct{})
		close(b.news)
	}
}

// endLocked tells those who wait that b is over, unless they have been told.
func (b *batch[Q, A]) endLocked(apart bool) {
	if b.over {
		return
	}
	b.over, b.apart = true, apart
	b.timer.Stop()
	if b.cancel != nil {
		b.cancel()
	}
	if b.done != nil {
		close(b.done)
	} else {
		close(b.news)
	}
}
