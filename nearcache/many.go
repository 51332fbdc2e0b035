package nearcache

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/nearcache/internal/telemetry"
)

// GetMany is Get for several keys: one round trip to the shared tier for those
// that are not near, or one for each 1,024 of them. With Options.BatchLoader it then does what
// [Cache.FetchEntryMany] does; with Options.Loader alone, each missing key is loaded by itself,
// side by side as far as Options.MaxConcurrentLoads allows. It returns the values found,
// by key; that a key has none is no error. Keys may repeat.
//
// When some keys fail, an invalid one with [ErrInvalidKey], the others are returned all
// the same and the error is a [KeysError].
func (c *Cache[V]) GetMany(ctx context.Context, keys []string) (map[string]V, error) {
	if c.several != nil {
		return c.readMany(ctx, keys, c.several, true)
	}
	return c.readMany(ctx, keys, c.single, false)
}

// FetchMany is Fetch for several keys: one round trip to the shared tier for
// those that are not near, and one call of load for those that nobody has, between
// two more round trips: one for their leases, one to store what load returned. That
// is for every 1,024 keys, or 4 MiB to be stored. Keys that another node is loading
// are waited for one by one. It returns the values found, by key. A key that load
// leaves out has no value; that is no error. What load returns for keys that it was
// not asked for is ignored and counted. A load that fails for some keys only returns a
// KeysError of them, see [BatchLoader]. Keys may repeat.
//
// When some keys fail, an invalid one with [ErrInvalidKey], the others are returned all
// the same and the error is a [KeysError].
func (c *Cache[V]) FetchMany(ctx context.Context, keys []string, load func(ctx context.Context, missing []string) (map[string]V, error)) (map[string]V, error) {
	if load == nil {
		return nil, errors.New("nearcache: FetchMany: the loader is nil")
	}
	return c.readMany(ctx, keys, loadSeveral(&c.values, load, func(v V) Loaded[V] { return Loaded[V]{Value: v} }), true)
}

// FetchEntryMany is FetchMany for loaders that decide how long each value lives, and
// what its tags are.
func (c *Cache[V]) FetchEntryMany(ctx context.Context, keys []string, load BatchLoader[V]) (map[string]V, error) {
	if load == nil {
		return nil, errors.New("nearcache: FetchEntryMany: the loader is nil")
	}
	c.keys.Tags.Expect()
	return c.readMany(ctx, keys, c.loadEntries(load), true)
}

// readMany reads keys, and loads those that nobody has if there is a loader: together, or one
// by one.
func (c *Cache[V]) readMany(ctx context.Context, keys []string, load loader[V], together bool) (map[string]V, error) {
	var failed coherence.Failures
	keys, err := c.keys.CheckEach(keys, &failed)
	if err != nil {
		return nil, err
	}
	values := make(map[string]V, len(keys))
	for part := range slices.Chunk(coherence.Distinct(keys), coherence.MaxPart) {
		c.readPart(ctx, part, load, together, values, &failed)
	}
	return values, keysError(failed)
}

// maxLinks is how many loads a read tells of.
const maxLinks = 16

// readPart is readMany for as many keys as are read at once.
func (c *Cache[V]) readPart(ctx context.Context, keys []string, load loader[V], together bool, values map[string]V, failed *coherence.Failures) {
	if err := ctx.Err(); err != nil {
		for _, key := range keys {
			failed.Put(key, err)
		}
		return
	}
	mine, joined := c.joinOrStartMany(ctx, keys, load, values, failed)
	began := time.Now()
	inside, span := c.traced(ctx, mine, joined)
	var loads []*telemetry.OpenSpan
	defer func() { endMany(span, loads, *failed) }() // also if user code ends this goroutine
	if len(mine) > 0 {
		all := load
		if !together {
			all = nil // each call has its loader
		}
		c.start(inside, mine, all, true)
	}
	own := len(mine)
	for i, f := range append(mine, joined...) {
		softly := c.opts.Stale.Timeout // of all keys together
		if softly > 0 {
			softly = max(1, softly-time.Since(began))
		}
		a := c.wait(ctx, f, load != nil, c.opts.Stale.For > 0, softly)
		if i >= own && a.load != nil && len(loads) < maxLinks && !slices.Contains(loads, a.load) {
			loads = append(loads, a.load)
		}
		enter(values, failed, f.key, a.value, a.err)
	}
}

// traced begins the span of what the calls of a read are to bring.
func (c *pipeline[V]) traced(ctx context.Context, calls ...[]*call[V]) (context.Context, *telemetry.OpenSpan) {
	if c.node.Spans == nil {
		return ctx, nil
	}
	var keys []string
	for _, some := range calls {
		for _, f := range some {
			keys = append(keys, f.key)
		}
	}
	if len(keys) == 0 {
		return ctx, nil
	}
	return c.node.Spans.Begin(ctx, telemetry.Span{Cache: c.keys.Name, Keys: keys})
}

// endMany ends the span of a read of several keys that waited for these loads of others. The
// tracer has a copy of what failed: the read goes on, and the caller gets the original.
func endMany(span *telemetry.OpenSpan, loads []*telemetry.OpenSpan, failed coherence.Failures) {
	if span == nil {
		return
	}
	end := telemetry.SpanEnd{Err: keysError(maps.Clone(failed))}
	for _, l := range loads {
		end.Loads = append(end.Loads, l.Context)
	}
	span.End(end)
}

// enter puts what became of a key into its place.
func enter[V any](values map[string]V, failed *coherence.Failures, key string, v V, err error) {
	switch {
	case err == nil:
		values[key] = v
	case !errors.Is(err, ErrNotFound):
		failed.Put(key, err)
	}
}

// joinOrStartMany enters the values of the keys that are near, and returns the calls
// of the others: those that the caller has to run, which are in one piece of
// memory, and those that others run. It moves what is in keys.
func (c *Cache[V]) joinOrStartMany(ctx context.Context, keys []string, load loader[V], values map[string]V, failed *coherence.Failures) (mine, joined []*call[V]) {
	hashes := make([]uint64, len(keys))
	for i, key := range keys {
		hashes[i] = c.keys.Space.Hash(key)
	}
	c.keys.Space.Approach(hashes)
	left := 0
	for i, key := range keys {
		if !c.enterNear(ctx, key, hashes[i], load, values, failed) {
			keys[left], hashes[left] = key, hashes[i]
			left++
		}
	}
	room := make([]call[V], left)
	mine = make([]*call[V], 0, left)
	whole := false
	defer func() {
		if !whole { // Clone ended the goroutine: nobody runs what others may have joined
			for _, f := range mine {
				c.finish(f, &PanicError{Callback: callbackClone})
			}
		}
	}()
	stamp := c.node.Near.Stamp()
	for i := 0; i < left; {
		key, hash := keys[i], hashes[i]
		room[len(mine)].stamp = stamp
		f, own := c.joinOrStart(key, hash, load, 0, &room[len(mine)])
		switch {
		case own:
			mine = append(mine, f)
		case f != nil:
			joined = append(joined, f)
		case !c.enterNear(ctx, key, hash, load, values, failed):
			continue // it came near, and is gone again
		}
		if f != nil {
			c.missed(key, hash)
		}
		i++
	}
	whole = true
	return mine, joined
}

// enterNear enters the value of a key if it is near.
func (c *Cache[V]) enterNear(ctx context.Context, key string, hash uint64, load loader[V], values map[string]V, failed *coherence.Failures) bool {
	if e := c.hit(key, hash); e != nil {
		v, err := c.give(key, e.value)
		enter(values, failed, key, v, err)
		return true
	}
	a, ok := c.lateAnswer(ctx, key, hash, load)
	if ok {
		enter(values, failed, key, a.value, a.err)
	}
	return ok
}
