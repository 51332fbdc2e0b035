package nearcache

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/nearcache/internal/pause"
	"github.com/nearbus/nearbus/nearcache/internal/telemetry"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// loadMissed ends the calls whose reads did not give their results. Those that get their
// lease, or need none, are loaded together; each of the others waits for another node.
func (c *pipeline[V]) loadMissed(ctx context.Context, calls []*call[V], load loader[V]) {
	c.guarded(calls, func() {
		ready, waiting, stop := c.lease(&coherence.Hurried{Context: ctx}, calls)
		if len(ready) == 0 && len(waiting) == 1 {
			stop() // the leases of calls that turned out to be over
			c.loadLater(ctx, waiting[0], load)
			return
		}
		if len(waiting) > 0 {
			var others sync.WaitGroup
			for _, a := range waiting {
				others.Go(func() { c.guarded(a.f.one[:], func() { c.loadLater(ctx, a, load) }) })
			}
			defer others.Wait() // also if user code ends this goroutine: they end their calls
		}
		defer stop()
		c.loadAndFill(ctx, ready, load)
	})
}

// attempt is a call that asks for the lease of its key.
type attempt[V any] struct {
	f      *call[V]
	token  uint64
	beside bool // the record has an old value that is of use until it is replaced: the lease is beside it

	began   time.Time      // when the lease was asked for first
	got     shared.Claimed // the last answer
	losses  uint64         // of writes, as this node knew before it asked
	moved   bool           // another record is there than the lease was asked for
	refused bool           // what was in the place of the lease turned out to be of no use
}

func attemptOf[V any](f *call[V]) attempt[V] {
	return attempt[V]{f: f, token: driver.NewNonce(), beside: f.found.Kept && f.stale.Load() != nil, began: time.Now()}
}

// lease asks for the leases of the calls that are not over, in one round trip, as ask does.
func (c *pipeline[V]) lease(ctx context.Context, calls []*call[V]) (ready []fill[V], waiting []*attempt[V], stop func()) {
	attempts := make([]attempt[V], 0, len(calls))
	ready = make([]fill[V], 0, len(calls))
	for _, f := range calls {
		switch {
		case f.state.ended():
		case c.node.Tier == nil:
			ready = add(ready, f, c.opts.NearTTL, nil)
		case f.readErr != nil:
			ready = c.loadDegraded(ready, f)
		default:
			attempts = append(attempts, attemptOf(f))
		}
	}
	return c.ask(ctx, attempts, ready)
}

// loadDegraded adds a load while the shared tier is down.
func (c *pipeline[V]) loadDegraded(ready []fill[V], f *call[V]) []fill[V] {
	c.degraded.Add(1)
	return add(ready, f, c.node.Options.MaxStaleness, nil)
}

// ask asks for leases in one round trip. It adds to ready the loads that may begin, some
// of which are for this node alone because a lease is not to be had, and returns the
// attempts that have to wait. The leases are renewed until stop is called: while values are loaded, and
// stored part by part.
func (c *pipeline[V]) ask(ctx context.Context, attempts []attempt[V], ready []fill[V]) (_ []fill[V], waiting []*attempt[V], stop func()) {
	var one [1]*attempt[V] // for most
	asking, claims := one[:0], make([]shared.Claim, 0, len(attempts))
	losses := c.node.Losses()
	for i := range attempts {
		a := &attempts[i]
		if errors.Is(a.f.found.Err, shared.ErrNewerFormat) {
			ready = add(ready, a.f, 0, nil)
			continue
		}
		a.losses = losses
		asking, claims = append(asking, a), append(claims, c.keys.Claim(a.f.key, a.token, a.beside, a.f.found))
	}
	if len(claims) == 0 {
		return ready, nil, func() {}
	}
	asked := time.Now()
	answers := c.keys.Acquire(ctx, claims)
	held := claims[:0]
	var besides []*attempt[V]
	for i, a := range asking {
		a.got = answers[i]
		switch got := &a.got; {
		case got.Err != nil:
			c.keys.SharedErrors.Add(1)
			ready = c.loadDegraded(ready, a.f)
		case got.Status == driver.LeaseHeld, got.Status == driver.LeasePresent && !a.beside:
			waiting = append(waiting, a)
		case got.Status != driver.LeaseGranted:
			ready = add(ready, a.f, 0, nil) // of another kind, say
		case a.beside:
			besides, held = append(besides, a), append(held, claims[i])
		default:
			h := c.keys.RightInPlace(claims[i], got, a.f.found)
			ready = add(ready, a.f, 0, &h)
			held = append(held, claims[i])
		}
	}
	stop = c.keys.Renew(ctx, held, asked)
	returned := false
	defer func() {
		if !returned { // user code ended this goroutine: nobody fills any of them
			stop()
			c.keys.GiveBack(ctx, c.granted(asking)...)
		}
	}()
	ready, moved := c.readAgain(ctx, besides, ready)
	returned = true
	return ready, append(waiting, moved...), stop
}

// granted returns what gives back the leases that attempts were granted.
func (c *pipeline[V]) granted(attempts []*attempt[V]) (back []shared.Put) {
	for _, a := range attempts {
		if a.got.Err != nil || a.got.Status != driver.LeaseGranted {
			continue
		}
		claim := c.keys.Claim(a.f.key, a.token, a.beside, a.f.found)
		if a.beside {
			back = append(back, c.keys.Released(claim, nil))
		} else {
			back = append(back, claim.Released())
		}
	}
	return back
}

// readAgain reads the records again that leases were granted beside, since whoever held
// such a lease before may have refreshed the record. It adds to ready the loads that may
// begin, and returns the attempts whose leases have to be in the place of the record now.
func (c *pipeline[V]) readAgain(ctx context.Context, besides []*attempt[V], ready []fill[V]) (_ []fill[V], moved []*attempt[V]) {
	if len(besides) == 0 {
		return ready, nil
	}
	keys := make([]string, len(besides))
	for i, a := range besides {
		keys[i] = a.f.key
	}
	found, err := c.keys.ReadRecords(ctx, keys)
	var back []shared.Put
	var over []*call[V]
	for i, a := range besides {
		claim := c.keys.Claim(a.f.key, a.token, true, nil)
		switch {
		case err != nil || errors.Is(found[i].Err, shared.ErrUnread):
			c.keys.SharedErrors.Add(1)
			ready = c.loadDegraded(ready, a.f)
		case c.use(a.f, &found[i]) == nil:
			over = append(over, a.f)
		case !found[i].Kept:
			c.move(a, &found[i])
			moved = append(moved, a)
		default:
			a.f.found = &found[i]
			h := c.keys.RightBeside(claim, &a.got, &found[i])
			ready = add(ready, a.f, 0, &h)
			continue
		}
		back = append(back, c.keys.Released(claim, nil))
	}
	c.keys.GiveBack(ctx, back...)
	for _, f := range over {
		c.finish(f, nil)
	}
	return ready, moved
}

// move has a begin anew, for the record found.
func (c *pipeline[V]) move(a *attempt[V], found *shared.Found) {
	c.noteDeleted(a.f, found)
	a.f.found = found
	*a = attemptOf(a.f)
	a.moved = true
}

// loadLater ends the call of a, whose lease was not granted. It waits for one lease time:
// then whoever holds the lease is slow, and this node loads for itself.
func (c *pipeline[V]) loadLater(ctx context.Context, a *attempt[V], load loader[V]) {
	soon := &coherence.Hurried{Context: ctx}
	for {
		ready, again := c.resume(soon, a)
		if !again {
			c.loadAndFill(ctx, ready, load)
			return
		}
		if ctx.Err() != nil || time.Since(a.began) >= c.node.Tier.LeaseTTL() {
			c.overdue.Add(1)
			c.loadAndFill(ctx, add(nil, a.f, 0, nil), load)
			return
		}
		ready, waiting, stop := c.ask(soon, []attempt[V]{*a}, nil)
		if len(waiting) == 0 {
			defer stop()
			c.loadAndFill(ctx, ready, load)
			return
		}
		stop()
		a = waiting[0]
	}
}

// resume does what the answer to a leaves to do. It returns whether to ask again, and
// otherwise what is to be loaded, if the call is not over.
func (c *pipeline[V]) resume(ctx context.Context, a *attempt[V]) (ready []fill[V], again bool) {
	switch {
	case a.moved:
		a.moved = false
		return nil, true
	case a.got.Status == driver.LeaseHeld:
		return nil, c.await(ctx, a)
	}
	found, err := c.keys.Present(ctx, a.f.key, a.got.Present, a.losses)
	switch {
	case err != nil:
		c.keys.SharedErrors.Add(1)
		return c.loadDegraded(nil, a.f), false
	case c.use(a.f, found) == nil:
		c.finish(a.f, nil)
		return nil, false
	case a.refused: // by a server that is behind, say
		_ = pause.Sleep(ctx, pause.After(time.Since(a.began)))
	}
	a.f.found, a.refused = found, true
	return nil, true
}

// errUnrefreshed is why a caller gets an old value: the node that was to get
// another did not.
var errUnrefreshed = errors.New("nearcache: another node could not refresh the value")

// await waits, with pauses that grow, until the holder of the lease has filled it, or has
// failed and the callers can be given an old value: then the call of a is over. Or the
// lease is gone, or one lease time has passed. It reports whether the lease is to be asked
// for again.
func (c *pipeline[V]) await(ctx context.Context, a *attempt[V]) (again bool) {
	c.waits.Add(1)
	began := time.Now()
	defer func() { c.keys.Took(telemetry.Wait, 1, began, nil) }()
	for {
		waited := time.Since(a.began)
		if waited >= c.node.Tier.LeaseTTL() || pause.Sleep(ctx, pause.After(waited)) != nil {
			return true
		}
		record, lease, err := c.keys.ReadWithLease(ctx, a.f.key, a.beside)
		switch {
		case err != nil:
			return true // who asks again will meet it
		case c.use(a.f, record) == nil:
			if a.beside {
				c.loadsAgain()
			}
			c.finish(a.f, nil)
			return false
		case a.beside && record.Nonce != a.f.found.Nonce && !record.Kept:
			c.move(a, record)
			return true
		case a.beside && record.Nonce != a.f.found.Nonce:
			return true
		case lease.Kind == driver.KindLease:
		case a.beside && lease.Kind == driver.KindTombstone && lease.Codec == driver.TombstoneFailed:
			// No old value is within bounds, and who has them joins only calls that were begun
			// for such a caller.
			if old, _ := c.staleOf(a.f); old == nil || a.f.bounded {
				return true
			}
			c.finish(a.f, errUnrefreshed)
			return false
		default: // what its holder loaded was not taken, or it died
			return true
		}
	}
}
