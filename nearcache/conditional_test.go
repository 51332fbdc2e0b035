package nearcache_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

// TestNotModified: past the TTL and ahead of its end, a loader sees the old value
// and may say that it still holds, for another TTL and for all nodes.
func TestNotModified(t *testing.T) {
	for name, c := range map[string]struct {
		opts nearcache.Options[string]
		wait time.Duration
	}{
		"past its TTL":     {keeping, 61 * time.Second},
		"ahead of its end": {ahead, 51 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				a, b := f.join(c.opts), f.join(c.opts)
				require.NoError(t, a.Set(t.Context(), "k", "v"))
				time.Sleep(c.wait)
				v, err := a.FetchEntry(t.Context(), "k", func(ctx context.Context, _ string, old *string) (nearcache.Loaded[string], error) {
					if assert.NotNil(t, old) {
						assert.Equal(t, "v", *old)
					}
					_, err := a.FetchEntry(ctx, "other", func(_ context.Context, _ string, old *string) (nearcache.Loaded[string], error) {
						assert.Nil(t, old, "that is of another load")
						return nearcache.Loaded[string]{}, nil
					})
					return nearcache.Loaded[string]{NotModified: true}, err
				})
				require.NoError(t, err)
				assert.Equal(t, "v", v)
				settle()
				time.Sleep(45 * time.Second)
				for _, m := range []*member{a, b} {
					fetches(t, m, "v", none)
				}
			})
		})
	}
}

// TestNotModified_Nothing: without an old value it is an error.
func TestNotModified_Nothing(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(keeping)
		_, err := m.FetchEntry(t.Context(), "k", func(_ context.Context, _ string, old *string) (nearcache.Loaded[string], error) {
			assert.Nil(t, old)
			return nearcache.Loaded[string]{NotModified: true}, nil
		})
		require.ErrorContains(t, err, "there is no old value")
	})
}

// TestNoStore: the value is for those who wait, and takes the old one along.
func TestNoStore(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(keeping)
		unstored := func(context.Context, string, *string) (nearcache.Loaded[string], error) {
			return nearcache.Loaded[string]{Value: "once", NoStore: true}, nil
		}
		for range 2 {
			v, err := m.FetchEntry(t.Context(), "k", unstored)
			require.NoError(t, err)
			assert.Equal(t, "once", v)
			_, err = m.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
			_, err = m.Fetch(t.Context(), "k", failing)
			require.ErrorIs(t, err, errDown, "an old value must not come after it")
			require.NoError(t, m.Set(t.Context(), "k", "old"))
			time.Sleep(time.Minute + time.Second)
		}
	})
}
