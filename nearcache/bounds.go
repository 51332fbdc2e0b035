package nearcache

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/journal"
)

// ReadOptions say what [Cache.Read] is to answer with. The zero ReadOptions ask for what Get
// and FetchEntry do.
type ReadOptions struct {
	// MaxAge is how old the answer may be at most, as Result.Age says it. Zero
	// means no bound but those of the node. With MaxAge, FromShared or After, no
	// answer is stale, whatever Options.Stale is.
	MaxAge time.Duration

	// FromShared has the shared tier read now, whatever is near.
	FromShared bool

	// NoLoad has nothing loaded, whatever loader there is.
	NoLoad bool

	// After is a token that another node gave for this key of this cache: the
	// answer is no older than the writes that it stands for. That of another key
	// promises nothing for this one. The zero ConsistencyToken demands nothing.
	After ConsistencyToken
}

// Result is what [Cache.Read] found.
type Result[V any] struct {
	Value V

	// Age is how old the value may be at most: no write that was acknowledged
	// longer ago is missing from it. For a value from the shared tier or the
	// source it is the time since the read began. For one from the near tier it
	// is the time since this node last knew that it had heard of every write.
	// Without a journal it cannot know that: Age is then the time since the value
	// was read or written. A value from the source is as old as the source's own
	// answer.
	//
	// Age presumes that the primary of the shared tier answered. A client may have
	// a connection to a server that was the primary, or a name that leads to a
	// replica. What such a server lacks is noticed once this node has heard of it.
	// Until then a value can be older than its Age, and than MaxAge, but within the
	// bound that holds for every read: see NodeOptions.JournalInterval.
	Age time.Duration

	Near bool // the value came from the near tier

	// Stale says that the value is an old one, kept by Options.Stale for when
	// there is no other. Age means nothing then.
	Stale bool
}

// Read is the general read: Get or, with a loader, FetchEntry with bounds for this one call,
// which also tells how old the answer may be. A value near that is within the bounds
// is the answer. Otherwise the shared tier is read, in a read of its own if one
// that is under way began too early, and what it has is kept near.
//
// While the shared tier cannot be read, an answer comes from the source, which
// is as new as can be; without a loader the error is that of the shared tier.
// With ReadOptions.After and a loader the error is then [ErrUnproven], since only the
// shared tier orders writes; where keys are on several servers, also without a loader.
// [ValueLoader] makes a loader of the kind that Fetch takes one for Read; nil means
// Options.Loader, if there is one.
func (c *Cache[V]) Read(ctx context.Context, key string, r ReadOptions, load Loader[V]) (Result[V], error) {
	if err := cmp.Or(r.validate(key), c.keys.Check(key)); err != nil {
		return Result[V]{}, err
	}
	hash := c.keys.Space.Hash(key)
	var source loader[V] // once nothing near is the answer
	bounded := r.MaxAge > 0 || r.FromShared || r.After != ConsistencyToken{}
	for counted := false; ; counted = true {
		if a, ok := c.nearAnswer(key, hash, &r); ok {
			var err error
			a.Value, err = c.give(key, a.Value)
			return a, err
		}
		if !counted {
			source = c.loaderOf(&r, load)
		}
		late, ok, err := c.lateRead(ctx, key, hash, source)
		if ok && !bounded {
			return late, err
		}
		if !counted {
			c.missed(key, hash)
		}
		if err := ctx.Err(); err != nil {
			return Result[V]{}, err
		}
		if err := c.keys.CatchUp(ctx, r.After.of); err != nil {
			return Result[V]{}, err
		}
		f, mine := c.joinOrStart(key, hash, source, r.since(c.node.Near.Now()), nil)
		if f == nil {
			continue // it came near meanwhile
		}
		got := c.serve(ctx, f, mine, source, late.Stale, c.opts.Stale.For > 0 && !bounded) // an old value is within no bounds
		return c.boundedAnswer(ctx, f, &got, source != nil, r.After)
	}
}

// loaderOf returns what loads for a Read, nil if nothing does.
func (c *Cache[V]) loaderOf(r *ReadOptions, load Loader[V]) loader[V] {
	switch {
	case r.NoLoad:
		return nil
	case load == nil:
		return c.single
	}
	c.keys.Tags.Expect()
	return c.loadEntry(load)
}

// lateRead is lateAnswer with the age of the answer.
func (c *Cache[V]) lateRead(ctx context.Context, key string, hash uint64, load loader[V]) (a Result[V], ok bool, err error) {
	if !c.late {
		return a, false, nil
	}
	horizon := c.keys.Horizon(key) // before the look, as in nearAnswer
	late, ok := c.lateAnswer(ctx, key, hash, load)
	if !ok {
		return Result[V]{Stale: late.stale}, false, nil
	}
	a = Result[V]{Value: late.value, Near: true, Stale: late.stale}
	if !late.stale {
		a.Age = max(0, time.Duration(c.node.Near.Now()-max(late.at, horizon)))
	}
	return a, true, late.err
}

// boundedAnswer makes an answer of what a call gave.
func (c *Cache[V]) boundedAnswer(ctx context.Context, f *call[V], got *answer[V], loads bool, after ConsistencyToken) (a Result[V], err error) {
	if got.err != nil {
		if ended := ctx.Err() != nil || c.keys.Context.Err() != nil; !loads && !ended {
			if unproven := c.unproven(f, after); unproven != nil {
				return a, unproven
			}
		}
		return a, got.err
	}
	a.Value, a.Stale = got.value, got.stale
	if a.Stale {
		return a, nil
	}
	if err := c.unproven(f, after); err != nil {
		return Result[V]{}, err
	}
	at := f.stamp.At()
	if f.asOf != 0 {
		at = min(at, f.asOf) // up to when this node knows of every Clear, say
	}
	a.Age = time.Duration(c.node.Near.Now() - at)
	return a, nil
}

// unproven returns why the result of f, whose read is over, may be older than
// after, nil if it is not.
func (c *Cache[V]) unproven(f *call[V], after ConsistencyToken) error {
	switch {
	case after == (ConsistencyToken{}) || c.node.Tier == nil:
		return nil
	case f.readErr != nil:
		return fmt.Errorf("%w: %w", ErrUnproven, f.readErr)
	case c.keys.Missing(f.key, f.head, after.of):
		return fmt.Errorf("%w: %w", ErrUnproven, journal.ErrBehind)
	}
	return nil
}

func (r *ReadOptions) validate(key string) error {
	if r.MaxAge < 0 {
		return fmt.Errorf("nearcache: read %q: ReadOptions.MaxAge is negative: %v", key, r.MaxAge)
	}
	return nil
}

// since returns when a read must have begun at the earliest to answer r at the time now, 0
// if r has no bounds.
func (r *ReadOptions) since(now int64) int64 {
	switch {
	case r.FromShared || r.After != (ConsistencyToken{}):
		return now
	case r.MaxAge > 0:
		return max(1, now-int64(r.MaxAge))
	}
	return 0
}

// nearAnswer answers r from the near tier, if there is a value within its bounds.
func (c *Cache[V]) nearAnswer(key string, hash uint64, r *ReadOptions) (a Result[V], ok bool) {
	if r.FromShared {
		return a, false
	}
	// These are read before the look: an entry found after it has survived
	// everything that they tell of.
	horizon, everywhere := c.keys.Horizon(key), c.node.Near.Horizon()
	applied := c.keys.HasApplied(key, r.After.of)
	found := c.keys.Space.Find(key, hash)
	if found == nil || !applied && !c.keys.Contains(key, found, r.After.of) {
		return a, false
	}
	if found.Tagged() && c.node.Journal != nil {
		if r.After.of.Tags > 0 {
			return a, false // its watermarks are in partitions that the token says nothing of
		}
		horizon = min(horizon, everywhere)
	}
	age := time.Duration(c.node.Near.Now() - max(found.Stamp.At(), horizon))
	if r.MaxAge > 0 && age > r.MaxAge {
		return a, false
	}
	c.hits.add()
	found.Hit()
	value := entryOf[V](found).value
	return Result[V]{Value: value, Age: max(0, age), Near: true}, true
}
