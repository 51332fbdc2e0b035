package nearcache_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

// TestCostlyKeys: misses, loads and invalidations are counted by key, whoever writes; hits
// and own echoes are not.
func TestCostlyKeys(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.announces = true
		a, b := f.join(), f.join()
		for range 3 {
			_, _ = a.Fetch(t.Context(), "loaded", is("v"))
			_, _ = a.Get(t.Context(), "loaded") // a hit
			require.NoError(t, a.Invalidate(t.Context(), "loaded"))
			settle() // the echo
		}
		_, _ = a.Get(t.Context(), "missed")
		_, _ = a.GetMany(t.Context(), []string{"missed", "loaded"})
		_, _ = a.Read(t.Context(), "missed", nearcache.ReadOptions{}, nil)
		_, _ = a.FetchMany(t.Context(), []string{"one", "two"}, func(context.Context, []string) (map[string]string, error) { return nil, nil })
		require.NoError(t, b.Set(t.Context(), "loaded", "v"))
		require.NoError(t, b.Delete(t.Context(), "other"))
		settle()

		got, err := a.node.CostlyKeys("users")
		require.NoError(t, err)
		n := func(key string, n uint64) nearcache.KeyCount {
			return nearcache.KeyCount{Key: key, AtLeast: n, AtMost: n}
		}
		assert.Equal(t, []nearcache.KeyCount{n("loaded", 4), n("missed", 3), n("one", 1), n("two", 1)}, got.Misses)
		assert.Equal(t, []nearcache.KeyCount{n("loaded", 3), n("one", 1), n("two", 1)}, got.Loads)
		assert.Equal(t, []nearcache.KeyCount{n("loaded", 4), n("other", 1)}, got.Invalidations)
		assert.Equal(t, got.Loads, a.CostlyKeys().Loads)
		_, err = a.node.CostlyKeys("none")
		require.ErrorContains(t, err, `CostlyKeys: the node has no cache "none"`)
	})
}
