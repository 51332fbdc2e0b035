package nearcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// Get returns the value of key from the near tier or the shared tier. With Options.Loader it
// then does what [Cache.FetchEntry] does. The error is [ErrNotFound] if nobody has it, with a
// reason such as [ErrDeleted], [ErrInvalidKey], [ErrClosed], the error of ctx, or that of the shared tier. It wraps [ErrOutcomeUnknown] while an
// earlier write of the key by this node is unconfirmed: what the shared tier has
// may be older than that write, so it is not read; Fetch asks the source. The last
// two read as ErrNotFound with Options.ErrorsAsMisses.
func (c *Cache[V]) Get(ctx context.Context, key string) (V, error) {
	hash := c.keys.Space.Hash(key)
	if e := c.hit(key, hash); e != nil {
		if c.with.Clone != nil {
			return c.clone(key, e.value)
		}
		return e.value, nil
	}
	return c.miss(ctx, key, hash, c.single)
}

// Fetch is Get, and loads a missing value from the source. Callers of one node
// who miss a key at the same time share one load, and with a shared tier one
// node of the fleet loads for all.
//
// The load runs on a context of its own, with the values of the first caller's
// ctx and Options.LoadTimeout: the end of ctx ends only this caller's wait. An
// error of load is returned as it is, a panic as a [PanicError]; nothing is
// stored then. When the shared tier cannot be reached, or not be believed (see
// NodeOptions.MaxStaleness), the value comes from the source and is kept near for
// NodeOptions.MaxStaleness at most. A value that cannot be encoded, or is too large
// for the shared tier, is returned and not cached; Stats.Values.Unencodable and
// Stats.Values.TooLarge count it.
//
// A caller never gets the result of a load that began before a write or an
// invalidation which this node had applied when the call began.
func (c *Cache[V]) Fetch(ctx context.Context, key string, load func(ctx context.Context, key string) (V, error)) (V, error) {
	hash := c.keys.Space.Hash(key)
	if e := c.hit(key, hash); e != nil {
		if c.with.Clone != nil {
			return c.clone(key, e.value)
		}
		return e.value, nil
	}
	return c.fetch(ctx, key, hash, load)
}

// fetch is apart from Fetch so that a hit allocates nothing.
func (c *Cache[V]) fetch(ctx context.Context, key string, hash uint64, load func(context.Context, string) (V, error)) (V, error) {
	if load == nil {
		return *new(V), fmt.Errorf("nearcache: fetch %q: the loader is nil", key)
	}
	return c.miss(ctx, key, hash, func(ctx context.Context, keys []string, _ *shared.Found) ([]loaded[V], error) {
		v, err := load(ctx, keys[0])
		if err != nil {
			return nil, err
		}
		return []loaded[V]{{entry: Loaded[V]{Value: v}}}, nil
	})
}

// FetchEntry is Fetch for loaders that decide how long their value lives, and
// what its tags are, or that want to know the old value.
func (c *Cache[V]) FetchEntry(ctx context.Context, key string, load Loader[V]) (V, error) {
	hash := c.keys.Space.Hash(key)
	if e := c.hit(key, hash); e != nil {
		if c.with.Clone != nil {
			return c.clone(key, e.value)
		}
		return e.value, nil
	}
	if load == nil {
		return *new(V), fmt.Errorf("nearcache: fetch %q: the loader is nil", key)
	}
	c.keys.Tags.Expect()
	return c.miss(ctx, key, hash, c.loadEntry(load))
}

// miss reads a key that is no hit.
func (c *Cache[V]) miss(ctx context.Context, key string, hash uint64, load loader[V]) (V, error) {
	if err := c.keys.Check(key); err != nil {
		return *new(V), err
	}
	for counted := false; ; counted = true {
		late, ok := c.lateAnswer(ctx, key, hash, load)
		if ok {
			return late.value, late.err
		}
		if !counted {
			c.missed(key, hash)
		}
		if err := ctx.Err(); err != nil {
			return *new(V), err
		}
		f, mine := c.joinOrStart(key, hash, load, 0, nil)
		if f == nil {
			if e := c.hit(key, hash); e != nil {
				return c.give(key, e.value)
			}
			continue
		}
		a := c.serve(ctx, f, mine, load, late.stale, c.opts.Stale.For > 0)
		return a.value, a.err
	}
}

// lateAnswer answers from what the near tier has beside hits. It is asked after
// a look for a hit was in vain, so that hits do not pay for it.
//
// A value that is about to end is refreshed with load, if there is one. An old
// value is an answer for as long as no attempt is made to get another; stale without an
// answer says that there is one.
func (c *pipeline[V]) lateAnswer(ctx context.Context, key string, hash uint64, load loader[V]) (a answer[V], ok bool) {
	if !c.late {
		return a, false
	}
	found, use := c.keys.Space.FindLate(key, hash)
	switch {
	case use == near.Nothing || use == near.Stale && !c.node.Near.Resting(found.Extra()):
		return answer[V]{stale: use == near.Stale}, false
	case use == near.Stale:
		return c.staleValue(key, entryOf[V](found).value), true
	}
	c.hits.add()
	found.Hit()
	a.at = found.Stamp.At()
	if found.Extra().Absent {
		c.absentHits.Add(1)
		a.err = ErrNegative
		return a, true
	}
	if load != nil && c.opts.RefreshAhead > 0 && c.node.Near.Claim(found.Extra()) {
		c.refreshSoon(ctx, key, hash, load)
	}
	a.value, a.err = c.give(key, entryOf[V](found).value)
	return a, true
}

// start runs calls for the caller who began them. The shared tier is read on the caller's
// goroutine and context, which saves a hit the change of goroutines; the rest is left to
// other goroutines. A caller who may have an old value does not wait for a slow shared
// tier: all of it is left to another goroutine.
func (c *pipeline[V]) start(ctx context.Context, calls []*call[V], load loader[V], hasOld bool) {
	apart := detached{c.keys.Context, ctx}
	again := calls // are read apart
	if c.opts.Stale.Timeout == 0 || !hasOld {
		soon := calls[0].hurry(ctx, load)
		c.guarded(calls, func() { c.read(soon, calls) })
		again = nil
		if failed := func(f *call[V]) bool { return f.readErr != nil && !f.state.ended() }; slices.ContainsFunc(calls, failed) && coherence.OutOfTime(ctx) {
			// The read ended with its caller: others may wait.
			again = slices.DeleteFunc(slices.Clone(calls), func(f *call[V]) bool { return !failed(f) })
			calls = slices.DeleteFunc(slices.Clone(calls), failed)
		}
		c.loadApart(apart, calls, load)
	}
	if len(again) > 0 {
		go func(calls []*call[V]) { // ends with its read, or with the node, unless a codec or the shared tier's client blocks
			c.guarded(calls, func() { c.read(apart, calls) })
			c.loadApart(apart, calls, load)
		}(again)
	}
}

// guarded calls run, which works on all. If that panics, or ends the goroutine, those
// that are not over end with it.
func (c *pipeline[V]) guarded(all []*call[V], run func()) {
	returned, err := false, error(nil)
	defer func() {
		if !returned {
			p := &PanicError{}
			if len(all) == 1 {
				p.Key = all[0].key
			}
			err = p
		}
		if err != nil {
			for _, f := range all {
				c.finish(f, err)
			}
		}
	}()
	err = c.guard("", "", func() error { run(); return nil })
	returned = true
}

// read reads the shared tier for calls in one round trip, and ends those whose result it has.
// What it has of a key may be older than an own write that is unconfirmed, and is not read then.
func (c *pipeline[V]) read(ctx context.Context, calls []*call[V]) {
	if c.node.Tier == nil {
		return
	}
	if c.keys.Pending.Some() {
		calls = slices.DeleteFunc(slices.Clone(calls), func(f *call[V]) bool {
			pending := c.keys.Pending.HasKey(f.key)
			if pending {
				f.readErr = coherence.ErrPending
			}
			return pending
		})
	}
	if len(calls) == 0 {
		return
	}
	keys := calls[0].keyRoom[:]
	if len(calls) > 1 {
		keys = make([]string, len(calls))
	}
	for i, f := range calls {
		if keys[i] = f.key; f.bounded {
			c.keys.ForgetClock() // there may have been a Clear, or a tag, that nobody told of
		}
	}
	records, err := c.keys.ReadRecords(ctx, keys)
	if err != nil {
		err = c.keys.SharedFailed(err)
	}
	for i, f := range calls {
		f.readErr = err
		if err == nil && errors.Is(records[i].Err, shared.ErrUnread) {
			f.readErr = c.keys.SharedFailed(records[i].Err)
		}
		if f.readErr != nil {
			continue
		}
		f.head, f.found = records[i].Head, &records[i]
		if f.absence = c.use(f, f.found); f.absence == nil {
			c.finish(f, nil)
		} else {
			c.keepStale(f)
		}
	}
}

// loadApart ends the reads of calls, and leaves what there is to load to other
// goroutines. Calls that were begun without a loader may have got one each.
func (c *pipeline[V]) loadApart(ctx detached, calls []*call[V], load loader[V]) {
	loads := false
	for _, f := range calls {
		if f.state.ended() {
			continue
		}
		switch c.advance(f, stateMissed); {
		case f.state.ended(): // nobody wants a load
		case load == nil:
			go c.loadMissed(ctx, f.one[:], f.load) // ends with its load, or with the node, unless a codec or the shared tier's client blocks
		default:
			loads = true
		}
	}
	if loads {
		go c.loadMissed(ctx, calls, load) // likewise
	}
}

// use takes the record found as the result of f and puts it near, if it is a
// live value that this cache can read, or says that there is none. Otherwise it returns why it
// reads as a miss.
func (c *pipeline[V]) use(f *call[V], found *shared.Found) (absence error) {
	w, absent := coherence.WayRecord, found.Kind == driver.KindNotFound
	var e *near.Entry
	var value *V
	var lives coherence.Lifetimes
	switch {
	case found.Err != nil:
		return absenceOf(found)
	case absent && c.opts.NotFoundTTL == 0:
		return ErrNegative
	case absent:
		lives = c.opts.livesOf(found)
		w, e = coherence.WayAbsentRecord, c.newAbsent(f.key, f.stamp)
	default:
		decoded, err := c.decode(f.key, found, true)
		if c.keys.Cleared(found) {
			return ErrCleared
		}
		if err != nil {
			return ErrUndecodable
		}
		lives = c.opts.livesOf(found)
		c.complete(decoded, found.Value, c.opts.reader(&found.Record), lives.TTL, lives.Ahead)
		c.chargeAlias(decoded, found)
		if f.ends {
			decoded.EndsIn(cmp.Or(found.Left, shared.MaxDuration))
		}
		e, value = &decoded.Entry, &decoded.value
	}
	if f.refresh != nil {
		w = coherence.WayRefreshRecord
	}
	a := c.found(w, f, e, found)
	a.Life = lives.Near
	if !c.keys.Arrive(&a) {
		return ErrNotFound
	}
	c.sharedHits.Add(1)
	f.value, f.err, f.asOf = value, nil, e.Stamp.At()
	if absent {
		f.err = ErrNegative
	}
	return nil
}
