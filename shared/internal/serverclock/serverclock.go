// Package serverclock estimates the clock of a server.
package serverclock

import (
	"sync"
	"time"
)

// Clock estimates the clock of a store's server from the times that its answers
// carry and from the monotonic clock of this process. The clock on this
// machine's wall plays no part. It is safe for use by many goroutines.
//
// An answer that was asked for at sent and came at received carries a time
// that was true at some moment between the two. So the server's clock is ahead
// of ours by at least now-received and at most now-sent. The estimate is the
// largest lower bound heard so far: it never runs ahead of the server, so a
// deadline computed from it is never late. The upper bound is that of the latest
// answer, since the server's clock may gain on ours, or be set forward, at any time.
type Clock struct {
	base time.Time // set once; its monotonic reading is our zero

	mu    sync.Mutex    // protects the rest
	ahead time.Duration // server's Unix time less time since base, or less
	most  time.Duration // the same, or more, by the latest answer
	asked time.Duration // when the answer was asked for that ahead is from, since base
	known bool
}

// New returns a Clock that has heard nothing yet.
func New() *Clock { return &Clock{base: time.Now()} }

// Observe takes in the time now that the server gave; zero is no time.
func (c *Clock) Observe(sent, received, now time.Time) {
	if now.IsZero() {
		return
	}
	server := time.Duration(now.UnixNano())
	low, high := server-received.Sub(c.base), server-sent.Sub(c.base)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known && received.Sub(c.base) < c.asked {
		return
	}
	// An upper bound below the estimate proves that the server's clock was
	// set back, or that another server answers now.
	if !c.known || low > c.ahead || high < c.ahead {
		c.ahead, c.asked, c.known = low, sent.Sub(c.base), true
	}
	c.most = high
}

// AtMost returns a time that the server's clock has not passed yet, or that of
// this machine before anything was heard.
func (c *Clock) AtMost() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		return time.Now()
	}
	return time.Unix(0, int64(c.most+time.Since(c.base)))
}

// Known reports whether anything was heard yet.
func (c *Clock) Known() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known
}

// Now returns the estimate, and whether anything was heard yet.
func (c *Clock) Now() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Unix(0, int64(c.ahead+time.Since(c.base))), c.known
}
