package nearcache

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
	"unsafe"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

const shortThrottle = time.Second

// validateStale checks the options of values that outlive their TTL, or are
// refreshed before its end. Defaults have been set.
func (o *Options[V]) validateStale() error {
	for _, f := range []duration{
		{"FailSafe", o.FailSafe},
		{"FailSafeThrottle", o.FailSafeThrottle},
		{"SoftTimeout", o.SoftTimeout},
		{"RefreshAhead", o.RefreshAhead},
	} {
		if f.value < 0 {
			return fmt.Errorf("nearcache: Options.%s is negative: %v", f.name, f.value)
		}
		if err := f.tooLong("Options"); err != nil {
			return err
		}
	}
	switch {
	case o.FailSafeThrottle > 0 && o.FailSafe == 0:
		return fmt.Errorf("nearcache: Options.FailSafeThrottle is %v without FailSafe", o.FailSafeThrottle)
	case o.SoftTimeout > 0 && o.FailSafe == 0:
		return fmt.Errorf("nearcache: Options.SoftTimeout is %v without FailSafe", o.SoftTimeout)
	case o.LoadTimeout > 0 && o.SoftTimeout >= o.LoadTimeout:
		return fmt.Errorf("nearcache: Options.SoftTimeout %v is not shorter than LoadTimeout %v", o.SoftTimeout, o.LoadTimeout)
	case o.TTL > 0 && o.RefreshAhead >= o.TTL:
		return fmt.Errorf("nearcache: Options.RefreshAhead %v is not shorter than TTL %v", o.RefreshAhead, o.TTL)
	}
	return nil
}

// extend makes e more than a hit for its life, if the options say so. left is
// the lifetime that its value has in the shared tier, and ahead how long before the end
// of that it is to be refreshed.
func (c *Cache[V]) extend(e *entry[V], left, ahead time.Duration) {
	if c.opts.FailSafe == 0 && c.opts.RefreshAhead == 0 {
		return
	}
	x := &near.Extra{Fresh: left - ahead, Keep: c.opts.FailSafe, Pause: refreshPause(left, ahead)}
	if c.node.faults.Off(fault.Pauses) {
		x.Pause = 0
	}
	e.Extend(x)
}

// extendFound is extend for a record with what is left of its lifetime, 0 for no end.
func (c *Cache[V]) extendFound(e *entry[V], found *shared.Found) {
	left := found.Left
	if left == 0 {
		left = math.MaxInt64
	}
	c.extend(e, left, c.opts.aheadOf(found))
}

// keepOld notes the value that the record found holds for those who get no
// other, and puts it where later readers find it as such.
func (c *Cache[V]) keepOld(f *flight[V], found *shared.Found) {
	if c.opts.FailSafe == 0 {
		return
	}
	if c.meetDeleted(f, found) {
		return
	}
	foreign := len(found.Slots) > 0 && slices.Max(found.Slots) >= near.Slots // not by this library
	if !found.Kept || foreign {
		return
	}
	record := *found
	record.Kind, record.Err = driver.KindValue, nil
	e, err := c.decode(f.key, &record)
	if err != nil {
		return
	}
	c.label(e, len(found.Value), f.stamp, found.Revision)
	c.extend(e, 0, 0)
	if found.Left > 0 {
		x := e.Extra()
		x.Keep = min(x.Keep, found.Left)
	}
	if a := c.found(wayKept, f, &e.Entry, found); c.keys.arrive(&a) {
		f.old = &e.value
	}
}

// meetDeleted reports whether the key was deleted, as far as the record found
// tells, and this node may not have heard of it. There is no old value then.
func (c *Cache[V]) meetDeleted(f *flight[V], found *shared.Found) bool {
	deleted := found.Kind == driver.KindTombstone && errors.Is(found.Err, shared.ErrNotFound) &&
		found.Codec != driver.TombstoneReleased
	if !deleted || c.opts.FailSafe == 0 {
		return false
	}
	f.deleted.Store(true)
	c.keys.space.DropStale(f.key, f.hash)
	return true
}

// staleAnswer returns an old value for a caller who cannot get another, or not
// in time. The next attempt to get one is as far off as the options say.
func (c *Cache[V]) staleAnswer(f *flight[V]) (a answer[V], ok bool) {
	if e, use := c.keys.space.FindLate(f.key, f.hash); use == near.Stale {
		c.node.near.Tried(e.Extra(), c.opts.FailSafeThrottle)
		return c.oldAnswer(f.key, (*entry[V])(unsafe.Pointer(e)).value), true // see hit
	}
	if c.flights.opens(f, &f.looked) != nil {
		return a, false // its old value is not known yet
	}
	if f.old == nil || f.deleted.Load() || !c.keys.space.Valid(f.hash, f.stamp) {
		return a, false
	}
	return c.oldAnswer(f.key, *f.old), true
}

func (c *Cache[V]) oldAnswer(key string, v V) answer[V] {
	c.keys.stale.Add(1)
	return c.given(key, answer[V]{value: v, stale: true})
}

// hasOld reports whether the near tier has an old value of the key.
func (k *keyspace) hasOld(key string, hash uint64) bool {
	_, use := k.space.FindLate(key, hash)
	return use == near.Stale
}

// forgetOld is called when f ends: what is given to its callers is newer than an
// old value, which must not be given to later ones. A value that came near has
// taken its place already.
func (c *Cache[V]) forgetOld(f *flight[V]) {
	if c.opts.FailSafe > 0 && (f.fresh || errors.Is(f.err, ErrNotFound)) && !c.node.faults.Off(fault.PassedNews) {
		c.keys.space.DropStale(f.key, f.hash)
	}
}

// errUnrefreshed is why a caller gets an old value: the node that was to get
// another did not.
var errUnrefreshed = errors.New("nearcache: another node could not refresh the value")

// loadKept is loadShared where an old value is there that is of use until it is
// replaced. The lease is beside it.
func (c *Cache[V]) loadKept(ctx context.Context, f *flight[V], load loader[V], old *shared.Found) error {
	claim, began := c.keys.claimBeside(f.key), time.Now()
	for ctx.Err() == nil && time.Since(began) < c.node.tier.LeaseTTL() {
		switch got := c.keys.acquire(ctx, claim); {
		case got.Err != nil:
			c.keys.sharedErrors.Add(1)
			return c.loadDegraded(ctx, f, load)
		case got.Status == driver.LeaseGranted:
			return c.reload(ctx, f, load, claim, &got)
		case got.Status != driver.LeaseHeld:
			return c.loadAlone(ctx, f, load, 0)
		}
		landed, now, failed := c.awaitRefresh(ctx, f, old, began)
		switch {
		case landed:
			c.keys.loadsAgain()
			return nil
		case failed:
			return errUnrefreshed
		case now != nil && !now.Kept:
			return c.loadShared(ctx, f, load, now)
		}
	}
	c.keys.overdue.Add(1)
	return c.loadAlone(ctx, f, load, 0)
}

// awaitRefresh waits until the record is another than old, in which case f may
// have its value, or the lease is gone, or one lease time has passed since
// began. failed says that the load under the lease failed.
func (c *Cache[V]) awaitRefresh(ctx context.Context, f *flight[V], old *shared.Found, began time.Time) (landed bool, now *shared.Found, failed bool) {
	c.keys.waits.Add(1)
	for {
		waited := time.Since(began)
		if waited >= c.node.tier.LeaseTTL() || sleep(ctx, pauseAfter(waited)) != nil {
			return false, nil, false
		}
		// The lease first: who gives it back has stored before.
		lease, leaseErr := c.node.tier.Read(ctx, []string{c.keys.refreshKey(f.key)})
		found, err := c.keys.readRecords(ctx, []string{f.key})
		switch {
		case leaseErr != nil || err != nil:
			return false, nil, false // Acquire will meet it
		case c.use(f, &found[0]):
			return true, nil, false
		case found[0].Nonce != old.Nonce:
			return false, &found[0], false
		case lease[0].Kind != driver.KindLease: // if it did not fail: what it loaded was not taken, or it died
			return false, nil, lease[0].Kind == driver.KindTombstone && lease[0].Codec == driver.TombstoneFailed
		}
	}
}

// reload loads under a lease that is beside the record, and replaces the record.
func (c *Cache[V]) reload(ctx context.Context, f *flight[V], load loader[V], lease shared.Claim, got *shared.Claimed) error {
	var failure error // of the load
	defer func() { c.keys.giveBack(ctx, c.keys.released(lease, failure)) }()
	// Whoever held the lease before may have refreshed the record.
	found, err := c.keys.readRecords(ctx, []string{f.key})
	if err != nil {
		c.keys.sharedErrors.Add(1)
		return c.loadDegraded(ctx, f, load)
	}
	if c.use(f, &found[0]) {
		return nil
	}
	if !found[0].Kept {
		return c.loadShared(ctx, f, load, &found[0])
	}
	failure = &PanicError{} // stands if user code ends this goroutine
	failure = c.replace(ctx, f, load, c.keys.holdBeside(lease, got, &found[0]), &found[0])
	return failure
}

// replace loads, and replaces the record found, which h is for, unless it was written
// meanwhile.
func (c *Cache[V]) replace(ctx context.Context, f *flight[V], load loader[V], h hold, found *shared.Found) error {
	f.previous = found
	defer func() { f.previous = nil }()
	return c.loadUnder(ctx, f, load, h)
}

// holdBeside is the right to replace the record found, for a load that begins
// now. The lease may be in another partition, so what tells how old the load is comes with
// the record.
func (k *keyspace) holdBeside(lease shared.Claim, got *shared.Claimed, found *shared.Found) hold {
	clock, _, _ := k.clock.Get()
	var replaced driver.Record // a value that stays of use tells of no invalidation
	if found.Kind == driver.KindStale {
		replaced = found.Record
	}
	return hold{
		lease: lease, clock: clock, born: found.Head, expect: found.Nonce,
		lag: k.lagOf(got, &replaced, clock, found),
	}
}
