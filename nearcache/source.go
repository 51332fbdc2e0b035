package nearcache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/nearcache/internal/lag"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// loader is the form of all loaders inside. It loads keys, and returns what became of
// each in their order, or why it failed for all. previous is the record that the load of
// a single key is to replace, if it is of use.
type loader[V any] func(ctx context.Context, keys []string, previous *shared.Found) ([]loaded[V], error)

// loaded is what a loader returned for a key.
type loaded[V any] struct {
	entry Entry[V]
	err   error // why there is no entry; ErrNotFound if the loader left the key out
}

// loadOne is load, of one key.
func loadOne[V, R any](c *values[V], load func(context.Context, string) (R, error), entry func(R) Entry[V]) loader[V] {
	return func(ctx context.Context, keys []string, previous *shared.Found) ([]loaded[V], error) {
		ctx = c.withPrevious(ctx, previous)
		r, err := load(ctx, keys[0])
		if err != nil {
			return nil, err
		}
		l := loaded[V]{entry: entry(r)}
		l.err = l.entry.conclude(ctx)
		return []loaded[V]{l}, nil
	}
}

// loadSeveral is load, of several keys, without what it returns for other keys, which is
// counted.
func loadSeveral[V, R any](c *values[V], load func(context.Context, []string) (map[string]R, error), entry func(R) Entry[V]) loader[V] {
	return func(ctx context.Context, keys []string, _ *shared.Found) ([]loaded[V], error) {
		ctx = c.withPrevious(ctx, nil)
		results, err := load(ctx, slices.Clone(keys)) // the loader may do with its keys what it likes
		if err != nil {
			return nil, err
		}
		all, asked := make([]loaded[V], len(keys)), 0
		for i, key := range keys {
			r, ok := results[key]
			if !ok {
				all[i].err = ErrNotFound
				continue
			}
			asked++
			all[i].entry = entry(r)
			all[i].err = all[i].entry.conclude(ctx)
		}
		c.unasked.Add(uint64(len(results) - asked))
		return all, nil
	}
}

// callLoader calls load within Options.LoadTimeout, once there is a place for it. A
// loader that does not heed the end of its context is left behind: its callers are not.
func (c *pipeline[V]) callLoader(ctx context.Context, keys []string, load loader[V], previous *shared.Found) ([]loaded[V], error) {
	leave, err := c.enter(ctx)
	if err != nil {
		c.loadErrors.Add(uint64(len(keys)))
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.LoadTimeout)
	defer cancel()
	type answer struct {
		results []loaded[V]
		err     error
	}
	c.loads.Add(uint64(len(keys)))
	answers := make(chan answer, 1)
	go func() { // ends when the loader returns
		defer leave()
		a := answer{err: &PanicError{Callback: callbackLoader, Key: only(keys)}} // stands if the loader ends its goroutine
		defer func() { answers <- a }()
		var results []loaded[V]
		err := c.guard(callbackLoader, only(keys), func() (err error) {
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
	if a.err != nil && !errors.Is(a.err, ErrNotFound) {
		c.loadErrors.Add(uint64(len(keys)))
		return nil, a.err
	}
	c.loadsAgain()
	return a.results, a.err
}

// accept checks the entry that a loader returned for key, and gives it all of its tags.
// One whose tags cannot be used is given to those who wait for it, and stored nowhere.
func (c *values[V]) accept(e *Entry[V], key string) error {
	if _, err := c.opts.lives(e.TTL, e.NearTTL); err != nil {
		return err
	}
	if err := c.addTags(key, e); err != nil {
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
	select {
	case b.places <- struct{}{}:
		return b.leave, nil
	default:
	}
	b.queued.Add(1)
	ctx, cancel := context.WithTimeout(ctx, b.opts.LoadTimeout)
	defer cancel()
	select {
	case b.places <- struct{}{}:
		return b.leave, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("nearcache: cache %q: no place among %d loads in time: %w", b.keys.Name, cap(b.places), ctx.Err())
	}
}

func (b *base) leave() { <-b.places }

// only returns the key if there is one only, to be named.
func only(keys []string) string {
	if len(keys) == 1 {
		return keys[0]
	}
	return ""
}

// previousKey is the key of the previous value in the context of a loader.
type previousKey[V any] struct{}

// Previous returns the old value that a loader is to replace, to be called with
// the loader's context: one that is refreshed ahead of its end, or that is kept
// past it by Options.FailSafe. A loader that finds it unchanged in the source,
// by a version or an ETag in it, returns an Entry with NotModified. There is none
// for the loader of FetchMany, nor while the shared tier is down. The value is
// the loader's own.
func Previous[V any](ctx context.Context) (v V, ok bool) {
	if p, _ := ctx.Value(previousKey[V]{}).(*V); p != nil {
		return *p, true
	}
	return v, false
}

// withPrevious is the context of a loader. It always says something, since the
// context of a caller may be that of another loader. What was invalidated with its
// cache or by a tag is no previous value.
func (c *values[V]) withPrevious(ctx context.Context, found *shared.Found) context.Context {
	var previous *V
	if found != nil {
		record := *found
		record.Kind, record.Err = driver.KindValue, nil
		e, err := c.decode("", &record)
		if _, live := c.keys.TagsLive(&record); err == nil && live {
			previous = &e.value
		}
	}
	return context.WithValue(ctx, previousKey[V]{}, previous)
}

var errNothingPrevious = errors.New("nearcache: the loader answered NotModified, and there is no previous value")

// conclude makes the entry that a loader returned whole.
func (e *Entry[V]) conclude(ctx context.Context) error {
	if !e.NotModified {
		return nil
	}
	v, ok := Previous[V](ctx)
	if !ok {
		return errNothingPrevious
	}
	e.Value = v
	return nil
}

// checkWritten refuses what only a loader may say.
func (e *Entry[V]) checkWritten() error {
	if e.NoStore || e.NotModified {
		return fmt.Errorf("nearcache: Entry: NoStore is %t and NotModified %t, which are for loaders", e.NoStore, e.NotModified)
	}
	return nil
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
// invalidation. For several keys it is the newest of any of them. Memcached does not tell when a key was invalidated: it is
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

// withRecency is the context of a loader. It always says something, since the context of
// a caller may be that of another loader.
func withRecency(ctx context.Context, r lag.Recency) context.Context {
	var known *lag.Recency
	if r.Known {
		known = new(lag.Recency)
		*known = r
	}
	return context.WithValue(ctx, sinceKey{}, known)
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
