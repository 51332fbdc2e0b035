// Package bounded has the context of a call of a store: a context with a deadline,
// whose timer and channel are made on demand.
//
// Of the callers that share a request, only the sender asks for the channel. The others
// wait no longer than for company, see [Within], which is less than the time to their
// deadline.
package bounded

import (
	"context"
	"sync"
	"time"
)

// Context is what [context.WithTimeout] returns, to those who use it. It is safe for
// use by many goroutines.
type Context struct {
	context.Context // the caller's

	end time.Time

	mu     sync.Mutex         // protects the fields below
	timed  context.Context    // of the caller's, with the deadline; nil until it is needed
	cancel context.CancelFunc // of timed
	over   bool               // Cancel was called
}

// WithTimeout returns a Context that ends with parent, and after d. Call Cancel once
// it is not used any more.
func WithTimeout(parent context.Context, d time.Duration) *Context {
	end := time.Now().Add(d)
	if earlier, ok := parent.Deadline(); ok && earlier.Before(end) {
		end = earlier
	}
	return &Context{Context: parent, end: end}
}

// Cancel ends c and its timer, if there is one. Once more does nothing.
func (c *Context) Cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.cancel != nil {
		c.cancel()
	}
}

// Deadline returns when c ends at the latest.
func (c *Context) Deadline() (time.Time, bool) { return c.end, true }

// Done returns the channel that is closed when c ends.
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.timedLocked().Done()
}

// Err returns why c ended, nil if it did not. What ended without a timer stays
// ended, for the same reason.
func (c *Context) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil && !c.over && c.Context.Err() == nil && time.Now().Before(c.end) {
		return nil
	}
	return c.timedLocked().Err()
}

// Value returns the value of key. Contexts derived from c, which have asked for its
// channel, find their parent through it.
func (c *Context) Value(key any) any {
	c.mu.Lock()
	timed := c.timed
	c.mu.Unlock()
	if timed != nil {
		return timed.Value(key)
	}
	return c.Context.Value(key)
}

func (c *Context) timedLocked() context.Context {
	if c.timed == nil {
		c.timed, c.cancel = context.WithDeadline(c.Context, c.end)
		if c.over {
			c.cancel()
		}
	}
	return c.timed
}

// Within returns a channel for who waits on ctx for d at most: one that is closed when
// ctx ends within d. If its deadline is further away, that takes no timer.
func Within(ctx context.Context, d time.Duration) <-chan struct{} {
	if c, ok := ctx.(*Context); ok && time.Until(c.end) > d {
		return c.Context.Done()
	}
	return ctx.Done()
}
