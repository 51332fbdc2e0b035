package nearcache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/nearcache/internal/pause"
	"github.com/nearbus/nearbus/shared/driver"
)

const (
	// maxRefreshTries is how often a Refresh is overtaken by writes before it gives up.
	maxRefreshTries = 4

	// maxRefreshing is how many keys of one call of Refresh are refreshed at a time.
	maxRefreshing = 16
)

// Refresh loads the values of keys now, with Options.Loader or BatchLoader, however long they live
// yet. Until a new value is stored, readers get the old one, on this node and all others, and
// nobody waits but for what has no value. Then the other nodes hear of it, as they hear of a Set,
// and drop their copies.
//
// When Refresh returns nil, each of the keys has a value whose load began after the call did, or one
// that somebody wrote after that; or none, if the source had none. What it promises for reads on
// this node and on others is what [Cache.Set] does. As with every load, a write in between wins. A
// value that the loader says is not to be stored, or that cannot be, takes the old one away.
//
// A call counts as an invalidation for [SinceInvalidated] and Options.SourceLag: a change in the
// source may be why, of which nothing else tells. What a source that lags answers lives for SourceLag.
//
// A key that fails keeps its old value. The error is a [KeysError]: of the loader, of the shared
// tier, [ErrInvalidKey], or [ErrNotBroadcast]; otherwise [ErrClosed], or one that wraps
// [errors.ErrUnsupported] for a cache without a loader or a node without a shared tier.
//
// There is one call of the loader for each key, and calls of Refresh for one key that wait share the
// next one. One node of the fleet refreshes a key at a time; the others wait for it, for
// LoadTimeout at most. The end of ctx ends the wait, not the load: a call in a goroutine, or with a
// context that has little time, refreshes in the background.
func (c *Cache[V]) Refresh(ctx context.Context, keys ...string) error {
	if c.single == nil || c.node.Tier == nil {
		return fmt.Errorf("nearcache: refresh: it needs Options.Loader and a shared tier: %w", errors.ErrUnsupported)
	}
	var failed coherence.Failures
	keys, err := c.keys.CheckEach(keys, &failed)
	if err != nil {
		return err
	}
	keys = coherence.Distinct(keys)
	errs, places := make([]error, len(keys)), make(chan struct{}, maxRefreshing)
	var all sync.WaitGroup
	for i, key := range keys {
		places <- struct{}{}
		all.Go(func() { // ends with the wait for one key
			defer func() { <-places }()
			errs[i] = c.awaitRefresh(ctx, key)
		})
	}
	all.Wait()
	for i, err := range errs {
		failed.Put(keys[i], err)
	}
	return keysError(failed)
}

// awaitRefresh waits for a refresh of key that begins from now on.
func (c *Cache[V]) awaitRefresh(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	run, mine := c.refreshing.join(key)
	if mine {
		go func() { // ends with the load, or with the cache
			defer c.refreshing.end(key, run)
			if run.after != nil {
				<-run.after.over
			}
			run.err = c.guard("", "", func() error { return c.refreshNow(detached{c.keys.Context, ctx}, key) })
		}()
	}
	select {
	case <-run.over:
		return run.err
	case <-ctx.Done():
		return ctx.Err()
	case <-c.keys.Context.Done():
		return ErrClosed
	}
}

// refreshNow is a Refresh of one key.
func (c *pipeline[V]) refreshNow(ctx context.Context, key string) error {
	began, hash := time.Now(), c.keys.Space.Hash(key)
	for tries := 0; tries < maxRefreshTries; {
		f, err := c.refreshBeside(ctx, key, hash)
		switch {
		case errors.Is(err, errRefreshing):
			if time.Since(began) >= c.opts.LoadTimeout || pause.Sleep(ctx, pause.After(time.Since(began))) != nil {
				return err
			}
			continue // for a load that began before the call
		case errors.Is(err, coherence.ErrUnusable):
			f, err = c.refreshAbsent(ctx, key, hash)
		}
		tries++
		switch {
		case f == nil || err != nil && !errors.Is(err, ErrNotFound):
			return err
		case f.told.settled:
			c.refreshed.Add(1)
			return c.keys.Refreshed(ctx, key, f.told.revision)
		case f.told.failure != nil:
			return c.keys.SharedFailed(f.told.failure)
		}
	}
	return fmt.Errorf("nearcache: refresh %q: it was written meanwhile each time", key)
}

// errRefreshing is why a key cannot be refreshed yet.
var errRefreshing = errors.New("nearcache: another server is refreshing the value")

// telling is what became of a load that everybody is to hear of. That of other loads is nil.
type telling struct {
	settled  bool            // the shared tier has what was loaded, or has lost what that was to replace
	revision driver.Revision // of what is stored then
	failure  error           // why the shared tier did not answer
}

func (t *telling) stored(rev driver.Revision) {
	if t != nil {
		t.settled, t.revision = true, rev
	}
}

func (t *telling) failed(err error) {
	if t != nil {
		t.failure = err
	}
}

// refreshBeside loads the value of a key that has one, and replaces the record by the rule for
// refreshes. The error is ErrUnusable if there is none, errRefreshing if the lease is held; f is
// not settled if a write came in between.
func (c *pipeline[V]) refreshBeside(ctx context.Context, key string, hash uint64) (f *call[V], err error) {
	f = &call[V]{key: key, hash: hash, stamp: c.node.Near.Stamp(), floor: c.keys.Floors.Of(hash), told: new(telling)}
	f.refresh = c.keys.Space.BeginRefresh(key, hash)
	defer f.refresh.EndRefresh()
	h, stop, err := c.leaseIfDue(ctx, f)
	switch {
	case err != nil:
		return nil, err
	case !h.Leased():
		return nil, errRefreshing
	}
	defer stop()
	all := add(nil, f, c.opts.NearTTL, &h)
	c.loadAndFill(ctx, all, c.single)
	return f, all[0].err
}

// refreshAbsent loads the value of a key that has none, as a read does that begins now. f is not
// settled if somebody else loaded it, whose load may have begun before.
func (c *pipeline[V]) refreshAbsent(ctx context.Context, key string, hash uint64) (f *call[V], err error) {
	f, mine := c.joinOrStart(key, hash, c.single, c.node.Near.Now(), nil)
	if mine {
		f.told = new(telling) // nobody looks before it is run
	}
	got := c.serve(ctx, f, mine, c.single, false, false)
	switch {
	case f.readErr != nil:
		return nil, f.readErr
	case got.err != nil && !errors.Is(got.err, ErrNotFound):
		return nil, got.err
	case !mine: // the journal was not told of what it loaded
		return &call[V]{told: new(telling)}, got.err
	}
	return f, got.err
}

// refreshing has the refreshes of a cache that were asked for: of a key, one that runs and one
// that follows it.
type refreshing struct {
	mu sync.Mutex // protects m, and next of runs
	m  map[string]*refreshRun
}

type refreshRun struct {
	after *refreshRun   // runs before; nil if none does
	next  *refreshRun   // nil if nobody asked since this one began
	over  chan struct{} // closed when err is set
	err   error
}

// join returns a run that has not begun, and whether the caller has to run it.
func (r *refreshing) join(key string) (run *refreshRun, mine bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.m[key]
	if now != nil && now.next != nil {
		return now.next, false
	}
	run = &refreshRun{after: now, over: make(chan struct{})}
	if now != nil {
		now.next = run
		return run, true
	}
	if r.m == nil {
		r.m = map[string]*refreshRun{}
	}
	r.m[key] = run
	return run, true
}

// end ends a run; the one that follows it begins.
func (r *refreshing) end(key string, run *refreshRun) {
	r.mu.Lock()
	defer r.mu.Unlock()
	run.after = nil
	if r.m[key] = run.next; run.next == nil {
		delete(r.m, key)
	}
	close(run.over)
}
