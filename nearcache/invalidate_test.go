package nearcache_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

// orgsOf opens another cache on the node of each member.
func orgsOf(t *testing.T, nodes ...*member) (all []*nearcache.Cache[string]) {
	t.Helper()
	for _, m := range nodes {
		c, err := nearcache.New(m.node, "orgs", nearcache.Options[string]{})
		require.NoError(t, err)
		all = append(all, c)
	}
	return all
}

// TestNodeInvalidate: keys, tags and whole caches end on all nodes by one message.
func TestNodeInvalidate(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		orgs := orgsOf(t, a, b)
		require.NoError(t, a.Set(t.Context(), "k", "v"))
		require.NoError(t, a.SetEntry(t.Context(), "tagged", tagged("v", "t")))
		require.NoError(t, a.Set(t.Context(), "stays", "v"))
		require.NoError(t, orgs[0].Set(t.Context(), "o", "v"))
		settle()
		for _, m := range []*member{a, b} {
			_, err := m.GetMany(t.Context(), []string{"k", "tagged", "stays"})
			require.NoError(t, err)
		}
		_, err := orgs[1].Get(t.Context(), "o")
		require.NoError(t, err)
		before, applied := a.bus.Stats(), b.node.Stats().Bus.Applied
		errs := a.node.Invalidate(t.Context(),
			nearcache.Invalidation{Cache: "users", Keys: []string{"k"}, Tags: []string{"t"}},
			nearcache.Invalidation{Cache: "orgs", All: true},
			nearcache.Invalidation{Cache: "users"},
		)
		require.Equal(t, []error{nil, nil, nil}, errs)
		settle()
		after := a.bus.Stats()
		assert.EqualValues(t, 1, after.Published-before.Published)
		assert.EqualValues(t, 3, after.PublishedKeys-before.PublishedKeys)
		assert.EqualValues(t, 3, b.node.Stats().Bus.Applied-applied)
		for i, m := range []*member{a, b} {
			found, err := m.GetMany(t.Context(), []string{"k", "tagged", "stays"})
			require.NoError(t, err)
			assert.Equal(t, map[string]string{"stays": "v"}, found)
			_, err = orgs[i].Get(t.Context(), "o")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		}
	})
}

// TestNodeInvalidate_Fails: each has an error of its own, and the others are done.
func TestNodeInvalidate_Fails(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		orgs := orgsOf(t, a, b)
		require.NoError(t, a.Set(t.Context(), "k", "v"))
		require.NoError(t, orgs[0].Set(t.Context(), "o", "v"))
		settle()
		fetches(t, b, "v", none)
		f.store.onBefore(func(ctx context.Context, op, key string) error {
			if op == "write" && key == "orgs:o" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		errs := a.node.Invalidate(t.Context(),
			nearcache.Invalidation{Cache: "users", Keys: []string{"k", ""}, Tags: []string{""}},
			nearcache.Invalidation{Cache: "orgs", Keys: []string{"o"}},
			nearcache.Invalidation{Cache: "unknown", All: true},
		)
		require.ErrorIs(t, errs[0], nearcache.ErrInvalidKey)
		require.ErrorIs(t, errs[0], nearcache.ErrInvalidTag)
		require.ErrorIs(t, errs[1], nearcache.ErrOutcomeUnknown)
		require.ErrorContains(t, errs[2], `the node has no cache "unknown"`)
		settle()
		for _, m := range []*member{a, b} {
			_, err := m.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		}
		f.store.onBefore(nil)
		require.NoError(t, a.node.Drain(t.Context()))
		settle()
		_, err := orgs[1].Get(t.Context(), "o")
		require.ErrorIs(t, err, nearcache.ErrNotFound, "it was tried again")

		gone, leave := context.WithCancel(t.Context())
		leave()
		began := time.Now()
		errs = a.node.Invalidate(gone, nearcache.Invalidation{Cache: "users", Keys: []string{"x"}}, nearcache.Invalidation{Cache: "orgs", All: true})
		assert.Less(t, time.Since(began), time.Second)
		require.Error(t, errs[0])
		require.NoError(t, a.node.Drain(t.Context()))
		assert.Empty(t, a.node.Invalidate(t.Context()))
		require.NoError(t, a.node.Close(atOnce))
		require.ErrorIs(t, a.node.Invalidate(t.Context(), nearcache.Invalidation{Cache: "users", All: true})[0], nearcache.ErrClosed)
	})
}

// TestNodeInvalidate_Mute: what nobody could be told of is told for each.
func TestNodeInvalidate_Mute(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a := f.join()
		orgsOf(t, a)
		a.link.mute.Store(true)
		errs := a.node.Invalidate(t.Context(), nearcache.Invalidation{Cache: "users", Keys: []string{"k"}}, nearcache.Invalidation{Cache: "orgs", All: true})
		require.ErrorIs(t, errs[0], nearcache.ErrNotBroadcast)
		require.ErrorIs(t, errs[1], nearcache.ErrNotBroadcast)
		a.link.mute.Store(false)
		require.NoError(t, a.node.Drain(t.Context()))
	})
}
