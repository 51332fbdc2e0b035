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

// TestG6_FirstTags: the first values with tags of a cache are loaded once for the
// fleet, as all others are, also long after its start.
func TestG6_FirstTags(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		_, err := a.Fetch(t.Context(), "plain", is("v"))
		require.NoError(t, err)
		_, err = b.Fetch(t.Context(), "other", is("v"))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		for key, tag := range map[string]string{"1": "org:1", "2": "org:2"} {
			_, err := a.FetchEntry(t.Context(), key, loads("v", tag))
			require.NoError(t, err)
			_, err = b.Fetch(t.Context(), key, none)
			assert.NoError(t, err, "loaded again")
			many, err := a.FetchEntryMany(t.Context(), []string{"m" + key}, func(context.Context, []string) (map[string]nearcache.Loaded[string], error) {
				return map[string]nearcache.Loaded[string]{"m" + key: asLoaded(tagged("v", "m"+tag))}, nil
			})
			require.NoError(t, err)
			assert.Len(t, many, 1)
			_, err = b.Fetch(t.Context(), "m"+key, none)
			assert.NoError(t, err, "loaded again")
		}
		assert.Zero(t, b.Stats().Shared.TagMisses)
	})
}

// TestG6_FirstTagsAfterOthers: so they are just after another tag was invalidated, on a node
// that knew the tag clock of before, and had no use for it.
func TestG6_FirstTagsAfterOthers(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		require.NoError(t, b.InvalidateTags(t.Context(), "other"))
		time.Sleep(3 * time.Second)
		_, err := a.Fetch(t.Context(), "plain", is("v"))
		require.NoError(t, err)
		require.NoError(t, b.InvalidateTags(t.Context(), "other"))
		settle()
		_, err = a.FetchEntry(t.Context(), "k", loads("v", "org:1"))
		require.NoError(t, err)
		for _, m := range []*member{a, b} {
			_, err = m.Fetch(t.Context(), "k", none)
			assert.NoError(t, err, "loaded again")
		}
	})
}

// TestG6_FirstTagsHerd: so they are when many ask at once.
func TestG6_FirstTagsHerd(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		opts := nearcache.Options[string]{Tags: func(key, _ string) []string { return []string{"all", "of:" + key} }}
		nodes := []*member{f.join(opts), f.join(opts)}
		var n atomic.Int64
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				_, err := nodes[i%2].Fetch(t.Context(), []string{"1", "2"}[i/100], func(context.Context, string) (string, error) {
					n.Add(1)
					time.Sleep(20 * time.Millisecond)
					return "v", nil
				})
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		assert.EqualValues(t, 2, n.Load())
		assert.Zero(t, nodes[0].Stats().Shared.TagMisses+nodes[1].Stats().Shared.TagMisses)
	})
}
