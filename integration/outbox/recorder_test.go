package outbox_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearsql"
)

// recorder is a cache that notes what is done to it.
type recorder struct {
	before func() error // called first, if there is one

	mu         sync.Mutex // protects the following
	keys, tags map[string]int
	clears     int
	largest    int // names of one call, at most
}

var _ nearsql.Cache = (*recorder)(nil)

func (r *recorder) Invalidate(_ context.Context, keys ...string) error {
	if err := r.call(); err != nil {
		return err
	}
	failed := nearcache.KeysError{}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.largest = max(r.largest, len(keys))
	if r.keys == nil {
		r.keys = map[string]int{}
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

func (r *recorder) InvalidateTags(_ context.Context, tags ...string) error {
	if err := r.call(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tags == nil {
		r.tags = map[string]int{}
	}
	if slices.Contains(tags, "") {
		return nearcache.ErrInvalidTag // as a cache does, which then does nothing
	}
	for _, tag := range tags {
		r.tags[tag]++
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
	if r.before == nil {
		return nil
	}
	return r.before()
}

// heard returns the keys and tags, each with how often it was invalidated.
func (r *recorder) heard() (keys, tags map[string]int, clears int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.keys), maps.Clone(r.tags), r.clears
}

// relay runs a relay until the test ends, or stop is called.
func relay(t testing.TB, db database, caches map[string]nearsql.Cache, opts nearsql.RelayOptions) (r *nearsql.Relay, stop func()) {
	t.Helper()
	r, err := nearsql.NewRelay(db.DB, db.dialect, caches, opts)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		assert.ErrorIs(t, <-ended, context.Canceled)
	})
	t.Cleanup(stop)
	return r, stop
}
