package nearcache_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared/driver"
)

// readsPartly makes the store read all keys but some.
func (f *fleet) readsPartly(unread ...string) {
	f.store.Store = partly{f.store.Store, unread}
}

type partly struct {
	driver.Store
	unread []string
}

func (p partly) Read(ctx context.Context, keys []string) ([][]byte, error) {
	images, err := p.Store.Read(ctx, keys)
	if err != nil {
		return nil, err
	}
	errs := make([]error, len(keys))
	for i, key := range keys {
		if slices.Contains(p.unread, key) {
			images[i], errs[i] = nil, errDown
		}
	}
	return images, driver.Partial(errs)
}

// TestG7_OneServerOfManyDown: its keys come from the source, those of others
// from the shared tier.
func TestG7_OneServerOfManyDown(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a := f.join()
		require.NoError(t, a.Set(t.Context(), "up", "shared"))
		require.NoError(t, a.Set(t.Context(), "down", "shared"))
		f.readsPartly("users:down")
		b := f.join()
		var mu sync.Mutex // keys of both kinds are loaded at the same time
		var asked [][]string
		values, err := b.FetchMany(t.Context(), []string{"up", "down", "absent"}, func(_ context.Context, missing []string) (map[string]string, error) {
			mu.Lock()
			asked = append(asked, missing)
			mu.Unlock()
			values := map[string]string{}
			for _, key := range missing {
				values[key] = "source"
			}
			return values, nil
		})
		require.NoError(t, err)
		assert.Equal(t, map[string]string{"up": "shared", "down": "source", "absent": "source"}, values)
		require.Len(t, asked, 1, "one call for all")
		assert.ElementsMatch(t, []string{"down", "absent"}, asked[0])
		assert.EqualValues(t, 1, b.Stats().Loads.Degraded)
		_, err = f.join().Get(t.Context(), "down")
		require.ErrorIs(t, err, errDown)
	})
}

// TestG7_TheServerOfTheClockDown: whether a record is live depends on the clock
// of its cache, so nothing is served without it.
func TestG7_TheServerOfTheClockDown(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a := f.join()
		require.NoError(t, a.Set(t.Context(), "k", "shared"))
		f.readsPartly("users!clock")
		b := f.join()
		_, err := b.Get(t.Context(), "k")
		require.ErrorIs(t, err, errDown)
		require.NotErrorIs(t, err, nearcache.ErrNotFound)
		v, err := b.Fetch(t.Context(), "k", is("source"))
		require.NoError(t, err)
		assert.Equal(t, "source", v)
	})
}
