package telemetry

import (
	"sync/atomic"
	"time"
)

const (
	// queueSize is how many notes wait for the observer at most.
	queueSize = 4096

	// partingTimeout bounds how long Close waits for the observer.
	partingTimeout = 500 * time.Millisecond
)

// Queue hands notes to an observer, one at a time and in their order, on a goroutine of its
// own. What there is no room for is dropped and counted. A nil Queue drops all without a
// count. It is safe for use by many goroutines.
//
// The invariant: nobody who tells a note waits, whatever the observer does.
type Queue struct {
	observe func(Note)
	notes   chan Note     // never closed
	stop    chan struct{} // closed by Close
	done    chan struct{} // closed when the goroutine is over
	late    atomic.Bool   // Close waits no more: what is left is dropped

	dropped, panics atomic.Uint64
}

// NewQueue returns a Queue that runs until Close; nil if there is no observer.
func NewQueue(observe func(Note)) *Queue {
	if observe == nil {
		return nil
	}
	q := &Queue{observe: observe, notes: make(chan Note, queueSize), stop: make(chan struct{}), done: make(chan struct{})}
	go q.run() // ends with stop; Close waits, for a while
	return q
}

// Tell hands over a note.
func (q *Queue) Tell(n Note) {
	if q == nil {
		return
	}
	select {
	case q.notes <- n:
	default:
		q.dropped.Add(1)
	}
}

// run ends with stop, after what waits by then.
func (q *Queue) run() {
	over := false
	defer func() {
		if over {
			close(q.done)
		} else {
			go q.run() // the observer ended this goroutine; likewise
		}
	}()
	for {
		select {
		case n := <-q.notes:
			q.hand(n)
			continue
		case <-q.stop:
		}
		for {
			select {
			case n := <-q.notes:
				q.hand(n)
				continue
			default:
			}
			over = true
			return
		}
	}
}

// hand calls the observer, and counts a panic or an end of the goroutine.
func (q *Queue) hand(n Note) {
	if q.late.Load() {
		q.dropped.Add(1)
		return
	}
	returned := false
	defer func() {
		if !returned {
			_ = recover() // what it says may carry a value
			q.panics.Add(1)
		}
	}()
	q.observe(n)
	returned = true
}

// Close hands over what waits, and returns when that is done, or after 500 ms: what is left then
// is dropped and counted. An observer that does not return keeps its goroutine. It must be
// called once.
func (q *Queue) Close() {
	if q == nil {
		return
	}
	close(q.stop)
	timer := time.NewTimer(partingTimeout)
	defer timer.Stop()
	select {
	case <-q.done:
	case <-timer.C:
		q.late.Store(true)
	}
}

// Dropped returns how many notes there was no room for, and how often the observer panicked.
func (q *Queue) Dropped() (notes, panics uint64) {
	if q == nil {
		return 0, 0
	}
	return q.dropped.Load(), q.panics.Load()
}
