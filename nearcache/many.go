package nearcache

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nearbus/nearbus/shared"
)

// manyLoader loads several keys at once.
type manyLoader[V any] func(ctx context.Context, missing []string) (map[string]Entry[V], error)

// FetchMany is Fetch for several keys: one round trip to the shared tier for
// those that are not near, and one call of load for those that nobody has, between
// two more round trips: one for their leases, one to store what load returned. That
// is for every 1,024 keys, or 4 MiB to be stored. Keys that another node is loading
// are waited for one by one. It returns the values found, by key. A key that load
// leaves out has no value; that is no error. What load returns for keys that it was
// not asked for is ignored and counted. Keys may repeat.
//
// When some keys fail, an invalid one with [ErrInvalidKey], the others are returned all
// the same and the error is a [KeysError].
func (c *Cache[V]) FetchMany(ctx context.Context, keys []string, load func(ctx context.Context, missing []string) (map[string]V, error)) (map[string]V, error) {
	if load == nil {
		return nil, errors.New("nearcache: FetchMany: the loader is nil")
	}
	return c.readMany(ctx, keys, onlyAsked(c, load, func(v V) Entry[V] { return Entry[V]{Value: v} }))
}

// FetchEntries is FetchMany for loaders that decide how long each value lives, and
// what its tags are.
func (c *Cache[V]) FetchEntries(ctx context.Context, keys []string, load func(ctx context.Context, missing []string) (map[string]Entry[V], error)) (map[string]V, error) {
	if load == nil {
		return nil, errors.New("nearcache: FetchEntries: the loader is nil")
	}
	c.keys.tags.Expect()
	return c.readMany(ctx, keys, onlyAsked(c, load, func(e Entry[V]) Entry[V] { return e }))
}

// onlyAsked is load without what it returns for other keys, which is counted.
func onlyAsked[V, R any](c *Cache[V], load func(context.Context, []string) (map[string]R, error), entry func(R) Entry[V]) manyLoader[V] {
	return func(ctx context.Context, missing []string) (map[string]Entry[V], error) {
		results, err := load(ctx, slices.Clone(missing)) // the loader may do with its keys what it likes
		if err != nil {
			return nil, err
		}
		entries := make(map[string]Entry[V], len(missing))
		for _, key := range missing {
			if r, ok := results[key]; ok {
				entries[key] = entry(r)
			}
		}
		c.keys.unasked.Add(uint64(len(results) - len(entries)))
		return entries, nil
	}
}

// readMany reads keys, and loads those that nobody has if there is a loader.
func (c *Cache[V]) readMany(ctx context.Context, keys []string, load manyLoader[V]) (map[string]V, error) {
	var failed KeysError
	keys, err := c.keys.checkEach(keys, &failed)
	if err != nil {
		return nil, err
	}
	values := make(map[string]V, len(keys))
	for part := range slices.Chunk(distinct(keys), maxPart) {
		c.readPart(ctx, part, load, values, &failed)
	}
	return values, failed.err()
}

// readPart is readMany for as many keys as are read at once.
func (c *Cache[V]) readPart(ctx context.Context, keys []string, load manyLoader[V], values map[string]V, failed *KeysError) {
	if err := ctx.Err(); err != nil {
		for _, key := range keys {
			failed.put(key, err)
		}
		return
	}
	var one loader[V]
	if load != nil {
		one = single(load)
	}
	mine, joined := c.boardMany(ctx, keys, one, values, failed)
	began := time.Now()
	if len(mine) > 0 {
		c.beginMany(ctx, mine, load)
	}
	for _, f := range append(mine, joined...) {
		softly := c.opts.SoftTimeout // of all keys together
		if softly > 0 {
			softly = max(1, softly-time.Since(began))
		}
		a := c.waitFor(ctx, f, load != nil, c.opts.FailSafe > 0, softly)
		enter(values, failed, f.key, a.value, a.err)
	}
}

// enter puts what became of a key into its place.
func enter[V any](values map[string]V, failed *KeysError, key string, v V, err error) {
	switch {
	case err == nil:
		values[key] = v
	case !errors.Is(err, ErrNotFound):
		failed.put(key, err)
	}
}

// boardMany enters the values of the keys that are near, and returns the flights
// of the others: those that the caller has to run, which are in one piece of
// memory, and those that others run. It moves what is in keys.
func (c *Cache[V]) boardMany(ctx context.Context, keys []string, load loader[V], values map[string]V, failed *KeysError) (mine, joined []*flight[V]) {
	hashes := make([]uint64, len(keys))
	for i, key := range keys {
		hashes[i] = c.keys.space.Hash(key)
	}
	c.keys.space.Approach(hashes)
	left := 0
	for i, key := range keys {
		if !c.enterNear(ctx, key, hashes[i], load, values, failed) {
			keys[left], hashes[left] = key, hashes[i]
			left++
		}
	}
	room := make([]flight[V], left)
	mine = make([]*flight[V], 0, left)
	boarded := false
	defer func() {
		if !boarded { // Clone ended the goroutine: nobody runs what others may have joined
			for _, f := range mine {
				c.landWith(f, &PanicError{Callback: callbackClone})
			}
		}
	}()
	stamp := c.node.near.Stamp()
	for i := 0; i < left; {
		key, hash := keys[i], hashes[i]
		room[len(mine)].stamp = stamp
		f, run := c.boardSince(key, hash, load, 0, &room[len(mine)])
		switch {
		case run:
			mine = append(mine, f)
		case f != nil:
			joined = append(joined, f)
		case !c.enterNear(ctx, key, hash, load, values, failed):
			continue // it came near, and is gone again
		}
		if f != nil {
			c.keys.missed(hash)
		}
		i++
	}
	boarded = true
	return mine, joined
}

// enterNear enters the value of a key if it is near.
func (c *Cache[V]) enterNear(ctx context.Context, key string, hash uint64, load loader[V], values map[string]V, failed *KeysError) bool {
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

// beginMany is begin for several flights.
func (c *Cache[V]) beginMany(ctx context.Context, fs []*flight[V], load manyLoader[V]) {
	flown := detached{c.node.ctx, ctx}
	if c.opts.SoftTimeout > 0 {
		go c.runMany(flown, fs, load) // ends with its loads; the caller does not wait for a slow shared tier
		return
	}
	left := c.lookMany(ctx, fs)
	if ended(ctx) {
		var again []*flight[V] // their read ended with its caller: others may wait
		left = slices.DeleteFunc(left, func(l looked[V]) bool {
			if l.err != nil {
				again = append(again, l.f)
			}
			return l.err != nil
		})
		go c.runMany(flown, again, load) // likewise
	}
	c.goOn(flown, left, load)
}

// runMany is run for several flights at once.
func (c *Cache[V]) runMany(ctx context.Context, fs []*flight[V], load manyLoader[V]) {
	c.goOn(ctx, c.lookMany(ctx, fs), load)
}

// looked is a flight whose read did not give it its value.
type looked[V any] struct {
	f *flight[V]
	look
}

// lookMany reads the shared tier for fs, and lands those whose value it has. It
// returns the others.
func (c *Cache[V]) lookMany(ctx context.Context, fs []*flight[V]) (left []looked[V]) {
	var err error = &PanicError{} // stands if user code ends this goroutine
	defer func() {
		if err != nil {
			for _, f := range fs {
				c.landWith(f, err)
			}
		}
	}()
	err = c.keys.guard("", "", func() error {
		left = c.readAll(ctx, fs)
		return nil
	})
	return left
}

// landWith lands f with err, if it has not landed.
func (c *Cache[V]) landWith(f *flight[V], err error) {
	if !f.done.open {
		f.err = err
		c.land(f)
	}
}

func (c *Cache[V]) readAll(ctx context.Context, fs []*flight[V]) (left []looked[V]) {
	read := fs
	if c.node.tier == nil || c.keys.pending.Some() {
		read, left = c.setApart(fs)
	}
	if len(read) == 0 {
		return left
	}
	keys := make([]string, len(read))
	for i, f := range read {
		keys[i] = f.key
	}
	records, err := c.keys.readRecords(ctx, keys)
	if err != nil {
		err = c.keys.sharedFailed(err)
	}
	for i, f := range read {
		l := looked[V]{f, look{err: err}}
		switch {
		case err != nil:
		case c.use(f, &records[i]):
			f.found = true
			c.land(f)
			continue
		case errors.Is(records[i].Err, shared.ErrUnread):
			l.err = c.keys.sharedFailed(records[i].Err)
		default:
			c.keepOld(f, &records[i])
			l.found = &records[i]
		}
		left = append(left, l)
	}
	return left
}

// setApart returns the flights that may read the shared tier, and the others.
func (c *Cache[V]) setApart(fs []*flight[V]) (read []*flight[V], left []looked[V]) {
	for _, f := range fs {
		switch {
		case c.node.tier == nil:
			left = append(left, looked[V]{f: f})
		case c.keys.pending.HasKey(f.key):
			left = append(left, looked[V]{f, look{err: errPending}})
		default:
			read = append(read, f)
		}
	}
	return read, left
}

// goOn ends the reads of flights, and leaves what there is to load to other
// goroutines. Flights that were begun without a loader may have got one.
func (c *Cache[V]) goOn(ctx context.Context, left []looked[V], load manyLoader[V]) {
	for _, l := range left {
		switch one := c.endLook(l.f, l.err); {
		case one == nil:
			c.land(l.f)
		case load == nil:
			go c.runLoad(ctx, l.f, one, l.look) // ends with its load, as a single flight does
		}
	}
	if load != nil && len(left) > 0 {
		go c.loadLeft(ctx, left, load) // likewise
	}
}

// single is load for one key.
func single[V any](load manyLoader[V]) loader[V] {
	return func(ctx context.Context, key string) (Entry[V], error) {
		entries, err := load(ctx, []string{key})
		if err != nil {
			return Entry[V]{}, err
		}
		e, ok := entries[key]
		if !ok {
			return Entry[V]{}, ErrNotFound
		}
		return e, nil
	}
}
