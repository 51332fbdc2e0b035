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

// hurries reports whether calls with ctx are given up while the shared tier is silent. Where
// floors have no numbers all wait: a tier that was slow and not away has the older records still.
func (r *observedTier) hurries(ctx context.Context) bool {
	return r.node.numbersFloors() && ctx.Value(hurriedKey{}) != nil
}

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

// slice is how long one wait of await is. After one that took twice as long, this process did not
// run, and what it did not hear meanwhile says nothing.
const slice = 10 * time.Millisecond

// await waits until done is closed, or until the tier turns out to be silent; then it returns
// ErrSilent.
func (s *silence) await(done <-chan struct{}, began int64) error {
	timer := time.NewTimer(slice)
	defer timer.Stop()
	for at, left := s.now(), s.patience(); ; timer.Reset(slice) {
		select {
		case <-done:
			return nil
		case <-timer.C:
		}
		now := s.now()
		if took := time.Duration(now - at); took < 2*slice {
			left -= took
		}
		if at = now; left > 0 {
			continue
		}
		if s.overdue(began) {
			return ErrSilent
		}
		began, left = now, s.patience()
	}
}

// errand is a call of the shared tier that its caller may leave, since it does not heed the end of
// contexts.
type errand interface {
	do()
	late() // do has returned, and nobody waits for it any more
}

// carrier carries out an errand on another goroutine.
type carrier struct {
	left     atomic.Bool // either the caller leaves first, or the errand is over
	done     chan struct{}
	panicked any // of a driver; the caller's, if it has not left
}

func (c *carrier) late() {}

// carry carries out e. It returns [ErrSilent] if the shared tier is silent, or turns out to be: then e goes
// on alone.
func (s *silence) carry(e errand, c *carrier) error {
	tries, err := s.enter()
	if err != nil {
		return err
	}
	defer s.leave(tries)
	c.done = make(chan struct{})
	began := s.now()
	go c.run(e) // ends with the call, which shared.Options.Timeout bounds
	if err := s.await(c.done, began); err != nil && !c.left.Swap(true) {
		return fmt.Errorf("%w for %v", ErrSilent, s.patience())
	}
	<-c.done
	if c.panicked != nil {
		panic(c.panicked)
	}
	return nil
}

func (c *carrier) run(e errand) {
	returned := false
	defer func() {
		if c.panicked = recover(); c.panicked == nil && !returned {
			c.panicked = "nearcache: a driver ended the goroutine that called it"
		}
		if c.left.Swap(true) && c.panicked == nil {
			e.late()
		}
		close(c.done)
	}()
	e.do()
	returned = true
}

// lease is an errand: it asks for the lease of a single key.
type lease struct {
	carrier
	tier    *observedTier
	ctx     context.Context
	claims  [1]shared.Claim
	answers []shared.Claimed
}

func (l *lease) do() { l.answers = l.tier.acquire(l.ctx, l.claims[:]) }

// late gives the lease back: nobody loads under it.
func (l *lease) late() {
	for _, claim := range granted(l.claims[:], l.answers, false) {
		l.tier.part(l.ctx, []shared.Claim{claim})
		l.tier.leases.ended(claim.Token)
	}
}

// fillOne is an errand: it stores what was loaded of a single key.
type fillOne struct {
	carrier
	tier     *observedTier
	ctx      context.Context
	puts     [1]shared.Put
	receipts []driver.Receipt
}

func (f *fillOne) do() { f.receipts = f.tier.fill(f.ctx, f.puts[:]) }

// reading is an errand: it has the journals read, and waits for that.
type reading struct {
	carrier
	node   *Node
	ctx    context.Context
	enough func() bool
	err    error
}

func (r *reading) do() { r.err = r.node.Journal.Wait(r.ctx, r.enough) }

// wait has the journals read as [journal.Follower.Wait] does. Who has a source to go to does not
// wait while the shared tier is silent.
func (r *observedTier) wait(ctx context.Context, enough func() bool) error {
	if !r.hurries(ctx) {
		return r.node.Journal.Wait(ctx, enough)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e := &reading{node: r.node, ctx: ctx, enough: enough}
	if err := r.silence.carry(e, &e.carrier); err != nil {
		return err
	}
	return e.err
}

// read is that of the tier, for who has a source to go to, and for others.
func (r *observedTier) read(ctx context.Context, keys []string) (found []shared.Found, err error) {
	began := r.silence.now()
	if r.hurries(ctx) {
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
	began, patience := s.now(), min(s.patience(), r.Timeout())
	found, err := r.ReadWithin(ctx, patience, keys)
	late := err != nil && tookTooLong(err) && !OutOfTime(ctx)
	ran := time.Duration(s.now()-began) < patience+slice // or this process did not run
	switch {
	case (late && ran || shared.Unreachable(err)) && s.overdue(began):
		return nil, fmt.Errorf("%w: %w", ErrSilent, err)
	case late && patience < r.Timeout(): // the server is slow, and answers others
		return r.readWatched(ctx, r.Timeout()-patience, keys)
	}
	return found, err
}

// slowRead is an errand: it reads records.
type slowRead struct {
	carrier
	tier  *observedTier
	ctx   context.Context
	limit time.Duration
	keys  []string
	found []shared.Found
	err   error
}

func (w *slowRead) do() { w.found, w.err = w.tier.ReadWithin(w.ctx, w.limit, w.keys) }

// readWatched is Read of the tier for who has a source to go to, of a server that answers others: it
// is given up once that falls silent.
func (r *observedTier) readWatched(ctx context.Context, limit time.Duration, keys []string) ([]shared.Found, error) {
	w := &slowRead{tier: r, ctx: ctx, limit: limit, keys: slices.Clone(keys)} // the read may outlast its caller
	if err := r.silence.carry(w, &w.carrier); err != nil {
		return nil, err
	}
	return w.found, w.err
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
