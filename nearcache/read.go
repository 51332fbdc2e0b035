package nearcache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/nearbus/nearbus/shared"
)

// Get returns the value of key from the near tier or the shared tier. The
// error is [ErrNotFound] if neither has it, [ErrInvalidKey], [ErrClosed], the
// error of ctx, or that of the shared tier; the latter reads as ErrNotFound
// with Options.ErrorsAsMisses.
func (c *Cache[V]) Get(ctx context.Context, key string) (V, error) {
	hash := c.space.Hash(key)
	if e := c.hit(key, hash); e != nil {
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
// stored then. When the shared tier cannot be reached, the value comes from
// the source and is kept near for NodeOptions.MaxStaleness at most.
//
// A caller never gets the result of a load that began before a write or an
// invalidation which this node had applied when the call began.
func (c *Cache[V]) Fetch(ctx context.Context, key string, load func(ctx context.Context, key string) (V, error)) (V, error) {
	hash := c.space.Hash(key)
	if e := c.hit(key, hash); e != nil {
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

// FetchEntry is Fetch for loaders that decide how long their value lives.
func (c *Cache[V]) FetchEntry(ctx context.Context, key string, load func(ctx context.Context, key string) (Entry[V], error)) (V, error) {
	hash := c.space.Hash(key)
	if e := c.hit(key, hash); e != nil {
		return e.value, nil
	}
	if load == nil {
		return *new(V), fmt.Errorf("nearcache: fetch %q: the loader is nil", key)
	}
	return c.miss(ctx, key, hash, load)
}

func (c *Cache[V]) miss(ctx context.Context, key string, hash uint64, load loader[V]) (V, error) {
	if err := c.check(key); err != nil {
		return *new(V), err
	}
	c.misses.Add(1)
	for {
		if err := ctx.Err(); err != nil {
			return *new(V), err
		}
		f, run := c.board(key, hash, load)
		if f == nil {
			if e := c.hit(key, hash); e != nil {
				return e.value, nil
			}
			continue
		}
		if run {
			// Ends with its load, or with the node's context at the latest,
			// unless the codec or the shared tier's client blocks.
			go c.run(detached{c.node.ctx, ctx}, f)
		}
		return c.wait(ctx, f, load != nil)
	}
}

// run reads, and loads if need be, on behalf of all who wait for f.
func (c *Cache[V]) run(ctx context.Context, f *flight[V]) {
	defer c.land(f)
	f.err = &PanicError{} // stands if user code ends this goroutine
	f.err = guard(func() error { return c.fly(ctx, f) })
}

func (c *Cache[V]) fly(ctx context.Context, f *flight[V]) error {
	if c.node.tier == nil {
		return c.loadAlone(ctx, f, c.endLook(f, false, nil), c.opts.NearTTL)
	}
	found, err := c.readRecords(ctx, []string{f.key})
	if err != nil {
		return c.loadDegraded(ctx, f, c.endLook(f, false, c.sharedFailed(err)))
	}
	if c.use(f, &found[0]) {
		c.endLook(f, true, nil)
		return nil
	}
	return c.loadShared(ctx, f, c.endLook(f, false, nil), &found[0])
}

// use takes the record found as the result of f and installs it, if it is a
// live value that this cache can read.
func (c *Cache[V]) use(f *flight[V], found *shared.Found) bool {
	v, err := c.decode(found)
	if err != nil {
		return false
	}
	c.sharedHits.Add(1)
	life := c.opts.NearTTL
	if found.Left > 0 {
		life = min(life, found.Left)
	}
	f.value = v
	e := c.newEntry(f.key, v, len(found.Value), f.stamp, found.Revision)
	c.space.Install(f.key, f.hash, &e.Entry, c.nearLife(life))
	return true
}

var errUnusable = errors.New("nearcache: record not usable")

// decode returns the value of a record, or an error if it reads as a miss.
func (c *Cache[V]) decode(found *shared.Found) (v V, err error) {
	if found.Err != nil {
		return v, found.Err
	}
	clock, _, _ := c.clock.get()
	if found.Kind != shared.KindValue || found.Clock < clock {
		return v, errUnusable
	}
	if found.Codec != c.opts.Codec.ID() {
		c.undecodable.Add(1)
		return v, errUnusable
	}
	err = guard(func() error { return c.opts.Codec.Unmarshal(found.Value, &v) })
	if err != nil {
		c.undecodable.Add(1)
		return *new(V), err
	}
	return v, nil
}

// sharedFailed counts a failure of the shared tier and names it.
func (c *Cache[V]) sharedFailed(err error) error {
	c.sharedErrors.Add(1)
	return fmt.Errorf("nearcache: cache %q: shared tier: %w", c.name, err)
}

// guard calls f and turns a panic, or an end of the goroutine, into an error.
func guard(f func() error) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		err = &PanicError{Value: recover(), Stack: debug.Stack()}
	}()
	err = f()
	returned = true
	return err
}
