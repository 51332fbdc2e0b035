// Package outage says when something that a node can do without is gone, and when it is back.
package outage

import (
	"sync"
	"sync/atomic"
	"time"
)

// Outage is something that a node can do without for a time. It tells the log once that it
// is gone, and once that it is back. It is safe for use by many goroutines; while all is
// well, taking that in costs one atomic load.
type Outage struct {
	Patience time.Duration // for how long nothing may go well before failures that prove nothing are told
	Quiet    time.Duration // for how long nothing may fail for the outage to be over

	doubt atomic.Bool // something failed: what goes well would be news

	mu     sync.Mutex // protects the fields below
	began  time.Time  // when it was told; zero: there is no outage
	silent time.Time  // since when things fail and none goes well; zero: they do not
	failed time.Time  // when something failed last
	well   time.Time  // when something went well first since then; zero: nothing did
}

// Fail takes in a failure, and reports whether an outage begins with it. One that is not
// sure may be no more than slow.
func (o *Outage) Fail(sure bool) (begins bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	o.doubt.Store(true)
	o.failed, o.well = now, time.Time{}
	if o.silent.IsZero() {
		o.silent = now
	}
	if !o.began.IsZero() || !sure && now.Sub(o.silent) < o.Patience {
		return false
	}
	o.began = now
	return true
}

// Succeed takes in that something went well, and reports whether an outage is over, and
// how long it was: up to what went well first after the last failure.
func (o *Outage) Succeed() (took time.Duration, over bool) {
	if !o.doubt.Load() {
		return 0, false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	o.silent = time.Time{}
	if o.well.IsZero() {
		o.well = now
	}
	if !o.began.IsZero() && now.Sub(o.failed) < o.Quiet {
		return 0, false
	}
	o.doubt.Store(false)
	if o.began.IsZero() {
		return 0, false
	}
	took, o.began = o.well.Sub(o.began).Round(time.Millisecond), time.Time{}
	return took, true
}
