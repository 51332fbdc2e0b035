package replication_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

// recorder is a cache that notes what is done to it.
type recorder struct {
	mu     sync.Mutex // protects the following
	before func() error
	keys   map[string]int
	clears int
	batch  int // keys of a call, at most
}

func (r *recorder) Invalidate(_ context.Context, keys ...string) error {
	if err := r.call(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	failed := nearcache.KeysError{}
	r.batch = max(r.batch, len(keys))
	if r.keys == nil {
		r.keys = make(map[string]int)
	}
	for _, key := range keys {
		if key == "" {
			failed[key] = nearcache.ErrInvalidKey
			continue
		}
		r.keys[key]++
	}
	if len(failed) > 0 {
		return failed
	}
	return nil
}

func (r *recorder) Clear(context.Context) error {
	if err := r.call(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clears++
	return nil
}

func (r *recorder) call() error {
	r.mu.Lock()
	before := r.before
	r.mu.Unlock()
	if before == nil {
		return nil
	}
	return before()
}

// fail has all further calls fail, or none.
func (r *recorder) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before = nil
	if err != nil {
		r.before = func() error { return err }
	}
}

// heard returns the keys that were invalidated since the last time, and the clears of the whole
// time.
func (r *recorder) heard() (keys []string, clears int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys = slices.Sorted(maps.Keys(r.keys))
	clear(r.keys)
	return keys, r.clears
}

// hears waits for keys.
func (r *recorder) hears(t *testing.T, keys ...string) {
	t.Helper()
	require.Eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return !slices.ContainsFunc(keys, func(key string) bool { return r.keys[key] == 0 })
	}, patience, poll)
}

// clearedAgain waits for a second clear: the first comes with the slot.
func (r *recorder) clearedAgain(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.clears >= 2
	}, patience, poll)
}
