package nearcache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// minPause is the first pause of a node that waits for another's load.
const minPause = time.Millisecond

// source calls the loader of one key. That its load begins has been said.
func (c *Cache[V]) source(ctx context.Context, f *flight[V], load loader[V]) (entry Entry[V], err error) {
	ctx = withRecency(c.withPrevious(ctx, f.previous), f.ended)
	entry, err = callSource(ctx, c, []string{f.key}, func(ctx context.Context) (Entry[V], error) {
		return load(ctx, f.key)
	})
	if err == nil {
		err = c.accept(ctx, f.key, &entry)
	}
	return entry, err
}

// accept makes the entry that a loader returned for key whole. One whose tags cannot be
// used is given to those who wait for it, and stored nowhere.
func (c *Cache[V]) accept(ctx context.Context, key string, e *Entry[V]) error {
	if err := e.conclude(ctx); err != nil {
		return err
	}
	if _, err := c.opts.lives(e); err != nil {
		return err
	}
	if err := c.addTags(key, e); err != nil {
		if c.keys.untaggable.Add(1) == 1 {
			c.node.opts.Logger.Warn("nearcache: a loaded value has no valid tags, and is not cached", "cache", c.keys.name)
		}
		e.NoStore = true
	}
	return nil
}

// callSource calls load, which loads keys, within Options.LoadTimeout, once there
// is a place for it. A loader that does not heed the end of its context is left
// behind: its callers are not.
func callSource[V, R any](ctx context.Context, c *Cache[V], keys []string, load func(context.Context) (R, error)) (R, error) {
	leave, err := c.keys.enter(ctx)
	if err != nil {
		c.keys.loadErrors.Add(uint64(len(keys)))
		return *new(R), err
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.LoadTimeout)
	defer cancel()
	type answer struct {
		result R
		err    error
	}
	c.keys.loads.Add(uint64(len(keys)))
	answers := make(chan answer, 1)
	go func() { // ends when the loader returns
		defer leave()
		a := answer{err: &PanicError{Callback: callbackLoader, Key: only(keys)}} // stands if the loader ends its goroutine
		defer func() { answers <- a }()
		var result R
		err := c.keys.guard(callbackLoader, only(keys), func() (err error) {
			result, err = load(ctx)
			return err
		})
		a = answer{result, err}
	}()
	var a answer
	select {
	case a = <-answers:
	case <-ctx.Done():
		a.err = fmt.Errorf("nearcache: cache %q: the loader did not return in time: %w", c.keys.name, ctx.Err())
	}
	if a.err != nil && !errors.Is(a.err, ErrNotFound) {
		c.keys.loadErrors.Add(uint64(len(keys)))
		return *new(R), a.err
	}
	c.keys.loadsAgain()
	if a.err != nil {
		return *new(R), a.err
	}
	return a.result, nil
}

// loadAlone loads for this node only and keeps the value near for life at most,
// not at all if life is zero.
func (c *Cache[V]) loadAlone(ctx context.Context, f *flight[V], load loader[V], life time.Duration) error {
	clock, _, _ := c.keys.clock.Get()
	c.beginLoad(f, clock)
	f.ended = recency{}
	entry, err := c.source(ctx, f, load)
	return c.keepLoaded(f, &entry, life, err)
}

// keepLoaded ends a load for this node only, which brought entry or err. That there is
// no value is kept near, if the options say so.
func (c *Cache[V]) keepLoaded(f *flight[V], entry *Entry[V], life time.Duration, err error) error {
	a := arrival{way: wayUnstored, keeps: true, basis: basis{clock: f.clock, tagClock: f.tagClock}}
	switch {
	case errors.Is(err, ErrNotFound):
		a.entry, a.life = c.absentHere(f, life)
	case err != nil:
		return err
	default:
		f.value, f.fresh = &entry.Value, true
		if life > 0 && !entry.NoStore {
			l, _ := c.opts.lives(entry)
			a.slots, a.life = generation.SlotsOf(entry.Tags), min(l.near, life)
			a.entry = c.entryHere(f, entry, a.slots, a.life)
		}
	}
	c.giveLoaded(f, &a)
	return err
}

// giveLoaded ends the load of f, which is not stored. A refresh gives nothing to
// anybody.
func (c *Cache[V]) giveLoaded(f *flight[V], a *arrival) {
	a.key, a.hash, a.life, a.stamp = f.key, f.hash, c.keys.nearLife(a.life), f.loaded
	if f.background && a.entry == nil {
		return
	}
	if f.background {
		a.way, a.write = wayRefreshed, f.refresh
	}
	c.keys.arrive(a)
}

// entryHere makes the near entry of a value that has no record, nil if it cannot be
// kept.
func (c *Cache[V]) entryHere(f *flight[V], entry *Entry[V], slots []uint32, life time.Duration) *near.Entry {
	size := 0
	if c.opts.Cost == nil {
		data, err := c.encode(f.key, entry.Value)
		if err != nil {
			return nil
		}
		size = len(data)
	}
	e := c.newEntry(f.key, entry.Value, size, f.stamp, driver.Revision{})
	e.Tag(slots)
	c.extend(e, life, c.opts.ahead(life))
	return &e.Entry
}

// loadDegraded loads while the shared tier is down.
func (c *Cache[V]) loadDegraded(ctx context.Context, f *flight[V], load loader[V]) error {
	c.keys.degraded.Add(1)
	return c.loadAlone(ctx, f, load, c.node.opts.MaxStaleness)
}

// loadShared loads under a lease, so that one node of the fleet loads for all.
// miss is what the read found.
func (c *Cache[V]) loadShared(ctx context.Context, f *flight[V], load loader[V], miss *shared.Found) error {
	if c.node.faults.Off(fault.Leases) {
		return c.loadUnfenced(ctx, f, load)
	}
	if errors.Is(miss.Err, shared.ErrNewerFormat) {
		return c.loadAlone(ctx, f, load, 0)
	}
	if miss.Kept && f.old != nil {
		return c.loadKept(ctx, f, load, miss)
	}
	c.meetDeleted(f, miss)
	claim, began := c.keys.claimInPlace(f.key, miss), time.Now()
	refused := false // because of a value that turned out to be unusable
	for ctx.Err() == nil && time.Since(began) < c.node.tier.LeaseTTL() {
		claim.Clock, _, _ = c.keys.clock.Get()
		losses := c.node.losses()
		switch got := c.keys.acquire(ctx, claim); {
		case got.Err != nil:
			c.keys.sharedErrors.Add(1)
			return c.loadDegraded(ctx, f, load)
		case got.Status == driver.LeaseGranted:
			return c.loadUnder(ctx, f, load, c.keys.holdInPlace(claim, &got, miss))
		case got.Status == driver.LeaseUnusable:
			return c.loadAlone(ctx, f, load, 0)
		case got.Status == driver.LeasePresent:
			present, over, err := c.loadPresent(ctx, f, load, got.Present, losses)
			if over {
				return err
			}
			if refused { // by a server that is behind, say
				_ = sleep(ctx, pauseAfter(time.Since(began)))
			}
			claim.Discard, refused = unusable(present), true
			continue
		}
		if c.await(ctx, f, began) {
			return nil
		}
	}
	// Waited for one lease time: whoever holds the lease is slow.
	c.keys.overdue.Add(1)
	return c.loadAlone(ctx, f, load, 0)
}

// loadPresent is loadShared where a value is in the place of the lease. It is over unless
// that turned out to be unusable: it is returned then.
func (c *Cache[V]) loadPresent(ctx context.Context, f *flight[V], load loader[V], found shared.Found, losses uint64) (present *shared.Found, over bool, err error) {
	present, err = c.keys.present(ctx, f.key, found, losses)
	switch {
	case err != nil:
		c.keys.sharedErrors.Add(1)
		return nil, true, c.loadDegraded(ctx, f, load)
	case c.use(f, present):
		return nil, true, nil
	case errors.Is(present.Err, shared.ErrNewerFormat):
		return nil, true, c.loadAlone(ctx, f, load, 0)
	}
	return present, false, nil
}

// present returns what was found under key in the place of a lease, judged; losses is
// how often the shared tier had lost writes before. If what judges it is not known any
// more, the record is read again together with that.
func (k *keyspace) present(ctx context.Context, key string, found shared.Found, losses uint64) (*shared.Found, error) {
	records, keys := []shared.Found{found}, []string{key}
	again, err := k.judge(ctx, keys, records, losses, false)
	if _, known, _ := k.clock.Get(); err == nil && (again || !known || k.node.proves()) { // which a lease does not
		records, err = k.readRecords(ctx, keys)
	}
	if err != nil {
		return nil, err
	}
	return &records[0], nil
}

// await waits, with pauses that grow, until the holder of the lease has filled
// it, in which case f has its value, or the lease is gone, or one lease time
// has passed since began.
func (c *Cache[V]) await(ctx context.Context, f *flight[V], began time.Time) (landed bool) {
	c.keys.waits.Add(1)
	for {
		waited := time.Since(began)
		if waited >= c.node.tier.LeaseTTL() || sleep(ctx, pauseAfter(waited)) != nil {
			return false
		}
		found, err := c.keys.readRecords(ctx, []string{f.key})
		switch {
		case err != nil:
			return false // Acquire will meet it
		case c.use(f, &found[0]):
			return true
		case found[0].Kind != driver.KindLease:
			return false
		}
	}
}

// pauseAfter returns a pause of a twentieth of the time waited at most, jittered
// downwards so that nodes do not ask in step.
func pauseAfter(waited time.Duration) time.Duration {
	p := max(minPause, waited/20)
	return p - rand.N(p/4)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// loadUnder loads under h, whose lease is renewed, and stores the value if nothing came
// in between.
func (c *Cache[V]) loadUnder(ctx context.Context, f *flight[V], load loader[V], h hold) error {
	stop := c.keys.renew(ctx, []shared.Claim{h.lease}, time.Now())
	defer stop()
	all := []ending[V]{{f: f, hold: h}}
	e := &all[0]
	c.keys.readyTagClock(ctx)
	c.beginLoad(f, h.clock)
	c.keys.beginLag(&e.lag)
	f.ended = e.ended
	e.entry, e.err = c.source(ctx, f, load)
	c.conclude(ctx, all)
	return e.err
}

// loadUnfenced is what a cache without leases does; only tests come here.
func (c *Cache[V]) loadUnfenced(ctx context.Context, f *flight[V], load loader[V]) error {
	clock, _, _ := c.keys.clock.Get()
	c.beginLoad(f, clock)
	entry, err := c.source(ctx, f, load)
	if err != nil {
		return err
	}
	f.value = &entry.Value
	data, err := c.encode(f.key, entry.Value)
	if err != nil {
		return err
	}
	put, slots := c.keys.valuePut(f.key, lifetimes{ttl: c.opts.TTL}, clock, data), generation.SlotsOf(entry.Tags)
	putTags(&put, slots, f.tagClock)
	r := c.node.tier.Write(ctx, []shared.Put{put})[0]
	if r.Err == nil {
		e := c.newEntry(f.key, entry.Value, len(data), f.stamp, r.Revision)
		e.Tag(slots)
		c.keys.space.Install(f.key, f.hash, &e.Entry, c.keys.nearLife(c.opts.NearTTL))
	}
	return nil
}
