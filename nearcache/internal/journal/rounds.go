package journal

import (
	"context"
	"errors"
	"sync"
	"time"
)

// rounds are the rounds of a follower, for those who wait for one to end.
type rounds struct {
	mu      sync.Mutex    // protects the fields below
	begun   uint64        // how many have begun
	last    uint64        // the latest that has ended
	failure error         // of that one
	ended   chan struct{} // closed when the next one ends
}

func (r *rounds) begin() (round uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun++
	return r.begun
}

func (r *rounds) end(failure error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.failure = r.begun, failure
	close(r.ended)
	r.ended = make(chan struct{})
}

// count returns how many have begun.
func (r *rounds) count() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.begun
}

// now returns the latest that has ended, what is closed when the next one does, and
// how the latest failed.
func (r *rounds) now() (last uint64, ended <-chan struct{}, failure error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last, r.ended, r.failure
}

// errSlow is why nobody waits for the journal any longer.
var errSlow = errors.New("it takes too long")

// Wait has the journals read, and waits until enough is true after a round, or a whole one
// has not made it so, or for as long as one may take: a client that does not heed the end of
// its context holds up no reader. The error says why.
func (f *Follower) Wait(ctx context.Context, enough func() bool) error {
	before := f.rounds.count()
	f.Trigger()
	timer := time.NewTimer(f.roundLimit())
	defer timer.Stop()
	for {
		last, ended, failure := f.rounds.now()
		switch {
		case enough():
			return nil
		case f.conf.Done.Err() != nil:
			return f.conf.Stopped
		case last > before:
			return failure
		}
		select {
		case <-ended:
		case <-timer.C:
			return errSlow
		case <-ctx.Done():
			return ctx.Err()
		case <-f.conf.Done.Done():
		}
	}
}
