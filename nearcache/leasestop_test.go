package nearcache_test

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

// beside runs test with a key of which an old value is kept, and calls meanwhile when the
// lease beside it was granted to a.
func beside(t *testing.T, opts nearcache.Options[string], meanwhile func(t *testing.T, f *fleet, b *member), test func(t *testing.T, f *fleet, a *member)) {
	t.Helper()
	bubble(t, func(t *testing.T, f *fleet) {
		opts.TTL, opts.Stale.For = time.Minute, time.Hour
		a, b := f.join(opts), f.join(opts)
		require.NoError(t, b.Set(t.Context(), "k", "old"))
		time.Sleep(2 * time.Minute)
		var once atomic.Bool
		f.store.onAfter(func(_ context.Context, op, key string) error {
			if op == "acquire" && strings.Contains(key, "!refresh") && !once.Swap(true) {
				meanwhile(t, f, b)
			}
			return nil
		})
		test(t, f, a)
		require.True(t, once.Load())
	})
}

// requireIdle fails if leases are asked for, or renewed, although nobody loads.
func requireIdle(t *testing.T, f *fleet) {
	t.Helper()
	time.Sleep(time.Second)
	before := f.store.acquires.Load()
	time.Sleep(time.Minute)
	assert.Equal(t, before, f.store.acquires.Load())
}

// TestLease_OfARecordThatIsGone: the record that a lease was granted beside is deleted, and
// the lease cannot be given back. Nobody renews it.
func TestLease_OfARecordThatIsGone(t *testing.T) {
	beside(t, nearcache.Options[string]{}, func(t *testing.T, f *fleet, b *member) {
		require.NoError(t, b.Delete(t.Context(), "k"))
		f.store.onBefore(func(_ context.Context, op, key string) error {
			if op == "fill" && strings.Contains(key, "!refresh") {
				return errDown
			}
			return nil
		})
	}, func(t *testing.T, f *fleet, a *member) {
		v, err := a.Fetch(t.Context(), "k", is("new"))
		require.NoError(t, err)
		assert.Equal(t, "new", v)
		requireIdle(t, f)
	})
}

// TestLease_UserCodeEndsTheGoroutine: a function of the options ends the goroutine between
// the grant of a lease and its load. Nobody renews the lease, and others get it.
func TestLease_UserCodeEndsTheGoroutine(t *testing.T) {
	var ends atomic.Bool
	opts := nearcache.Options[string]{Cost: func(string) int64 {
		if ends.Swap(false) {
			runtime.Goexit()
		}
		return 1
	}}
	beside(t, opts, func(t *testing.T, _ *fleet, b *member) {
		require.NoError(t, b.Set(t.Context(), "k", "newer"))
		ends.Store(true)
	}, func(t *testing.T, f *fleet, a *member) {
		_, _ = a.Fetch(t.Context(), "k", is("new"))
		require.False(t, ends.Load())
		requireIdle(t, f)
	})
}
