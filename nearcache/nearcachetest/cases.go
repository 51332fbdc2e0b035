package nearcachetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/nearcache"
)

var cases = []testCase{
	{name: "own writes and monotonic reads", run: ownWrites},
	{name: "stale fill", run: staleFill},
	{name: "stale fill across nodes", run: staleFillAcross, skip: func(f Fleet) bool { return f.NoLeases }},
	{name: "agreement of writers", run: agreement, skip: func(f Fleet) bool { return f.NoLeases }},
	{name: "racing writers", run: racingWriters, skip: func(f Fleet) bool { return f.NoLeases }},
	{name: "clear", run: clearCase},
	{name: "one load", run: oneLoad, skip: func(f Fleet) bool { return f.NoLeases }},
}

func (f *env) anyView() *client { return f.views[rand.IntN(len(f.views))] }
func (f *env) anyKey() *oracle  { return f.keys[rand.IntN(len(f.keys))] }

// ownWrites has one writer to a key, on one node, and readers everywhere.
// Values are set, so a version that a node once answered with is in the shared
// tier for all later reads.
func ownWrites(ctx context.Context, f *env) error {
	c := newWorkers(ctx)
	for i, k := range f.keys {
		writer := f.views[i%len(f.views)]
		c.start(300*f.fleet.Scale, func(ctx context.Context) error {
			if err := f.write(ctx, writer, k, true); err != nil {
				return err
			}
			return f.read(ctx, writer, k)
		})
	}
	for _, v := range f.views {
		for range 2 {
			c.start(3000*f.fleet.Scale, func(ctx context.Context) error { return f.read(ctx, v, f.anyKey()) })
		}
	}
	if f.fleet.Options.RefreshAhead == 0 { // what is touched is not refreshed, which writes are to race with
		f.touchAll(c, 500*f.fleet.Scale)
	}
	if err := c.wait(); err != nil || f.fleet.NoLeases {
		return err
	}
	return f.agree(ctx)
}

// touchAll has keys touched everywhere meanwhile: that is to change nothing but their ends.
func (f *env) touchAll(c *workers, times int) {
	for _, v := range f.views {
		c.start(times, func(ctx context.Context) error {
			later := time.Duration(f.touches.Add(1)) * time.Hour // than any before
			err := v.cache.Touch(ctx, f.anyKey().key, later)
			if errors.Is(err, nearcache.ErrNotFound) || errors.Is(err, errors.ErrUnsupported) {
				return nil
			}
			return err
		})
	}
}

// staleFill invalidates while slow loads run on the same node. A load that
// began before the invalidation must leave nothing there.
func staleFill(ctx context.Context, f *env) error {
	v, c := f.views[0], newWorkers(ctx)
	v.delay = time.Millisecond
	for _, k := range f.keys {
		c.start(100*f.fleet.Scale, func(ctx context.Context) error {
			go func() { _, _ = f.fetch(ctx, v, k) }() // ends with its load
			pause(v.delay)
			if err := f.write(ctx, v, k, false); err != nil {
				return err
			}
			floor := v.floor[k.key].Load()
			version, err := f.fetch(ctx, v, k)
			if err != nil {
				return err
			}
			if version < floor {
				return fmt.Errorf("%s: version %d answered after %d was invalidated", k.key, version, floor)
			}
			return nil
		})
	}
	if err := c.wait(); err != nil {
		return err
	}
	return f.agree(ctx)
}

// staleFillAcross has slow loads on all nodes race writes of all nodes, and
// looks at what is left.
func staleFillAcross(ctx context.Context, f *env) error {
	for _, v := range f.views {
		v.delay = 2 * time.Millisecond
	}
	for range 20 * f.fleet.Scale {
		c := newWorkers(ctx)
		for _, k := range f.keys {
			for _, v := range f.views {
				c.start(2, func(ctx context.Context) error {
					_, err := f.fetch(ctx, v, k)
					return err
				})
			}
			set := rand.IntN(2) == 0
			c.start(2, func(ctx context.Context) error {
				pause(3 * time.Millisecond)
				return f.write(ctx, f.anyView(), k, set)
			})
		}
		if err := c.wait(); err != nil {
			return err
		}
		if err := f.agree(ctx); err != nil {
			return err
		}
	}
	return nil
}

// agreement has every node write every key, by setting and by invalidating.
func agreement(ctx context.Context, f *env) error {
	c := newWorkers(ctx)
	for _, v := range f.views {
		c.start(500*f.fleet.Scale, func(ctx context.Context) error {
			return f.write(ctx, v, f.anyKey(), rand.IntN(3) > 0)
		})
		c.start(2000*f.fleet.Scale, func(ctx context.Context) error {
			k := f.anyKey()
			_, err := f.fetch(ctx, v, k)
			return err
		})
	}
	f.touchAll(c, 200*f.fleet.Scale)
	if err := c.wait(); err != nil {
		return err
	}
	return f.agree(ctx)
}

// racingWriters has all nodes set one key at once. Any of the values may win,
// but all nodes must agree on which.
func racingWriters(ctx context.Context, f *env) error {
	for round := range int64(40 * f.fleet.Scale) {
		c := newWorkers(ctx)
		for _, k := range f.keys {
			for i, v := range f.views {
				c.start(1, func(ctx context.Context) error { return v.cache.SetEntry(ctx, k.key, k.entry(10*round+int64(i))) })
			}
		}
		if err := c.wait(); err != nil {
			return err
		}
		if err := eventually(ctx, func() error { return f.unanimous(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

// unanimous requires one answer of all nodes for each key. Where values live for
// as long as the options say, a node may have none any more.
func (f *env) unanimous(ctx context.Context) error {
	for _, k := range f.keys {
		first, of := int64(0), -1
		for i, v := range f.views {
			version, err := v.cache.Get(ctx, k.key)
			switch {
			case errors.Is(err, nearcache.ErrNotFound) && f.fleet.Options.TTL > 0:
			case err != nil:
				return fmt.Errorf("get %s: %w", k.key, err)
			case of < 0:
				first, of = version, i
			case version != first:
				return fmt.Errorf("node %d answers %s with %d, node %d with %d", of, k.key, first, i, version)
			}
		}
	}
	return nil
}

// clearCase clears the cache on one node while all read.
func clearCase(ctx context.Context, f *env) error {
	for range 10 * f.fleet.Scale {
		c := newWorkers(ctx)
		for _, v := range f.views {
			c.start(50, func(ctx context.Context) error {
				k := f.anyKey()
				_, err := f.fetch(ctx, v, k)
				return err
			})
		}
		f.touchAll(c, 10)
		c.start(1, func(ctx context.Context) error { return f.clear(ctx, f.views[0]) })
		if err := c.wait(); err != nil {
			return err
		}
		if err := f.agree(ctx); err != nil {
			return err
		}
	}
	return nil
}

// clear makes new versions of all keys in the source, clears the cache through
// v, and requires v to answer with nothing older.
func (f *env) clear(ctx context.Context, v *client) error {
	for _, k := range f.keys {
		k.version.Add(1)
	}
	if err := v.cache.Clear(ctx); err != nil {
		return fmt.Errorf("clear: %w", err)
	}
	for _, k := range f.keys {
		version, err := f.fetch(ctx, v, k)
		if err != nil {
			return err
		}
		if want := k.version.Load(); version != want {
			return fmt.Errorf("%s: version %d answered after %d was cleared", k.key, version, want)
		}
	}
	return nil
}

// oneLoad has many callers on all nodes miss a cold key at once.
func oneLoad(ctx context.Context, f *env) error {
	for i, k := range f.keys {
		var loads atomic.Int64
		c := newWorkers(ctx)
		for _, v := range f.views {
			for range 16 {
				c.start(1, func(ctx context.Context) error {
					_, err := v.cache.Fetch(ctx, k.key, func(context.Context, string) (int64, error) {
						loads.Add(1)
						time.Sleep(20 * time.Millisecond)
						return int64(i), nil
					})
					return err
				})
			}
		}
		if err := c.wait(); err != nil {
			return err
		}
		if n := loads.Load(); n != 1 {
			return fmt.Errorf("%s was loaded %d times: %w", k.key, n, errMoreThanOnce)
		}
	}
	return nil
}

var errMoreThanOnce = errors.New("want one load in the fleet")
