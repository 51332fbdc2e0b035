package nearcache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nearbus/nearbus/shared"
)

// minPause is the first pause of a node that waits for another's load.
const minPause = time.Millisecond

// source calls the loader of one key.
func (c *Cache[V]) source(ctx context.Context, f *flight[V], load loader[V]) (entry Entry[V], err error) {
	f.tagClock, _, _ = c.tags.get()
	ctx = c.withPrevious(ctx, f.previous)
	entry, err = callSource(ctx, c, 1, func(ctx context.Context) (Entry[V], error) {
		return load(ctx, f.key)
	})
	if err == nil {
		err = entry.conclude(ctx)
	}
	if err == nil {
		_, _, err = c.opts.lives(&entry)
	}
	if err == nil {
		err = checkTags(entry.Tags, maxTags)
	}
	return entry, err
}

// sourceMany calls the loader of several keys.
func (c *Cache[V]) sourceMany(ctx context.Context, keys []string, load manyLoader[V]) (map[string]V, error) {
	return callSource(ctx, c, len(keys), func(ctx context.Context) (map[string]V, error) {
		return load(ctx, keys)
	})
}

// callSource calls load within Options.LoadTimeout, once there is a place for
// it. A loader that does not
// heed the end of its context is left behind: its callers are not.
func callSource[V, R any](ctx context.Context, c *Cache[V], keys int, load func(context.Context) (R, error)) (R, error) {
	leave, err := c.enter(ctx)
	if err != nil {
		c.loadErrors.Add(uint64(keys))
		return *new(R), err
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.LoadTimeout)
	defer cancel()
	type answer struct {
		result R
		err    error
	}
	c.loads.Add(uint64(keys))
	answers := make(chan answer, 1)
	go func() { // ends when the loader returns
		defer leave()
		a := answer{err: &PanicError{}} // stands if the loader ends its goroutine
		defer func() { answers <- a }()
		var result R
		err := guard(func() (err error) {
			result, err = load(ctx)
			return err
		})
		a = answer{result, err}
	}()
	var a answer
	select {
	case a = <-answers:
	case <-ctx.Done():
		a.err = fmt.Errorf("nearcache: cache %q: the loader did not return in time: %w", c.name, ctx.Err())
	}
	if a.err != nil {
		if !errors.Is(a.err, ErrNotFound) {
			c.loadErrors.Add(uint64(keys))
		}
		return *new(R), a.err
	}
	return a.result, nil
}

// loadAlone loads for this node only and keeps the value near for life at most,
// not at all if life is zero.
func (c *Cache[V]) loadAlone(ctx context.Context, f *flight[V], load loader[V], life time.Duration) error {
	floor := c.raiseFloor(f.key, f.hash)
	entry, err := c.source(ctx, f, load)
	c.settleFloor(floor, err)
	if err != nil {
		return c.noValueHere(f, life, err)
	}
	f.value, f.fresh = &entry.Value, true
	if life > 0 && !entry.NoStore {
		_, near, _ := c.opts.lives(&entry)
		c.installLoaded(f, &entry, min(near, life))
	}
	return nil
}

// installLoaded keeps a value near that has no record. The fence of its stamp
// holds for it as for any other.
func (c *Cache[V]) installLoaded(f *flight[V], entry *Entry[V], life time.Duration) {
	size := 0
	if c.opts.Cost == nil {
		data, err := c.encode(entry.Value)
		if err != nil {
			return
		}
		size = len(data)
	}
	e := c.newEntry(f.key, entry.Value, size, f.stamp, shared.Revision{})
	c.tagEntry(&e.Entry, slotsOf(entry.Tags))
	c.extend(e, life)
	c.space.Install(f.key, f.hash, &e.Entry, c.nearLife(life))
}

// loadDegraded loads while the shared tier is down.
func (c *Cache[V]) loadDegraded(ctx context.Context, f *flight[V], load loader[V]) error {
	c.degraded.Add(1)
	return c.loadAlone(ctx, f, load, c.node.opts.MaxStaleness)
}

// loadShared loads under a lease, so that one node of the fleet loads for all.
// miss is what the read found.
func (c *Cache[V]) loadShared(ctx context.Context, f *flight[V], load loader[V], miss *shared.Found) error {
	if c.node.faults.NoLeases {
		return c.loadUnfenced(ctx, f, load)
	}
	if errors.Is(miss.Err, shared.ErrNewerFormat) {
		return c.loadAlone(ctx, f, load, 0)
	}
	if miss.Kept && f.old != nil {
		return c.loadKept(ctx, f, load, miss)
	}
	c.meetDeleted(f, miss)
	token, began := shared.NewNonce(), time.Now()
	discard := unusable(miss)
	for ctx.Err() == nil && time.Since(began) < c.node.tier.LeaseTTL() {
		clock, _, _ := c.clock.get()
		status, found, err := c.node.tier.Acquire(ctx, c.storeKey(f.key), token, clock, discard)
		switch {
		case err != nil:
			c.sharedErrors.Add(1)
			return c.loadDegraded(ctx, f, load)
		case status == shared.LeaseGranted:
			return c.loadLeased(ctx, f, load, hold{token: token, clock: clock})
		case status == shared.LeaseUnusable:
			return c.loadAlone(ctx, f, load, 0)
		case status == shared.LeasePresent:
			present := []shared.Found{found}
			if err := c.judge(ctx, []string{f.key}, present, false); err != nil {
				c.sharedErrors.Add(1)
				return c.loadDegraded(ctx, f, load)
			}
			if c.use(f, &present[0]) {
				return nil
			}
			discard = unusable(&present[0])
			continue
		}
		if c.await(ctx, f, began) {
			return nil
		}
	}
	// Waited for one lease time: whoever holds the lease is slow.
	c.overdue.Add(1)
	return c.loadAlone(ctx, f, load, 0)
}

// unusable returns the header of a record that a lease may replace: one that
// is there and is not a live value.
func unusable(found *shared.Found) []byte {
	if errors.Is(found.Err, shared.ErrNotFound) && !found.Kept {
		return nil
	}
	return found.Header
}

// await waits, with pauses that grow, until the holder of the lease has filled
// it, in which case f has its value, or the lease is gone, or one lease time
// has passed since began.
func (c *Cache[V]) await(ctx context.Context, f *flight[V], began time.Time) (landed bool) {
	c.waits.Add(1)
	for {
		waited := time.Since(began)
		if waited >= c.node.tier.LeaseTTL() || sleep(ctx, pauseAfter(waited)) != nil {
			return false
		}
		found, err := c.readRecords(ctx, []string{f.key})
		switch {
		case err != nil:
			return false // Acquire will meet it
		case c.use(f, &found[0]):
			return true
		case found[0].Kind != shared.KindLease:
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

// loadLeased loads and fills while this node holds the lease.
func (c *Cache[V]) loadLeased(ctx context.Context, f *flight[V], load loader[V], h hold) error {
	stop := c.renew(ctx, f.key, h.token, h.clock)
	entry, err := c.source(ctx, f, load)
	stop()
	if err != nil {
		return c.noValue(ctx, f, h, err)
	}
	c.fill(ctx, f, &entry, h)
	return nil
}

// hold is the right to store what a flight loads: a lease.
type hold struct {
	token, clock uint64

	// expect is the nonce of the record to be replaced, if the lease is beside
	// it; 0 if it is in its place.
	expect uint64

	// newest is a number that no record of before the load has passed.
	newest uint64
}

// nonce is that of the record to be stored; 0 means a new one.
func (h hold) nonce() uint64 {
	if h.expect != 0 {
		return 0
	}
	return h.token
}

// letGo ends a load under h that stores nothing. A lease in the place of the
// record is given back. One beside it is given back by whoever took it; but if a
// caller is given what was loaded, the record has had its day.
func (c *Cache[V]) letGo(ctx context.Context, f *flight[V], h hold) {
	switch {
	case h.expect == 0:
		c.release(ctx, f.key, h.token)
	case f.fresh && !f.background:
		r := c.node.tier.Fill(ctx, shared.Put{
			Key: c.storeKey(f.key), Expect: h.expect, Record: shared.Record{Kind: shared.KindTombstone},
		})
		switch {
		case errors.Is(r.Err, shared.ErrLeaseLost):
			c.unstored(f, h)
		case r.Err != nil:
			c.unfilled(f, h)
		}
	}
}

// unfilled is called when nobody knows whether what was loaded under h is stored.
func (c *Cache[V]) unfilled(f *flight[V], h hold) {
	c.sharedErrors.Add(1)
	c.unstored(f, h)
}

// unstored is called when what was loaded under h may not be stored. If a caller
// is given it, the value of the record that it was to replace must not come back.
func (c *Cache[V]) unstored(f *flight[V], h hold) {
	switch {
	case h.expect == 0 || f.background:
	case c.node.repairs != nil:
		c.floors.raise(f.hash, h.newest)
	default:
		c.floors.raise(f.hash, 0)
	}
}

// fill takes a loaded value as the result of f, stores it, and installs it if
// that was accepted. A value that was refused is not newer than what replaced
// the lease: if that is a value, it is the result instead.
func (c *Cache[V]) fill(ctx context.Context, f *flight[V], entry *Entry[V], h hold) {
	f.value, f.fresh = &entry.Value, true
	if entry.NoStore {
		c.letGo(ctx, f, h)
		return
	}
	ttl, near, _ := c.opts.lives(entry)
	data, err := c.encode(entry.Value)
	if err != nil {
		c.letGo(ctx, f, h)
		return
	}
	slots := slotsOf(entry.Tags)
	c.seeSlots(ctx, slots)
	put := c.valuePut(f.key, ttl, h.clock, data)
	put.Record.Nonce, put.Expect = h.nonce(), h.expect
	putTags(&put, slots, f.tagClock)
	r := c.store(ctx, put)
	switch {
	case r.Err == nil:
		e := c.newEntry(f.key, entry.Value, len(data), f.stamp, r.Revision)
		c.tagEntry(&e.Entry, slots)
		c.extend(e, ttl)
		c.space.Install(f.key, f.hash, &e.Entry, c.nearLife(near))
	case errors.Is(r.Err, shared.ErrLeaseLost):
		c.refusedFor(ctx, f, h)
	case errors.Is(r.Err, shared.ErrTooLarge):
		c.tooLarge.Add(1)
		c.letGo(ctx, f, h)
	default:
		c.unfilled(f, h)
	}
}

// store stores a value that was loaded, if nothing came in between.
func (c *Cache[V]) store(ctx context.Context, put shared.Put) shared.Receipt {
	if put.Expect != 0 && c.node.faults.NoExpectation {
		put.Expect = 0
		return c.node.tier.Write(ctx, []shared.Put{put})[0]
	}
	return c.node.tier.Fill(ctx, put)
}

// refusedFor reads what took the place of a lease, or of a record to be
// replaced, and reports whether that is the result of f now.
func (c *Cache[V]) refusedFor(ctx context.Context, f *flight[V], h hold) bool {
	c.refused.Add(1)
	found, err := c.readRecords(ctx, []string{f.key})
	if err == nil && c.use(f, &found[0]) {
		return true
	}
	c.unstored(f, h)
	return false
}

// renew renews the lease for as long as the load takes, or until it is lost.
// The stop function waits for a renewal under way.
func (c *Cache[V]) renew(ctx context.Context, key string, token, clock uint64) (stop func()) {
	return c.renewAs(ctx, c.storeKey(key), token, clock)
}

// renewAs is renew for a lease under this name in the shared tier.
func (c *Cache[V]) renewAs(ctx context.Context, name string, token, clock uint64) (stop func()) {
	every := c.node.tier.LeaseTTL() / 3
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	timer := time.AfterFunc(every, func() {
		defer close(ended)
		for {
			err := c.node.tier.Renew(ctx, name, token, clock)
			if errors.Is(err, shared.ErrLeaseLost) || sleep(ctx, every) != nil {
				return
			}
		}
	})
	return func() {
		cancel()
		if !timer.Stop() {
			<-ended
		}
	}
}

// release gives a lease back that led to nothing. If that fails, the lease
// ends by itself.
func (c *Cache[V]) release(ctx context.Context, key string, token uint64) {
	if err := c.node.tier.Release(ctx, c.storeKey(key), token); err != nil {
		c.sharedErrors.Add(1)
	}
}

// loadUnfenced is what a cache without leases does; only tests come here.
func (c *Cache[V]) loadUnfenced(ctx context.Context, f *flight[V], load loader[V]) error {
	entry, err := c.source(ctx, f, load)
	if err != nil {
		return err
	}
	f.value = &entry.Value
	data, err := c.encode(entry.Value)
	if err != nil {
		return err
	}
	clock, _, _ := c.clock.get()
	put, slots := c.valuePut(f.key, c.opts.TTL, clock, data), slotsOf(entry.Tags)
	putTags(&put, slots, f.tagClock)
	r := c.node.tier.Write(ctx, []shared.Put{put})[0]
	if r.Err == nil {
		e := c.newEntry(f.key, entry.Value, len(data), f.stamp, r.Revision)
		c.tagEntry(&e.Entry, slots)
		c.space.Install(f.key, f.hash, &e.Entry, c.nearLife(c.opts.NearTTL))
	}
	return nil
}
