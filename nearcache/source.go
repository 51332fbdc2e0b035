package nearcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/nearcache/internal/lag"
	"github.com/nearbus/nearbus/nearcache/internal/telemetry"
	"github.com/nearbus/nearbus/shared"
)

// Loader loads the value of key from the source, with what differs from the options of the
// cache. old is the value that the load is to replace, nil if there is none: one that is
// refreshed ahead of its end, or kept past it by Options.Stale. It is the loader's own. A loader
// that finds it unchanged in the source, by a version or an ETag in it, returns a [Loaded] with
// NotModified.
//
// [ErrNotFound] says that the source has no value. The context ends with Options.LoadTimeout;
// [SinceInvalidated] tells from it how long ago the key was invalidated. A Loader may be called
// from many goroutines at once, for different keys.
type Loader[V any] func(ctx context.Context, key string, old *V) (Loaded[V], error)

// BatchLoader is [Loader] for several keys in one call, which are its own to change. A key that
// it leaves out has no value; what it returns for other keys is ignored and counted. There are
// no old values.
//
// After an error nothing is stored, and every key has failed with it. One that is, or wraps, a
// [KeysError] is told key by key: what the map has is stored, a key of the KeysError failed with
// its own error, of which [ErrNotFound] says that it has no value, and any other key failed with
// the whole error. Each caller gets the error of its own key.
type BatchLoader[V any] func(ctx context.Context, keys []string) (map[string]Loaded[V], error)

// ValueLoader returns load as a [Loader] of values that have what the options of the cache
// say; nil for nil.
func ValueLoader[V any](load func(ctx context.Context, key string) (V, error)) Loader[V] {
	if load == nil {
		return nil
	}
	return func(ctx context.Context, key string, _ *V) (Loaded[V], error) {
		v, err := load(ctx, key)
		return Loaded[V]{Value: v}, err
	}
}

// BatchValueLoader is [ValueLoader] for a [BatchLoader].
func BatchValueLoader[V any](load func(ctx context.Context, keys []string) (map[string]V, error)) BatchLoader[V] {
	if load == nil {
		return nil
	}
	return func(ctx context.Context, keys []string) (map[string]Loaded[V], error) {
		values, err := load(ctx, keys)
		all := make(map[string]Loaded[V], len(values))
		for key, v := range values {
			all[key] = Loaded[V]{Value: v}
		}
		return all, err
	}
}

// loader is the form of all loaders inside. It loads keys, and returns what became of
// each in their order, or why it failed for all. previous is the record that the load of
// a single key is to replace, if it is of use.
type loader[V any] func(ctx context.Context, keys []string, previous *shared.Found) ([]loaded[V], error)

// loaded is what a loader returned for a key.
type loaded[V any] struct {
	entry Loaded[V]
	err   error // why there is no entry; ErrNotFound if the loader left the key out
}

// loadEntry is load, of one key.
func (c *values[V]) loadEntry(load Loader[V]) loader[V] {
	return func(ctx context.Context, keys []string, previous *shared.Found) ([]loaded[V], error) {
		old := c.old(previous)
		entry, err := load(ctx, keys[0], old)
		if err != nil {
			return nil, err
		}
		l := loaded[V]{entry: entry}
		if entry.NotModified && old == nil {
			l.err = errNothingOld
		} else if entry.NotModified {
			l.entry.Value = *old
		}
		return []loaded[V]{l}, nil
	}
}

// loadEntries is load, of several keys.
func (c *values[V]) loadEntries(load BatchLoader[V]) loader[V] {
	return loadSeveral(c, load, func(e Loaded[V]) Loaded[V] { return e })
}

// loadSeveral is load, of several keys, without what it returns for other keys, which is
// counted.
func loadSeveral[V, R any](c *values[V], load func(context.Context, []string) (map[string]R, error), entry func(R) Loaded[V]) loader[V] {
	return func(ctx context.Context, keys []string, _ *shared.Found) ([]loaded[V], error) {
		results, err := load(ctx, slices.Clone(keys)) // the loader may do with its keys what it likes
		var failed KeysError
		if err != nil && !errors.As(err, &failed) {
			return nil, err
		}
		all, asked := make([]loaded[V], len(keys)), 0
		for i, key := range keys {
			r, ok := results[key]
			if ok {
				asked++
			}
			switch own := failed[key]; {
			case own != nil:
				all[i].err = own
				continue
			case !ok && err != nil: // it may be of other keys, those of another cache for one
				all[i].err = err
				continue
			case !ok:
				all[i].err = ErrNotFound
				continue
			}
			if all[i].entry = entry(r); all[i].entry.NotModified {
				all[i].err = errNothingOld
			}
		}
		c.unasked.Add(uint64(len(results) - asked))
		return all, nil
	}
}

// errNothingOld is the error of a loader that answers NotModified without an old value.
var errNothingOld = errors.New("nearcache: the loader answered NotModified, and there is no old value")

// old returns the value of the record found, as a loader is given it; nil if it has none. What
// was invalidated with its cache or by a tag is no old value.
func (c *values[V]) old(found *shared.Found) *V {
	if found == nil {
		return nil
	}
	e, err := c.decodeKept("", found)
	if _, live := c.keys.TagsLive(found); err != nil || !live {
		return nil
	}
	return &e.value
}

// callLoader calls load within Options.LoadTimeout, once there is a place for it. ended is what
// SinceInvalidated tells the loader. A loader that does not heed the end of its context is left
// behind: its callers are not.
func (c *pipeline[V]) callLoader(ctx context.Context, keys []string, load loader[V], previous *shared.Found, ended lag.Recency) ([]loaded[V], error) {
	leave, err := c.enter(ctx)
	if err != nil {
		c.loadErrors.Add(uint64(len(keys)))
		return nil, err
	}
	var since *lag.Recency // nil hides that of another loader, whose context the caller's may be
	if ended.Known {
		since = new(lag.Recency)
		*since = ended // which stays where it is otherwise
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, sinceKey{}, since), c.opts.LoadTimeout)
	defer cancel()
	key := "" // of a single one, to be named
	if len(keys) == 1 {
		key = keys[0]
	}
	type answer struct {
		results []loaded[V]
		err     error
	}
	c.loads.Add(uint64(len(keys)))
	for _, key := range keys {
		c.keys.Costs.Loads.Add(c.keys.Space.Hash(key), key, c.node.Near.Now())
	}
	began := time.Now()
	answers := make(chan answer, 1)
	go func() { // ends when the loader returns
		defer leave()
		a := answer{err: &PanicError{Callback: callbackLoader, Key: key}} // stands if the loader ends its goroutine
		defer func() { answers <- a }()
		var results []loaded[V]
		err := c.guard(callbackLoader, key, func() (err error) {
			results, err = load(ctx, keys, previous)
			return err
		})
		a = answer{results, err}
	}()
	var a answer
	select {
	case a = <-answers:
	case <-ctx.Done():
		a.err = fmt.Errorf("nearcache: cache %q: the loader did not return in time: %w", c.keys.Name, ctx.Err())
	}
	if errors.Is(a.err, context.Canceled) && c.keys.Context.Err() != nil {
		a.err = ErrClosed // which is why, and what callers get who notice the end before the load does
	}
	failure := a.err
	if errors.Is(failure, ErrNotFound) {
		failure = nil
	}
	some := failedOf(keys, a.results)
	c.keys.Took(telemetry.Load, len(keys), began, cmp.Or(failure, keysError(some)))
	if failure != nil {
		c.loadErrors.Add(uint64(len(keys)))
		return nil, failure
	}
	c.loadErrors.Add(uint64(len(some)))
	if len(some) < len(keys) {
		c.loadsAgain()
	}
	return a.results, a.err
}

// failedOf returns the keys whose load failed by itself. That there is no value is no failure.
func failedOf[V any](keys []string, results []loaded[V]) (failed coherence.Failures) {
	for i := range results {
		if err := results[i].err; err != nil && !errors.Is(err, ErrNotFound) {
			failed.Put(keys[i], err)
		}
	}
	return failed
}

// accept checks the entry that a loader returned for key, and gives it all of its tags.
// One whose tags cannot be used is given to those who wait for it, and stored nowhere.
func (c *values[V]) accept(e *Loaded[V], key string) (err error) {
	if _, err := c.opts.lives(e.TTL, e.NearTTL); err != nil {
		return err
	}
	if e.Tags, err = c.allTags(key, e.Value, e.Tags); err != nil {
		if c.untaggable.Add(1) == 1 {
			c.node.Options.Logger.Warn("nearcache: a loaded value has no valid tags, and is not cached", "cache", c.keys.Name)
		}
		e.NoStore = true
	}
	return nil
}

// enter waits for one of the places of loaders, if they are limited, and
// returns how to leave it.
func (b *base) enter(ctx context.Context) (leave func(), err error) {
	if b.places == nil {
		return func() {}, nil
	}
	leave = func() { <-b.places }
	select {
	case b.places <- struct{}{}:
		return leave, nil
	default:
	}
	b.queued.Add(1)
	ctx, cancel := context.WithTimeout(ctx, b.opts.LoadTimeout)
	defer cancel()
	select {
	case b.places <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("nearcache: cache %q: no place among %d loads in time: %w", b.keys.Name, cap(b.places), ctx.Err())
	}
}

// sinceKey is the key of a recency in the context of a loader.
type sinceKey struct{}

// SinceInvalidated returns how long ago, at least, the key that a loader loads was
// invalidated, to be called with the loader's context. A loader that reads a replica of
// its database asks the primary while that is less than the replica may be behind: what
// the replica answers may be from before the invalidation. See [Options].SourceLag for
// those that cannot.
//
// It counts what the shared tier knows of, by the clock of its server: Invalidate and
// Delete of the key by any node for shared.Options.TombstoneTTL, Clear, and
// InvalidateTags where the value that was ended is still there. Where the load replaces a
// value that the node does not believe or cannot read, that value counts as an
// invalidation, and so does a call of [Cache.Refresh]. For several keys it is the newest of any of them. Memcached does not tell when a key was invalidated: it is
// then taken to have been as the load was permitted. ok is false if no invalidation is
// known: none was, the shared tier is down, another node holds the lease of the key, or
// there is no shared tier.
func SinceInvalidated(ctx context.Context) (ago time.Duration, ok bool) {
	r, _ := ctx.Value(sinceKey{}).(*lag.Recency)
	if r == nil {
		return 0, false
	}
	return r.Now(), true
}

// validateLag checks Options.SourceLag against what stands below the cache.
func (o *plain) validateLag(n *coherence.Node) error {
	switch {
	case o.SourceLag == 0:
		return nil
	case n.Tier == nil:
		return fmt.Errorf("nearcache: Options.SourceLag is %v, and the node has no shared tier", o.SourceLag)
	case o.SourceLag > n.Tier.TombstoneTTL():
		return fmt.Errorf("nearcache: Options.SourceLag %v is longer than shared.Options.TombstoneTTL %v, for which an invalidation is known",
			o.SourceLag, n.Tier.TombstoneTTL())
	}
	return nil
}

const (
	// slowPatience is how long no load may end well before it is told that old values are
	// given because loads are slow: one that is slow now and then is no outage.
	slowPatience = 10 * time.Second

	// loadsQuiet is how long no load may fail, with an old value in its place, for that to
	// be over.
	loadsQuiet = time.Minute
)

// errSlow is why a caller gets an old value after Options.Stale.Timeout.
var errSlow = errors.New("nearcache: the load takes longer than Stale.Timeout")

// servedStale takes in that a caller was given an old value, because of err. Loaders' errors may
// carry a value or a credential, so the log is not told what they say.
func (b *base) servedStale(err error) {
	if b.keys.Context.Err() != nil || !b.failing.Fail(!errors.Is(err, errSlow)) {
		return
	}
	reason := "the loader returned an error"
	switch panicked := (*PanicError)(nil); {
	case errors.Is(err, errSlow):
		reason = "the loader takes longer than Stale.Timeout"
	case errors.Is(err, errUnrefreshed):
		reason = "another server could not load"
	case errors.As(err, &panicked):
		reason = "the loader panicked"
	case errors.Is(err, context.DeadlineExceeded):
		reason = "the loader did not return in time"
	}
	b.node.Options.Logger.Warn("nearcache: old values are given, because loads fail", "cache", b.keys.Name, "reason", reason)
}

// loadsAgain takes in that a load ended well.
func (b *base) loadsAgain() {
	if took, over := b.failing.Succeed(); over {
		b.node.Options.Logger.Info("nearcache: loads succeed again", "cache", b.keys.Name, "after", took)
	}
}
