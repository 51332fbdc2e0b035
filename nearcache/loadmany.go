package nearcache

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// permit is what a flight of a batch may do with the value it loads.
type permit[V any] struct {
	f    *flight[V]
	hold // without a lease, it stores nothing
}

// loadLeft loads for flights whose read is over, each of which has a loader.
func (c *Cache[V]) loadLeft(ctx context.Context, left []looked[V], load manyLoader[V]) {
	var err error = &PanicError{} // stands if user code ends this goroutine
	defer func() {
		for _, l := range left {
			c.landWith(l.f, err)
		}
	}()
	err = c.keys.guard("", "", func() error {
		c.flyMany(ctx, left, load)
		return nil
	})
}

func (c *Cache[V]) flyMany(ctx context.Context, left []looked[V], load manyLoader[V]) {
	if c.node.tier == nil {
		c.loadMany(ctx, alone(left), load, c.opts.NearTTL)
		return
	}
	var failed, missing []looked[V]
	for _, l := range left {
		if l.err != nil {
			failed = append(failed, l)
		} else {
			missing = append(missing, l)
		}
	}
	permits, others, unasked, stop := c.acquireMany(ctx, missing)
	failed = append(failed, unasked...)
	c.keys.degraded.Add(uint64(len(failed)))
	var wg sync.WaitGroup
	defer wg.Wait() // also if user code ends this goroutine: these flights are not for loadLeft to land
	defer stop()
	for _, l := range others {
		// Somebody else loads it, or a lease cannot be had: each such key
		// goes the way of a single one.
		wg.Go(func() { c.runLoad(ctx, l.f, single(load), l.look) })
	}
	if len(permits) > 0 {
		c.keys.readyTagClock(ctx)
	}
	c.loadMany(ctx, append(permits, alone(failed)...), load, c.node.opts.MaxStaleness)
}

// alone returns permits to load for this node only.
func alone[V any](left []looked[V]) []permit[V] {
	permits := make([]permit[V], len(left))
	for i, l := range left {
		permits[i].f = l.f
	}
	return permits
}

// acquireMany asks for the leases of keys that are missing, in one round trip. It
// returns the flights that got one, those that cannot have one now, and those for
// which the shared tier failed. The leases are renewed until stop is called: while
// the values are loaded, and stored part by part.
func (c *Cache[V]) acquireMany(ctx context.Context, missing []looked[V]) (granted []permit[V], others, failed []looked[V], stop func()) {
	claims, asking := make([]shared.Claim, 0, len(missing)), make([]looked[V], 0, len(missing))
	for _, l := range missing {
		switch {
		case c.node.faults.Off(fault.Leases) || errors.Is(l.found.Err, shared.ErrNewerFormat):
			others = append(others, l)
			continue
		case l.beside():
			claims = append(claims, c.keys.claimBeside(l.f.key))
		default:
			claims = append(claims, c.keys.claimInPlace(l.f.key, l.found))
		}
		asking = append(asking, l)
	}
	var besides []looked[V]
	var leases []shared.Claim   // of besides
	var grants []shared.Claimed // likewise
	var held []shared.Claim     // all that were granted
	asked := time.Now()
	for i, got := range c.node.tier.Acquire(ctx, claims) {
		switch l := asking[i]; {
		case got.Err != nil:
			c.keys.sharedErrors.Add(1)
			failed = append(failed, l)
			continue
		case got.Status != driver.LeaseGranted:
			others = append(others, l)
			continue
		case l.beside():
			besides, leases, grants = append(besides, l), append(leases, claims[i]), append(grants, got)
		default:
			granted = append(granted, permit[V]{f: l.f, hold: c.keys.holdInPlace(claims[i], &got, l.found)})
		}
		held = append(held, claims[i])
	}
	stop = c.keys.renew(ctx, held, asked)
	kept, changed := c.stillKept(ctx, besides, leases, grants)
	return append(granted, kept...), append(others, changed...), failed, stop
}

// beside reports whether the record found has an old value that is of use until it
// is replaced, so that the lease is to be beside it.
func (l *looked[V]) beside() bool { return l.found.Kept && l.f.old != nil }

// stillKept returns the flights whose records, which they have leases beside, are
// still those that they found, and gives the leases of the others back: whoever held
// such a lease before may have refreshed the record.
func (c *Cache[V]) stillKept(ctx context.Context, besides []looked[V], leases []shared.Claim, grants []shared.Claimed) (kept []permit[V], changed []looked[V]) {
	if len(besides) == 0 {
		return nil, nil
	}
	keys := make([]string, len(besides))
	for i, l := range besides {
		keys[i] = l.f.key
	}
	found, err := c.keys.readRecords(ctx, keys)
	var back []shared.Put
	for i, l := range besides {
		if err != nil || found[i].Nonce != l.found.Nonce || !found[i].Kept {
			back = append(back, c.keys.released(leases[i], nil))
			changed = append(changed, l)
			continue
		}
		kept = append(kept, permit[V]{f: l.f, hold: c.keys.holdBeside(leases[i], &grants[i], l.found)})
	}
	c.keys.giveBack(ctx, back...)
	return kept, changed
}

// loadMany calls load once for all permits and does with each value what its
// permit allows: store it, or keep it near for life.
func (c *Cache[V]) loadMany(ctx context.Context, permits []permit[V], load manyLoader[V], life time.Duration) {
	if len(permits) == 0 {
		return
	}
	var ended recency // the newest of all keys
	for i := range permits {
		c.keys.beginLag(&permits[i].lag)
		ended = ended.newer(permits[i].ended)
	}
	ctx = withRecency(c.withPrevious(ctx, nil), ended)
	entries, failure := c.sourceMany(ctx, permits, load)
	ends := make([]ending[V], 0, len(permits))
	for i := range permits {
		p := &permits[i]
		entry, ok := entries[p.f.key]
		err := failure
		switch {
		case err != nil:
		case ok:
			err = c.accept(ctx, p.f.key, &entry)
		default:
			err = ErrNotFound
		}
		if p.lease.Token != 0 {
			ends = append(ends, ending[V]{f: p.f, hold: p.hold, entry: entry, err: err})
			continue
		}
		p.f.err = c.keepLoaded(p.f, &entry, life, err)
		c.land(p.f)
	}
	for len(ends) > 0 {
		n := c.concludePart(ctx, ends)
		c.keys.giveBack(ctx, c.besides(ends[:n])...)
		for i := range ends[:n] {
			ends[i].f.err = ends[i].err
			c.land(ends[i].f)
		}
		ends = ends[n:]
	}
}

// sourceMany calls the loader of several keys.
func (c *Cache[V]) sourceMany(ctx context.Context, permits []permit[V], load manyLoader[V]) (map[string]Entry[V], error) {
	keys := make([]string, len(permits))
	for i := range permits {
		p := &permits[i]
		keys[i] = p.f.key
		clock := p.clock
		if p.lease.Token == 0 {
			clock, _, _ = c.keys.clock.Get()
		}
		c.beginLoad(p.f, clock)
	}
	return callSource(ctx, c, keys, func(ctx context.Context) (map[string]Entry[V], error) {
		return load(ctx, keys)
	})
}

// besides returns what gives back the leases of ends that are beside their records.
func (c *Cache[V]) besides(ends []ending[V]) (back []shared.Put) {
	for i := range ends {
		if e := &ends[i]; e.expect != 0 {
			back = append(back, c.keys.released(e.lease, e.err))
		}
	}
	return back
}
