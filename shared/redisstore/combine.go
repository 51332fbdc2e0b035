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
// requests. A read that is alone goes out at once and as it is.
//
// It has no goroutine: of the reads that wait for the next request, one is
// told to send it, on its own context.
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
	waiting int         // callers that have not left
	led     bool        // one of them was told to send, or will be; it takes more keys until it does
	timer   *time.Timer // of their patience, which began when the first of them came

	// turn has one token once a lane is free: who takes it sends. It is closed
	// when the fields below are set, which do not change any more.
	turn   chan struct{}
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
	b, place := c.joinLocked(key)
	c.mu.Unlock()
	if free {
		c.next()
	}
	select {
	case _, mine := <-b.turn:
		if mine {
			c.gather(b)
			return c.send(ctx, b, place)
		}
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

func (c *combiner) joinLocked(key string) (b *together, place int) {
	limit := min(maxTogether, int(bytesTogether/max(c.size.Load(), 1)))
	if n := len(c.queue); n > 0 && len(c.queue[n-1].keys) < max(limit, 1) {
		b = c.queue[n-1]
	} else {
		b = &together{turn: make(chan struct{}, 1)}
		b.timer = time.AfterFunc(c.patience, func() { c.end(b, nil, nil, true) })
		c.queue = append(c.queue, b)
	}
	b.keys = append(b.keys, key)
	b.waiting++
	return b, len(b.keys) - 1
}

// gather ends the time in which others may join b.
func (c *combiner) gather(b *together) {
	for range gathering {
		runtime.Gosched()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropLocked(b)
	c.crowded = len(b.keys) > 1
}

// dropLocked takes b out of the queue, if it is in it.
func (c *combiner) dropLocked(b *together) {
	c.queue = slices.DeleteFunc(c.queue, func(queued *together) bool { return queued == b })
}

// send sends b, which has left the queue, for all who wait for it.
func (c *combiner) send(ctx context.Context, b *together, place int) (image proven, err error) {
	var images []proven
	alone := true // stands if the client panics
	defer func() {
		c.end(b, images, err, alone)
		c.next()
	}()
	if len(b.keys) == 1 {
		image, err = c.one(ctx, b.keys[0])
		images = []proven{image}
	} else {
		images, err = c.many(ctx, b.keys)
	}
	alone = err != nil && (ctx.Err() != nil || ended(err)) // the sender's time is not the others'
	if err != nil {
		return proven{}, err
	}
	bytes := 0
	for _, image := range images {
		bytes += len(image.image)
	}
	c.learn(bytes, len(images))
	return images[place], nil
}

// end tells those who wait for b what became of it, unless they have been told.
func (c *combiner) end(b *together, images []proven, err error, alone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.over {
		return
	}
	b.timer.Stop()
	b.over, b.images, b.err, b.alone = true, images, err, alone
	c.dropLocked(b) // patience may have ended first
	close(b.turn)
}

// ended reports whether err says that a context ended. It may say so a moment
// before the context does: see failed.
func ended(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// next hands a lane on to those who wait longest, or frees it.
func (c *combiner) next() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nextLocked()
}

func (c *combiner) nextLocked() {
	for _, b := range c.queue {
		if !b.led {
			b.led = true
			b.turn <- struct{}{} // it has room
			return
		}
	}
	c.busy--
}

// leave is called by who does not wait for b any more. The last one hands on
// the lane that b may have been given.
func (c *combiner) leave(b *together) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b.waiting--
	if b.waiting > 0 {
		return
	}
	b.timer.Stop()
	c.dropLocked(b)
	select {
	case _, given := <-b.turn:
		if given {
			c.nextLocked()
		}
	default: // no lane was given to it
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
