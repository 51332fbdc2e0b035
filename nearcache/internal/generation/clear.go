package generation

import (
	"sync"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// Clear is what this node knows of the clock of a cache: a number in the
// shared tier that every Clear raises. A record carries the clock as its
// writer knew it before the write or load began, and is dead once the clock
// has passed it.
type Clear struct {
	mu sync.Mutex // protects the fields below
	n  number

	// near says that something may have come near since what was near was ended last.
	near bool

	applied uint64 // what is near is not from before the clock was raised to this
	heard   Heard  // Clears, by what they raised the clock to
}

// clockAhead is how far, in microseconds, a clock is ahead of the number that the journal
// has it under where the server was in the wrong day when it was raised: see
// driver.Write.Floor. It is half of the least that this can be.
const clockAhead = uint64(12 * time.Hour / time.Microsecond)

// Get returns the clock and whether it can be relied on. How often it was
// forgotten is for learn.
func (c *Clear) Get() (value uint64, known bool, forgot uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n.get()
}

// Learn takes in the clock read from the shared tier, by a read that began at
// this time, when it had been forgotten this often. It reports whether that ends
// what may be near: the caller raises the mark of the cache, and settles.
func (c *Clear) Learn(value uint64, at int64, forgot uint64) (ends bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n.read(at, forgot)
	return c.raiseLocked(value)
}

// Raise takes in what the journal says that the clock was raised to, and reports what
// Learn does. If the clock is ahead of the journal, that says no more than that there
// was a Clear: what the clock is now has to be read.
func (c *Clear) Raise(value uint64) (ends bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	told := c.heard.Take(driver.Revision{Number: value})
	switch {
	case told && c.n.value < value && value < driver.MaxRevision: // what was near was ended by then
		c.n.value, c.applied = value, max(c.applied, value)
		return false
	case told:
		return false
	case c.n.value < value || c.n.value-value < clockAhead:
		return c.raiseLocked(value)
	}
	c.n.forget()
	ends, c.near = c.near, false
	return ends
}

func (c *Clear) raiseLocked(value uint64) (ends bool) {
	if value <= c.n.value || value >= driver.MaxRevision {
		return false
	}
	c.n.value = value
	if !c.near {
		c.applied = max(c.applied, value)
		return false
	}
	c.near = false
	return true
}

// Admits is asked before a value comes near, whose write or load began, or whose
// record was written, when its writer knew the clock as value. It reports whether the
// value was not cleared since, as far as this node knows. If this node learns
// otherwise from here on, it raises the mark of the cache.
func (c *Clear) Admits(value uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.near = true
	return value >= c.n.value
}

// Settle says that what was near when the clock was raised to value is gone.
func (c *Clear) Settle(value uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.applied = max(c.applied, value)
}

// Applied returns up to which number what is near was cleared.
func (c *Clear) Applied() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.applied
}

// ReadAt returns when the latest read of the number began, 0 before the first.
func (c *Clear) ReadAt() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n.at
}

// Forget makes the next read read the clock: there was a gap, in which there may
// have been a Clear.
func (c *Clear) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n.forget()
}

// Cleared is forget after a Clear, of which the bus says that it raised the clock to value.
// The caller raises the mark of the cache next.
func (c *Clear) Cleared(value uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard.Add(driver.Revision{Number: value})
	c.near = false
	c.n.forget()
}
