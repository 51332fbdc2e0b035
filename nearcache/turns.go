package nearcache

import (
	"context"
	"errors"
	"sync"
	"time"
)

// turns are the rounds of a repairer, for those who wait for one to end.
type turns struct {
	mu      sync.Mutex    // protects the fields below
	begun   uint64        // how many have begun
	last    uint64        // the latest that has ended
	failure error         // of that one
	ended   chan struct{} // closed when the next one ends
}

func (t *turns) begin() (round uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun++
	return t.begun
}

func (t *turns) end(failure error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last, t.failure = t.begun, failure
	close(t.ended)
	t.ended = make(chan struct{})
}

// count returns how many have begun.
func (t *turns) count() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.begun
}

// now returns the latest that has ended, what is closed when the next one does, and
// how the latest failed.
func (t *turns) now() (last uint64, ended <-chan struct{}, failure error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last, t.ended, t.failure
}

// errSlowJournal is why nobody waits for the journal any longer.
var errSlowJournal = errors.New("it takes too long")

// until has the journal read, and waits until enough is true after a round, or a
// whole one has not made it so, or for as long as one may take: a client that does not
// heed the end of its context holds up no reader. The error says why.
func (r *repairer) until(ctx context.Context, enough func() bool) error {
	before := r.turns.count()
	r.soon()
	timer := time.NewTimer(r.roundLimit())
	defer timer.Stop()
	for {
		last, ended, failure := r.turns.now()
		switch {
		case enough():
			return nil
		case r.node.ctx.Err() != nil:
			return ErrClosed
		case last > before:
			return failure
		}
		select {
		case <-ended:
		case <-timer.C:
			return errSlowJournal
		case <-ctx.Done():
			return ctx.Err()
		case <-r.node.ctx.Done():
		}
	}
}
