package redisstore

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/shared/internal/bounded"
)

const (
	// readLanes is how many requests for single keys are under way at a time.
	// Whoever comes while all are taken waits for a part of a round trip and
	// travels with the others who wait. More lanes make the wait shorter and
	// the company smaller.
	readLanes = 2

	// maxTogether and bytesTogether bound what travels together: keys, and
	// about how many bytes of records, so that large ones do not hold up
	// others.
	maxTogether   = 64
	bytesTogether = 64 << 10

	// gathering is how often who sends lets others run first: those who travelled
	// together last time are about to ask again.
	gathering = 3

	// patience is how long reads wait for company and its answer before they go
	// alone: requests on connections that say nothing any more must not hold up
	// those that the rest of the pool could carry.
	patience = 100 * time.Millisecond
)

// combiner turns reads of single keys that come at the same time into fewer
// requests. A read that is alone goes out at once and as it is, on its caller's context.
//
// Of those that wait for the next request nobody sends it: that is done by the goroutine
// of a lane, on a context that ends when the last of them has no time left, or when all of
// them have gone. So a caller in a hurry costs the others neither the request nor its
// connection, which the client closes when a context ends before the answer.
type combiner struct {
	one  func(ctx context.Context, key string) (proven, error)
	many func(ctx context.Context, keys []string) ([]proven, error)

	patience time.Duration // see there

	size atomic.Int64 // about how long records are, in bytes

	mu      sync.Mutex  // protects the fields below and those of batches
	busy    int         // lanes taken
	crowded bool        // somebody had company in the last request
	queue   []*together // oldest first; the last one takes more keys
}

// together is what travels in one request.
type together struct {
	keys    []string
	waiting int             // callers that have not left
	last    context.Context // of the caller who has the most time
	end     time.Time       // when that ends
	timer   *time.Timer     // of their patience, which began when the first of them came

	led    bool               // a lane was given to it; it takes more keys until it is sent
	cancel context.CancelFunc // of the request, once it is sent
	apart  bool               // the request is no longer waited for, and has no lane

	// done is closed when the fields below are set, which do not change any more.
	done   chan struct{}
	over   bool
	images []proven
	err    error
	alone  bool // instead: each asks for itself
}

// read reads one key.
func (c *combiner) read(ctx context.Context, key string) (proven, error) {
	c.mu.Lock()
	free := c.busy < readLanes
	if free {
		c.busy++
	}
	if free && !c.crowded {
		c.mu.Unlock()
		defer c.next()
		image, err := c.one(ctx, key)
		c.learn(len(image.image), 1)
		return image, err
	}
	b, place := c.joinLocked(ctx, key)
	if free {
		c.nextLocked()
	}
	c.mu.Unlock()
	select {
	case <-b.done:
	case <-bounded.Within(ctx, c.patience): // which began when b did
		c.leave(b)
		return proven{}, failed(ctx, "read", ctx.Err())
	}
	switch {
	case b.alone:
		return c.one(ctx, key)
	case b.err != nil:
		return proven{}, b.err
	}
	return b.images[place], nil
}

func (c *combiner) joinLocked(ctx context.Context, key string) (b *together, place int) {
	limit := min(maxTogether, int(bytesTogether/max(c.size.Load(), 1)))
	if n := len(c.queue); n > 0 && len(c.queue[n-1].keys) < max(limit, 1) {
		b = c.queue[n-1]
	} else {
		b = &together{done: make(chan struct{})}
		b.timer = time.AfterFunc(c.patience, func() { c.end(b, nil, nil, true) })
		c.queue = append(c.queue, b)
	}
	end, ok := ctx.Deadline()
	if !ok {
		end = never
	}
	if b.last == nil || end.After(b.end) {
		b.last, b.end = ctx, end
	}
	b.keys = append(b.keys, key)
	b.waiting++
	return b, len(b.keys) - 1
}

// lane sends one request after the other for those who wait, b first. It ends when nobody
// does, or with a request that nobody waits for any more.
func (c *combiner) lane(b *together) {
	for b != nil {
		ctx := c.depart(b)
		if ctx != nil {
			c.send(ctx, b)
		}
		c.mu.Lock()
		if b.apart {
			c.mu.Unlock()
			return
		}
		b = c.oldestLocked()
		c.mu.Unlock()
	}
}

// depart ends the time in which others may join b, and returns the context of its request;
// nil if nobody is left.
func (c *combiner) depart(b *together) context.Context {
	for range gathering {
		runtime.Gosched()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropLocked(b)
	if b.over {
		return nil
	}
	c.crowded = len(b.keys) > 1
	ctx := context.WithoutCancel(b.last) // hooks of the client look for its values
	if b.end.Equal(never) {
		ctx, b.cancel = context.WithCancel(ctx)
	} else {
		ctx, b.cancel = context.WithDeadline(ctx, b.end)
	}
	return ctx
}

// dropLocked takes b out of the queue, if it is in it.
func (c *combiner) dropLocked(b *together) {
	c.queue = slices.DeleteFunc(c.queue, func(queued *together) bool { return queued == b })
}

// send sends b, which has left the queue, for all who wait for it. If the client panics,
// each asks for itself, and meets that where it can be told.
func (c *combiner) send(ctx context.Context, b *together) {
	var images []proven
	var err error
	alone := true
	defer func() {
		if alone {
			_ = recover() // of the client
		}
		c.end(b, images, err, alone)
	}()
	if len(b.keys) == 1 {
		images = make([]proven, 1)
		images[0], err = c.one(ctx, b.keys[0])
	} else {
		images, err = c.many(ctx, b.keys)
	}
	alone = ended(err) && ctx.Err() == nil // it is that of a call that had the connection before
	bytes := 0
	for _, image := range images {
		bytes += len(image.image)
	}
	if err == nil {
		c.learn(bytes, len(images))
	}
}

// ended reports whether err says that a context ended.
func ended(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// end tells those who wait for b what became of it, unless they have been told.
func (c *combiner) end(b *together, images []proven, err error, alone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.over {
		return
	}
	b.images, b.err, b.alone = images, err, alone
	c.endLocked(b, alone)
}

// endLocked ends the wait for b. If its request is left to itself, its lane goes to others.
func (c *combiner) endLocked(b *together, left bool) {
	b.over = true
	b.timer.Stop()
	c.dropLocked(b)
	if b.cancel != nil {
		b.cancel()
		if left {
			b.apart = true
			c.nextLocked()
		}
	}
	close(b.done)
}

// next hands a lane on to those who wait longest, or frees it.
func (c *combiner) next() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nextLocked()
}

func (c *combiner) nextLocked() {
	if b := c.oldestLocked(); b != nil {
		go c.lane(b) // ends when nobody waits
	}
}

// oldestLocked gives a lane to those who wait longest, or frees it.
func (c *combiner) oldestLocked() *together {
	for _, b := range c.queue {
		if !b.led {
			b.led = true
			return b
		}
	}
	c.busy--
	return nil
}

// leave is called by who does not wait for b any more.
func (c *combiner) leave(b *together) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b.waiting--
	if b.waiting == 0 && !b.over {
		c.endLocked(b, true)
	}
}

// learn follows the mean length of records. Reads that overlap may lose what
// another learned.
func (c *combiner) learn(bytes, n int) {
	if n > 0 {
		old := c.size.Load()
		c.size.Store(old + (int64(bytes/n)-old)/8)
	}
}
