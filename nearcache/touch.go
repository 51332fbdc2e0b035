package nearcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/pause"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// touchShare is which part of its lifetime a value may have lost before Touch asks the shared
// tier for more.
const touchShare = 10

// maxReads is how often a Touch that needs a record finds reads that have none.
const maxReads = 16

// Touch has the value of key live for ttl from now on: a sliding expiry, for sessions and the
// like. ttl zero means Options.TTL. A value that lives longer stays as it is.
//
// It does so at a rate. If this node knows that the value lives for nine tenths of ttl yet, Touch
// returns nil at once, and asks nobody; so one node touches a value ten times in ttl at most,
// however often it is read. Calls for one key that wait share the next one. Nobody else is
// told: the value and its revision stay what they are, other nodes go on serving their copies, and
// find the later end in the shared tier.
//
// Touch never brings back what has ended, and never has a value outlive a write, an
// invalidation of its key or its tags, or a Clear. The error is [ErrNotFound], with the reason as
// Get tells it, if there is no value: nothing is loaded. After the error of ctx or of the shared
// tier, the value may have the later end or not; nothing else has changed. A value near stays
// there for no longer than Options.NearTTL without a look at the shared tier, as always.
//
// A Touch that writes overtake again and again gives up after shared.Options.Timeout.
//
// The error wraps [errors.ErrUnsupported] without a shared tier, with a store that is no
// [driver.Toucher], and with Options.SourceLag, which has values end that may be old.
func (c *Cache[V]) Touch(ctx context.Context, key string, ttl time.Duration) error {
	if err := cmp.Or(c.touchable(key, ttl), c.keys.Check(key)); err != nil {
		return err
	}
	ttl = cmp.Or(ttl, c.opts.TTL)
	hash := c.keys.Space.Hash(key)
	if _, left := c.knownEnd(key, hash); enough(left, ttl) {
		return nil
	}
	return c.touches.do(ctx, key, ttl, func() error { return c.touch(ctx, key, hash, ttl) })
}

// touchable refuses what cannot be touched.
func (c *Cache[V]) touchable(key string, ttl time.Duration) error {
	switch {
	case ttl < 0:
		return fmt.Errorf("nearcache: touch %q: the TTL is negative: %v", key, ttl)
	case ttl > shared.MaxDuration:
		return fmt.Errorf("nearcache: touch %q: the TTL is %v, longer than %v", key, ttl, shared.MaxDuration)
	case c.node.Tier == nil:
		return fmt.Errorf("nearcache: touch: the node has no shared tier: %w", errors.ErrUnsupported)
	case c.opts.SourceLag > 0:
		return fmt.Errorf("nearcache: touch: the cache has Options.SourceLag: %w", errors.ErrUnsupported)
	}
	return nil
}

// enough reports whether a value that lives for left yet need not be asked more for.
func enough(left, ttl time.Duration) bool { return left >= ttl-ttl/touchShare }

// knownEnd returns the revision of the value that is near, and how long its record lives yet, as
// far as this node knows; zero if it does not.
func (c *Cache[V]) knownEnd(key string, hash uint64) (rev driver.Revision, left time.Duration) {
	e := c.keys.Space.Find(key, hash)
	if e == nil || e.Ends() == 0 {
		return rev, 0
	}
	return e.Revision, time.Duration(e.Ends() - c.node.Near.Now())
}

// touch is Touch once the value may need a later end. What is near is what the shared tier has
// had: only the record of the very same revision gets a later end, and if that is not there,
// what is there is read.
func (c *Cache[V]) touch(ctx context.Context, key string, hash uint64, ttl time.Duration) error {
	rev, left := c.knownEnd(key, hash)
	if rev.Number == 0 {
		var err error
		if rev, left, err = c.readEnd(ctx, key, hash); err != nil {
			return err
		}
	}
	for began, overtaken := time.Now(), 0; ; overtaken++ {
		if enough(left, ttl) {
			return nil
		}
		touched := c.keys.Touch(ctx, key, rev, ttl)
		if touched != nil && !errors.Is(touched, ErrNotFound) {
			return touched
		}
		if touched != nil && overtaken > 0 {
			waited := time.Since(began)
			if waited >= c.node.Tier.Timeout() {
				return fmt.Errorf("nearcache: touch %q: it was written meanwhile each time", key)
			}
			if err := pause.Sleep(ctx, pause.After(waited)); err != nil {
				return err
			}
		}
		var err error
		rev, left, err = c.readEnd(ctx, key, hash) // so that the next call knows, too
		switch {
		case errors.Is(err, ErrNotFound):
			return err // it has ended since, or a Clear had ended it before, say
		case touched == nil:
			return nil
		case err != nil:
			return err
		}
	}
}

// readEnd reads the shared tier now, as Read with FromShared does, and returns the revision of
// the value and how long its record lives yet. What is near then knows that as well. A read of
// another caller that was given up for a load has no record: then there is another read.
func (c *Cache[V]) readEnd(ctx context.Context, key string, hash uint64) (rev driver.Revision, left time.Duration, err error) {
	for range maxReads {
		f, mine := c.joinOrStart(key, hash, nil, c.node.Near.Now(), nil)
		if mine {
			f.ends = true // nobody looks before it is run
		}
		got := c.serve(ctx, f, mine, nil, false, false)
		switch {
		case got.err != nil:
			return rev, 0, got.err
		case f.found != nil:
			return f.found.Revision, cmp.Or(f.found.Left, shared.MaxDuration), nil // zero: it has no end
		}
		err = f.readErr
	}
	return rev, 0, err
}

// touching has the touches of a cache that are under way: a key has one at a time.
type touching struct {
	mu sync.Mutex // protects m
	m  map[string]*touch
}

type touch struct {
	ttl  time.Duration
	over chan struct{} // closed when err is set
	err  error
}

// do calls run, or waits for another call of it for the key that asks for as much and that began
// after do did: what began before knows nothing of a write that ended since.
func (t *touching) do(ctx context.Context, key string, ttl time.Duration, run func() error) error {
	for before := true; ; before = false {
		t.mu.Lock()
		other := t.m[key]
		if other == nil {
			break
		}
		t.mu.Unlock()
		select {
		case <-other.over:
		case <-ctx.Done():
			return ctx.Err()
		}
		left := errors.Is(other.err, context.Canceled) || errors.Is(other.err, context.DeadlineExceeded)
		if !before && other.ttl >= ttl && !left {
			return other.err
		}
	}
	mine := &touch{ttl: ttl, over: make(chan struct{}), err: context.Canceled} // stands if run panics: others try
	if t.m == nil {
		t.m = map[string]*touch{}
	}
	t.m[key] = mine
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		delete(t.m, key)
		t.mu.Unlock()
		close(mine.over)
	}()
	mine.err = run()
	return mine.err
}
