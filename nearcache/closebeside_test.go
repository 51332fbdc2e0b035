package nearcache_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

// TestCacheClose_AtOnceBesideAWrite: a cache is closed at once while it writes, and another one of
// its name is opened and reads what there was before. What is written then, the other one hears of,
// although a node does not hear itself.
func TestCacheClose_AtOnceBesideAWrite(t *testing.T) {
	tagged := nearcache.Options[string]{Tags: func(string, string) []string { return []string{"tag"} }}
	for name, write := range map[string]func(context.Context, *nearcache.Cache[string]) error{
		"Set": func(ctx context.Context, c *nearcache.Cache[string]) error { return c.Set(ctx, "k", newValue) },
		"SetMany": func(ctx context.Context, c *nearcache.Cache[string]) error {
			return c.SetMany(ctx, map[string]string{"k": newValue})
		},
		"Delete":     func(ctx context.Context, c *nearcache.Cache[string]) error { return c.Delete(ctx, "k") },
		"Invalidate": func(ctx context.Context, c *nearcache.Cache[string]) error { return c.Invalidate(ctx, "k") },
		"Clear":      func(ctx context.Context, c *nearcache.Cache[string]) error { return c.Clear(ctx) },
		"InvalidateTags": func(ctx context.Context, c *nearcache.Cache[string]) error {
			return c.InvalidateTags(ctx, "tag")
		},
	} {
		t.Run(name, func(t *testing.T) {
			inFleets(t, func(t *testing.T, f *fleet) {
				m, other := f.join(tagged), f.join(tagged)
				require.NoError(t, other.Set(t.Context(), "k", oldValue))
				settle()
				held := make(chan struct{})
				f.store.onBefore(func(_ context.Context, op, _ string) error {
					if op == "write" {
						<-held
					}
					return nil
				})
				written := make(chan error, 1)
				go func() { written <- write(t.Context(), m.Cache) }()
				synctest.Wait()
				require.NoError(t, m.Close(atOnce))
				again, err := nearcache.New(m.node, "users", tagged)
				require.NoError(t, err)
				v, err := again.Get(t.Context(), "k")
				require.NoError(t, err)
				require.Equal(t, oldValue, v)
				time.Sleep(10 * time.Millisecond)
				close(held)
				require.NoError(t, <-written)
				settle()
				f.store.onBefore(nil)
				for _, c := range []*nearcache.Cache[string]{again, other.Cache} {
					v, err = c.Get(t.Context(), "k")
					if name == "Set" || name == "SetMany" {
						require.NoError(t, err)
						assert.Equal(t, newValue, v)
					} else {
						require.ErrorIs(t, err, nearcache.ErrNotFound)
					}
				}
			})
		})
	}
}
