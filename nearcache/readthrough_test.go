package nearcache_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

// asked notes the calls of loaders.
type asked struct {
	mu    sync.Mutex
	calls [][]string
}

func (a *asked) note(keys ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, keys)
}

func (a *asked) one(_ context.Context, key string) (string, error) {
	a.note(key)
	if key == "none" {
		return "", nearcache.ErrNotFound
	}
	return "v of " + key, nil
}

func (a *asked) many(_ context.Context, keys []string) (map[string]string, error) {
	a.note(keys...)
	values := make(map[string]string)
	for _, key := range keys {
		if key != "none" {
			values[key] = "v of " + key
		}
	}
	return values, nil
}

// TestReadThrough: reads load by the loaders of the options, each key once.
func TestReadThrough(t *testing.T) {
	for name, c := range map[string]struct {
		loader, batch bool
		calls         int // for three keys of which one is read by itself
	}{
		"one":  {loader: true, calls: 4},
		"many": {batch: true, calls: 2},
		"both": {loader: true, batch: true, calls: 2},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				var source asked
				var opts nearcache.Options[string]
				if c.loader {
					opts.Loader = nearcache.ValueLoader(source.one)
				}
				if c.batch {
					opts.BatchLoader = nearcache.BatchValueLoader(source.many)
				}
				a, b := f.join(opts), f.join(opts)
				v, err := a.Get(t.Context(), "k")
				require.NoError(t, err)
				assert.Equal(t, "v of k", v)
				want := map[string]string{"k": "v of k", "l": "v of l", "m": "v of m"}
				for _, m := range []*member{a, b} {
					values, err := m.GetMany(t.Context(), []string{"k", "l", "m"})
					require.NoError(t, err)
					assert.Equal(t, want, values)
				}
				r, err := b.Read(t.Context(), "k", nearcache.ReadOptions{}, nil)
				require.NoError(t, err)
				assert.Equal(t, "v of k", r.Value)
				loads := len(source.calls)
				if c.loader && !c.batch {
					assert.Equal(t, 3, loads)
				} else {
					assert.Equal(t, 2, loads)
				}
				_, err = a.Get(t.Context(), "none")
				require.ErrorIs(t, err, nearcache.ErrNotFound)
				values, err := a.GetMany(t.Context(), []string{"none"})
				require.NoError(t, err)
				assert.Empty(t, values)
			})
		})
	}
}

// TestReadThrough_Exceptions: a call may have another loader, or none.
func TestReadThrough_Exceptions(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		var source asked
		m := f.join(nearcache.Options[string]{Loader: nearcache.ValueLoader(source.one)})
		_, err := m.Read(t.Context(), "k", nearcache.ReadOptions{NoLoad: true}, nil)
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		assert.Empty(t, source.calls)
		v, err := m.Fetch(t.Context(), "k", is("of this call"))
		require.NoError(t, err)
		assert.Equal(t, "of this call", v)
		r, err := m.Read(t.Context(), "k", nearcache.ReadOptions{NoLoad: true}, nil)
		require.NoError(t, err)
		assert.Equal(t, "of this call", r.Value)
		_, err = m.Fetch(t.Context(), "l", nil)
		require.ErrorContains(t, err, "the loader is nil")
		assert.Empty(t, source.calls)
	})
}

// TestReadThrough_OldValue: the loader of the options is given the value that is about to end.
func TestReadThrough_OldValue(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		var given atomic.Pointer[string]
		m := f.join(nearcache.Options[string]{
			TTL: time.Minute, RefreshAhead: 10 * time.Second,
			Loader: func(_ context.Context, _ string, old *string) (nearcache.Loaded[string], error) {
				given.Store(old)
				return nearcache.Loaded[string]{Value: "new"}, nil
			},
		})
		require.NoError(t, m.Set(t.Context(), "k", "old"))
		time.Sleep(51 * time.Second)
		v, err := m.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "old", v)
		settle()
		require.NotNil(t, given.Load())
		assert.Equal(t, "old", *given.Load())
		v, err = m.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	})
}

// TestReadThrough_SideBySide: without a batch loader, the keys of a GetMany are loaded side by
// side, as many as the options allow.
func TestReadThrough_SideBySide(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		slow := func(context.Context, string) (string, error) {
			time.Sleep(time.Second)
			return "v", nil
		}
		m := f.join(nearcache.Options[string]{Loader: nearcache.ValueLoader(slow), MaxConcurrentLoads: 2})
		began := time.Now()
		values, err := m.GetMany(t.Context(), []string{"a", "b", "c", "d"})
		require.NoError(t, err)
		assert.Len(t, values, 4)
		assert.Equal(t, 2*time.Second, time.Since(began).Round(100*time.Millisecond))
	})
}
