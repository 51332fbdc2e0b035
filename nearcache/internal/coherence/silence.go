package coherence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/journal"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// ErrSilent is why a call of the shared tier was given up by who has a source to go to: no server
// has answered anything for too long.
var ErrSilent = errors.New("the servers say nothing")

// LeastPatience is how long the shared tier may say nothing at least before it counts as silent.
const LeastPatience = 60 * time.Millisecond

// Hurried is the context of calls whose caller has a source to go to. They fail soon with
// [ErrSilent] while the shared tier is silent.
type Hurried struct{ context.Context }

type hurriedKey struct{}

// Value says that it is one.
func (h *Hurried) Value(key any) any {
	if key == (hurriedKey{}) {
		return h
	}
	return h.Context.Value(key)
}

func hurried(ctx context.Context) bool { return ctx.Value(hurriedKey{}) != nil }

// silence tells whether the shared tier says nothing. That is so once a hurried call has waited
// for longer than its patience, or was refused a connection, and no call was answered meanwhile; and
// until one is: one that is not hurried, or a hurried one at a time, which tries. A server that is slow,
// and answers one call after the other, is not silent; one of several servers that is, is not noticed.
type silence struct {
	fixed time.Duration // patience; 0: as long as is usual

	began    time.Time
	usual    atomic.Int64 // about what the slowest of a hundred calls takes
	answered atomic.Int64 // when the last answer came, since began
	silent   atomic.Bool
	tries    atomic.Bool  // a hurried call does
	tried    atomic.Int64 // when one began to last
}

// betweenTries is how long after a try began the next one may. Clients that are refused connections
// too often do not ask for any for longer.
const betweenTries = journal.Hurried

func (s *silence) now() int64 { return int64(time.Since(s.began)) }

// patience returns how long a hurried call waits while there are no answers.
func (s *silence) patience() time.Duration {
	if s.fixed > 0 {
		return s.fixed
	}
	return max(LeastPatience, 4*time.Duration(s.usual.Load()))
}

// note takes in that a call that began at a moment was answered.
func (s *silence) note(began int64) {
	now := s.now()
	s.answered.Store(now)
	took, usual := now-began, s.usual.Load()
	if took > usual {
		usual += (took - usual) / 4
	} else {
		usual -= (usual - took) / 256
	}
	s.usual.Store(usual)
	if s.silent.Load() {
		s.silent.Store(false)
	}
}

// enter lets a hurried call through, which ends with leave, or refuses it.
func (s *silence) enter() (tries bool, err error) {
	switch {
	case !s.silent.Load():
		return false, nil
	case s.now()-s.tried.Load() >= int64(betweenTries) && s.tries.CompareAndSwap(false, true):
		s.tried.Store(s.now())
		return true, nil
	}
	return false, ErrSilent
}

func (s *silence) leave(tries bool) {
	if tries {
		s.tries.Store(false)
	}
}

// overdue reports whether nothing was answered since a call began; then the tier is silent.
func (s *silence) overdue(began int64) bool {
	if s.answered.Load() > began {
		return false
	}
	s.silent.Store(true)
	return true
}

// await waits until done is closed, or until the tier turns out to be silent; then it returns
// ErrSilent.
func (s *silence) await(done <-chan struct{}, began int64) error {
	timer := time.NewTimer(s.patience())
	defer timer.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-timer.C:
			if s.overdue(began) {
				return ErrSilent
			}
			began = s.now()
			timer.Reset(s.patience())
		}
	}
}

// hurriedly calls f, which asks the shared tier, or returns [ErrSilent] if that is silent. With leaves, f
// runs on another goroutine, since it does not heed the end of contexts: if the tier turns out to be
// silent meanwhile, f goes on alone, and late is called once it has returned. Batches do not leave: of several
// servers one may say nothing while others answer.
func (s *silence) hurriedly(leaves bool, f, late func()) error {
	tries, err := s.enter()
	if err != nil {
		return err
	}
	defer s.leave(tries)
	if !leaves {
		f()
		return nil
	}
	var left atomic.Bool // either the caller leaves first, or f returns
	var panicked any
	began, done := s.now(), make(chan struct{})
	go func() { // ends with the call, which shared.Options.Timeout bounds
		defer func() {
			panicked = recover() // of a driver; the caller's, if there still is one
			if left.Swap(true) && panicked == nil {
				late()
			}
			close(done)
		}()
		f()
	}()
	if err := s.await(done, began); err != nil && !left.Swap(true) {
		return fmt.Errorf("%w for %v", ErrSilent, s.patience())
	}
	<-done
	if panicked != nil {
		panic(panicked)
	}
	return nil
}

// wait has the journals read as [journal.Follower.Wait] does. Who has a source to go to does not
// wait while the shared tier is silent.
func (r *observedTier) wait(ctx context.Context, enough func() bool) error {
	if !hurried(ctx) {
		return r.node.Journal.Wait(ctx, enough)
	}
	var err error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if silent := r.silence.hurriedly(true, func() { err = r.node.Journal.Wait(ctx, enough) }, func() {}); silent != nil {
		return silent
	}
	return err
}

// read is that of the tier, for who has a source to go to, and for others.
func (r *observedTier) read(ctx context.Context, keys []string) (found []shared.Found, err error) {
	began := r.silence.now()
	if hurried(ctx) {
		found, err = r.readSoon(ctx, keys)
	} else {
		found, err = r.Tier.Read(ctx, keys)
	}
	if err == nil {
		r.silence.note(began)
	}
	return found, err
}

// readSoon is Read of the tier for who has a source to go to.
func (r *observedTier) readSoon(ctx context.Context, keys []string) ([]shared.Found, error) {
	s := &r.silence
	tries, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer s.leave(tries)
	began, patience := s.now(), s.patience()
	found, err := r.ReadWithin(ctx, patience, keys)
	late := err != nil && tookTooLong(err) && !OutOfTime(ctx)
	switch {
	case (late || shared.Unreachable(err)) && s.overdue(began):
		return nil, fmt.Errorf("%w: %w", ErrSilent, err)
	case late: // the server is slow, and answers others
		return r.readWatched(ctx, keys)
	}
	return found, err
}

// readWatched is Read of the tier for who has a source to go to, of a server that answers others: it
// is given up once that falls silent.
func (r *observedTier) readWatched(ctx context.Context, keys []string) ([]shared.Found, error) {
	var found []shared.Found
	var err error
	own := slices.Clone(keys) // the read may outlast its caller
	silent := r.silence.hurriedly(true, func() { found, err = r.Tier.Read(ctx, own) }, func() {})
	if silent != nil {
		return nil, silent
	}
	return found, err
}

// Tail is that of the tier.
func (r *observedTier) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	began := r.silence.now()
	tails := r.Tier.Tail(ctx, reads)
	for i := range tails {
		if tails[i].Err == nil {
			r.silence.note(began)
			break
		}
	}
	return tails
}
