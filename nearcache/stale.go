package nearcache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/nearcache/internal/telemetry"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

const (
	shortThrottle = time.Second

	maxRefreshes = 64 // that run at a time, for each cache
)

// validateStale checks the options of values that outlive their TTL, or are
// refreshed before its end. Defaults have been set.
func (o *plain) validateStale() error {
	for _, f := range []duration{
		{"Stale.For", o.Stale.For},
		{"Stale.RetryAfter", o.Stale.RetryAfter},
		{"Stale.Timeout", o.Stale.Timeout},
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
	case o.Stale.RetryAfter > 0 && o.Stale.For == 0:
		return fmt.Errorf("nearcache: Options.Stale.RetryAfter is %v without Stale.For", o.Stale.RetryAfter)
	case o.Stale.Timeout > 0 && o.Stale.For == 0:
		return fmt.Errorf("nearcache: Options.Stale.Timeout is %v without Stale.For", o.Stale.Timeout)
	case o.Stale.Tags && o.Stale.For == 0:
		return errors.New("nearcache: Options.Stale.Tags is set without Stale.For")
	case o.LoadTimeout > 0 && o.Stale.Timeout >= o.LoadTimeout:
		return fmt.Errorf("nearcache: Options.Stale.Timeout %v is not shorter than LoadTimeout %v", o.Stale.Timeout, o.LoadTimeout)
	case o.TTL > 0 && o.RefreshAhead >= o.TTL:
		return fmt.Errorf("nearcache: Options.RefreshAhead %v is not shorter than TTL %v", o.RefreshAhead, o.TTL)
	}
	return nil
}

// keepStale notes the value that the record which f found holds for those who get no
// other, and puts it where later readers find it as such.
func (c *pipeline[V]) keepStale(f *call[V]) {
	found := f.found
	if c.opts.Stale.For == 0 {
		return
	}
	if c.noteDeleted(f, found) {
		return
	}
	foreign := len(found.Slots) > 0 && slices.Max(found.Slots) >= near.Slots // not by this library
	if !found.Kept || foreign {
		return
	}
	e, err := c.decodeKept(f.key, found)
	if err != nil {
		return
	}
	if c.opts.Stale.Tags { // which end no value that is kept, as invalidations of its key do not
		untagged := *found
		untagged.Slots, untagged.TagClock = nil, 0
		found = &untagged
	}
	c.complete(e, found.Value, c.opts.reader(&found.Record), 0, 0)
	if found.Left > 0 {
		x := e.Extra()
		x.Keep = min(x.Keep, found.Left)
	}
	if a := c.found(coherence.WayKept, f, &e.Entry, found); c.keys.Arrive(&a) {
		f.stale.Store(&e.value)
	}
}

// decodeKept is decode for a record that reads as a miss, and has a value that may be of use.
func (c *values[V]) decodeKept(key string, found *shared.Found) (*entry[V], error) {
	record := *found
	record.Kind, record.Err = driver.KindValue, nil
	return c.decode(key, &record, false) // others may decode it as well
}

// noteDeleted reports whether the key was deleted, as far as the record found
// tells, and this node may not have heard of it. There is no old value then.
func (c *pipeline[V]) noteDeleted(f *call[V], found *shared.Found) bool {
	deleted := found.Kind == driver.KindTombstone && errors.Is(found.Err, shared.ErrNotFound) &&
		found.Codec != driver.TombstoneReleased
	if !deleted || c.opts.Stale.For == 0 {
		return false
	}
	f.stale.Store(nil)
	c.keys.Space.DropStale(f.key, f.hash)
	return true
}

// answerStale returns an old value for a caller who cannot get another, or not
// in time. The next attempt to get one is as far off as the options say.
func (c *pipeline[V]) answerStale(f *call[V]) (a answer[V], ok bool) {
	old, e := c.staleOf(f)
	if old == nil {
		return a, false
	}
	if e != nil {
		c.node.Near.Tried(e.Extra(), c.opts.Stale.RetryAfter)
	}
	return c.staleValue(f.key, *old), true
}

// staleOf returns the old value that callers of f may be given, nil if there is none, and the
// entry that it is in, if it is near.
func (c *pipeline[V]) staleOf(f *call[V]) (old *V, e *near.Entry) {
	if e, use := c.keys.Space.FindLate(f.key, f.hash); use == near.Stale {
		return &entryOf[V](e).value, e
	}
	if old = f.stale.Load(); old == nil || !c.keys.Space.Valid(f.hash, f.stamp) {
		return nil, nil
	}
	return old, nil
}

func (c *pipeline[V]) staleValue(key string, v V) answer[V] {
	c.stale.Add(1)
	c.node.Happened(telemetry.Note{Kind: telemetry.StaleServed, Cache: c.keys.Name, Count: 1})
	v, err := c.give(key, v)
	return answer[V]{value: v, err: err, stale: true}
}

// refreshSoon refreshes a key in the background, unless too many are being
// refreshed; then a later read will.
func (c *pipeline[V]) refreshSoon(ctx context.Context, key string, hash uint64, load loader[V]) {
	select {
	case c.refreshes <- struct{}{}:
	default:
		return
	}
	f := &call[V]{key: key, hash: hash, stamp: c.node.Near.Stamp(), floor: c.keys.Floors.Of(hash)}
	f.refresh = c.keys.Space.BeginRefresh(key, hash)
	go func() { // ends with the load, or with the node
		defer func() { f.refresh.EndRefresh(); <-c.refreshes }()
		err := c.guard("", "", func() error { return c.refresh(detached{c.keys.Context, ctx}, f, load) })
		if err == nil {
			c.refreshed.Add(1)
		}
	}()
}

// refresh gets a newer value of a key that is about to end: from the shared
// tier, if somebody stored one, else from the source. The old one is served
// meanwhile, and stays if that fails.
func (c *pipeline[V]) refresh(ctx context.Context, f *call[V], load loader[V]) error {
	var lease coherence.LoadRight
	if c.node.Tier != nil {
		h, stop, err := c.leaseIfDue(ctx, f)
		if !h.Leased() {
			return err
		}
		defer stop()
		lease = h
	}
	all := add(nil, f, c.opts.NearTTL, &lease)
	c.loadAndFill(ctx, all, load)
	return all[0].err
}

// leaseIfDue asks for the lease beside the record of a refresh, unless the shared tier has
// a value that is not about to end. The lease is renewed until stop is called. Without a
// lease there is nothing to load.
func (c *pipeline[V]) leaseIfDue(ctx context.Context, f *call[V]) (h coherence.LoadRight, stop func(), err error) {
	due := func() (*shared.Found, error) {
		if c.keys.Pending.HasKey(f.key) {
			return nil, coherence.ErrPending
		}
		found, err := c.keys.ReadRecords(ctx, []string{f.key})
		if err != nil {
			return nil, c.keys.SharedFailed(err)
		}
		if c.use(f, &found[0]) != nil {
			return nil, coherence.ErrUnusable // it was deleted, or is gone: the next reader's business
		}
		if f.told == nil && (f.value == nil || found[0].Left == 0 || found[0].Left > c.opts.livesOf(&found[0]).Ahead) {
			return nil, nil
		}
		return &found[0], nil
	}
	if found, err := due(); found == nil {
		return h, nil, err
	}
	claim, asked := c.keys.Claim(f.key, driver.NewNonce(), true, nil), time.Now()
	got := c.keys.Acquire(ctx, []shared.Claim{claim})[0]
	if got.Err != nil {
		return h, nil, c.keys.SharedFailed(got.Err)
	}
	if got.Status != driver.LeaseGranted {
		return h, nil, nil // another node is at it
	}
	renewed, loads := c.keys.Renew(ctx, []shared.Claim{claim}, asked), false
	defer func() {
		if !loads { // also if user code ended this goroutine
			renewed()
			c.keys.GiveBack(ctx, c.keys.Released(claim, nil))
		}
	}()
	found, err := due() // whoever held the lease before may have refreshed the record
	if found == nil {
		return h, nil, err
	}
	loads = true
	f.stamp, f.found = c.node.Near.Stamp(), found
	return c.keys.RightBeside(claim, &got, found), renewed, nil
}
