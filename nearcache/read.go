package nearcache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// Get returns the value of key from the near tier or the shared tier. The
// error is [ErrNotFound] if neither has it, [ErrInvalidKey], [ErrClosed], the
// error of ctx, or that of the shared tier. It wraps [ErrOutcomeUnknown] while an
// earlier write of the key by this node is unconfirmed: what the shared tier has
// may be older than that write, so it is not read; Fetch asks the source. The last
// two read as ErrNotFound with Options.ErrorsAsMisses.
func (c *Cache[V]) Get(ctx context.Context, key string) (V, error) {
	hash := c.keys.space.Hash(key)
	if e := c.hit(key, hash); e != nil {
		if c.opts.Clone != nil {
			return c.clone(key, e.value)
		}
		return e.value, nil
	}
	return c.miss(ctx, key, hash, nil)
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
// for the shared tier, is returned and not cached; Stats.Unencodable and
// Stats.TooLarge count it.
//
// A caller never gets the result of a load that began before a write or an
// invalidation which this node had applied when the call began.
func (c *Cache[V]) Fetch(ctx context.Context, key string, load func(ctx context.Context, key string) (V, error)) (V, error) {
	hash := c.keys.space.Hash(key)
	if e := c.hit(key, hash); e != nil {
		if c.opts.Clone != nil {
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
	return c.miss(ctx, key, hash, func(ctx context.Context, key string) (Entry[V], error) {
		v, err := load(ctx, key)
		return Entry[V]{Value: v}, err
	})
}

// FetchEntry is Fetch for loaders that decide how long their value lives, and
// what its tags are.
func (c *Cache[V]) FetchEntry(ctx context.Context, key string, load func(ctx context.Context, key string) (Entry[V], error)) (V, error) {
	hash := c.keys.space.Hash(key)
	if e := c.hit(key, hash); e != nil {
		if c.opts.Clone != nil {
			return c.clone(key, e.value)
		}
		return e.value, nil
	}
	if load == nil {
		return *new(V), fmt.Errorf("nearcache: fetch %q: the loader is nil", key)
	}
	c.keys.tags.Expect()
	return c.miss(ctx, key, hash, load)
}

func (c *Cache[V]) miss(ctx context.Context, key string, hash uint64, load loader[V]) (V, error) {
	if err := c.keys.check(key); err != nil {
		return *new(V), err
	}
	for counted := false; ; counted = true {
		if a, ok := c.lateAnswer(ctx, key, hash, load); ok {
			return a.value, a.err
		}
		if !counted {
			c.keys.missed(hash)
		}
		if err := ctx.Err(); err != nil {
			return *new(V), err
		}
		f, run := c.board(key, hash, load)
		if f == nil {
			if e := c.hit(key, hash); e != nil {
				return c.give(key, e.value)
			}
			continue
		}
		if run {
			c.begin(ctx, f)
		}
		a := c.wait(ctx, f, load != nil)
		return a.value, a.err
	}
}

// begin runs f for the caller who boarded it first.
func (c *Cache[V]) begin(ctx context.Context, f *flight[V]) {
	if c.opts.SoftTimeout > 0 && c.keys.hasOld(f.key, f.hash) {
		go c.run(detached{c.node.ctx, ctx}, f) // ends with its load; the caller does not wait for a slow shared tier
		return
	}
	c.lookHere(ctx, f)
}

// lookHere reads the shared tier for f on the caller's goroutine and context,
// which saves a hit the change of goroutines, and leaves the rest to another
// goroutine.
func (c *Cache[V]) lookHere(ctx context.Context, f *flight[V]) {
	var l look
	f.err = &PanicError{Key: f.key} // stands if the codec ends this goroutine
	settled := false
	defer func() {
		if !settled {
			c.land(f)
		}
	}()
	f.err = c.keys.guard("", "", func() error {
		l = c.look(ctx, f)
		return nil
	})
	settled = true
	switch {
	case f.found, f.err != nil:
		c.land(f)
	case l.err != nil && ended(ctx):
		go c.run(detached{c.node.ctx, ctx}, f) // the read ended with its caller: others may wait
	default:
		if load := c.endLook(f, l.err); load != nil {
			go c.runLoad(detached{c.node.ctx, ctx}, f, load, l)
		} else {
			c.land(f)
		}
	}
}

// ended reports whether ctx has ended, or will in a moment: the deadline of a
// socket can pass before the context itself tells.
func ended(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(end)
}

// run is a flight from its beginning, on a goroutine of its own. It ends with
// its load, or with the node's context at the latest, unless the codec or the
// shared tier's client blocks.
func (c *Cache[V]) run(ctx context.Context, f *flight[V]) {
	defer c.land(f)
	f.err = &PanicError{Key: f.key} // stands if user code ends this goroutine
	f.err = c.keys.guard("", "", func() error {
		l := c.look(ctx, f)
		if f.found {
			return nil
		}
		return c.load(ctx, f, c.endLook(f, l.err), l)
	})
}

// runLoad is a flight from the end of its read.
func (c *Cache[V]) runLoad(ctx context.Context, f *flight[V], load loader[V], l look) {
	defer c.land(f)
	f.err = &PanicError{Key: f.key} // stands if user code ends this goroutine
	f.err = c.keys.guard("", "", func() error { return c.load(ctx, f, load, l) })
}

// look is the outcome of a read of the shared tier that did not give a flight its
// value.
type look struct {
	found *shared.Found // what is there
	err   error         // the shared tier failed
}

// look reads the shared tier for f, and sets f.found if that gave its value.
func (c *Cache[V]) look(ctx context.Context, f *flight[V]) (l look) {
	if c.node.tier == nil {
		return l
	}
	if c.keys.pending.HasKey(f.key) {
		return look{err: errPending}
	}
	if f.bounded {
		c.keys.forgetClock() // there may have been a Clear, or a tag, that nobody told of
	}
	found, err := c.keys.readRecords(ctx, []string{f.key})
	if err != nil {
		return look{err: c.keys.sharedFailed(err)}
	}
	f.head = found[0].Head
	if f.found = c.use(f, &found[0]); f.found {
		return l
	}
	c.keepOld(f, &found[0])
	return look{found: &found[0]}
}

// load loads after a read that did not hit. Without a loader there is nothing
// to do.
func (c *Cache[V]) load(ctx context.Context, f *flight[V], load loader[V], l look) error {
	switch {
	case load == nil:
		return nil
	case c.node.tier == nil:
		return c.loadAlone(ctx, f, load, c.opts.NearTTL)
	case l.err != nil:
		return c.loadDegraded(ctx, f, load)
	default:
		return c.loadShared(ctx, f, load, l.found)
	}
}

// use takes the record found as the result of f and puts it near, if it is a
// live value that this cache can read, or says that there is none.
func (c *Cache[V]) use(f *flight[V], found *shared.Found) bool {
	w, absent := wayRecord, found.Kind == driver.KindNotFound
	var e *near.Entry
	var value *V
	switch {
	case found.Err != nil, absent && c.opts.NotFoundTTL == 0:
		return false
	case absent:
		w, e = wayAbsentRecord, c.newAbsent(f.key, f.stamp, found.Revision)
	default:
		decoded, err := c.decode(f.key, found)
		if err != nil {
			return false
		}
		c.label(decoded, len(found.Value), f.stamp, found.Revision)
		c.extendFound(decoded, found)
		e, value = &decoded.Entry, &decoded.value
	}
	if f.background {
		w = wayRefreshRecord
	}
	a := c.found(w, f, e, found)
	a.life = c.keys.nearLife(c.opts.nearLifeOf(found))
	if !c.keys.arrive(&a) {
		return false
	}
	c.keys.sharedHits.Add(1)
	f.value, f.absent, f.fresh, f.asOf = value, absent, true, e.Stamp.At()
	return true
}

var errUnusable = errors.New("nearcache: record not usable")

// decode returns an entry that has the key and the value of a record and nothing
// else yet, or an error if it reads as a miss.
func (c *Cache[V]) decode(key string, found *shared.Found) (*entry[V], error) {
	if found.Err != nil {
		return nil, found.Err
	}
	if found.Kind != driver.KindValue || c.keys.cleared(found) {
		return nil, errUnusable
	}
	codec := c.opts.reader(&found.Record)
	if codec == nil {
		c.keys.foreign(key, foreignFormat, found)
		return nil, errUnusable
	}
	e := newNamed[V](key)
	if err := c.keys.guard(callbackCodec, key, func() error { return codec.Unmarshal(found.Value, &e.value) }); err != nil {
		c.keys.foreign(key, foreignType, found)
		return nil, err
	}
	return e, nil
}

// cleared reports whether the record found was there before a Clear that this node
// knows of.
func (k *keyspace) cleared(found *shared.Found) bool {
	clock, _, _ := k.clock.Get()
	return found.Clock < clock && !k.node.faults.Off(fault.Clock)
}

// sharedFailed counts a failure of the shared tier and names it.
func (k *keyspace) sharedFailed(err error) error {
	k.sharedErrors.Add(1)
	return fmt.Errorf("nearcache: cache %q: shared tier: %w", k.name, err)
}
