package nearsql_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearcachetest"
	"github.com/nearbus/nearbus/nearcache/nearsql"
)

// What a relay does may come in any order, and twice: with loads in between, no server ends
// with an old value.
func TestInvalidationsCommute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		invalidations := []func(nearsql.Cache) error{
			func(c nearsql.Cache) error { return c.Invalidate(t.Context(), "by key") },
			func(c nearsql.Cache) error { return c.InvalidateTags(t.Context(), "by tag") },
			func(c nearsql.Cache) error { return c.Clear(t.Context()) },
			func(c nearsql.Cache) error { return c.Invalidate(t.Context(), "by key", "by clear") },
		}
		fleet := nearcachetest.NewMemory(t)
		var caches []*nearcache.Cache[int]
		for range 2 {
			cache, err := nearcache.New(fleet.Node(nearcache.NodeOptions{}), "numbers", nearcache.Options[int]{})
			require.NoError(t, err)
			caches = append(caches, cache)
		}
		version := 0
		read := func(cache *nearcache.Cache[int], key string) int {
			v, err := cache.FetchEntry(t.Context(), key, func(_ context.Context, key string, _ *int) (nearcache.Loaded[int], error) {
				return nearcache.Loaded[int]{Value: version, Tags: []string{key}}, nil
			})
			require.NoError(t, err)
			return v
		}
		keys := []string{"by key", "by tag", "by clear"}
		for order := range permutations(len(invalidations)) {
			version++ // the source changes first
			for i, which := range order {
				assert.NoError(t, invalidations[which](caches[i%2]))
				for _, cache := range caches {
					read(cache, keys[i%len(keys)])
				}
			}
			fleet.Settle()
			for i, cache := range caches {
				for _, key := range keys {
					assert.Equal(t, version, read(cache, key), "%s on node %d in the order %v", key, i, order)
				}
			}
		}
		assert.Equal(t, 24, version)
	})
}

// permutations yields each order of n numbers.
func permutations(n int) func(yield func([]int) bool) {
	return func(yield func([]int) bool) {
		var grow func(order []int) bool
		grow = func(order []int) bool {
			if len(order) == n {
				return yield(order)
			}
			for i := range n {
				if !slices.Contains(order, i) && !grow(append(slices.Clip(order), i)) {
					return false
				}
			}
			return true
		}
		grow(nil)
	}
}
