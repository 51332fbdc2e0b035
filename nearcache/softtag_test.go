package nearcache_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

// soft has values that a tag has ended kept for an hour.
var soft = nearcache.Options[string]{TTL: time.Minute, Stale: nearcache.Stale{For: time.Hour, Tags: true}}

// broken is a loader whose source is down.
func broken(context.Context, string) (string, error) { return "", errDown }

// TestFailSafe_Tags: past the invalidation of its tag, a value is given where the load fails, on all
// nodes and as a stale one; never once there is another.
func TestFailSafe_Tags(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		a, b := f.join(soft), f.join(soft)
		require.NoError(t, a.SetEntry(t.Context(), "k", tagged("old", "t")))
		settle()
		fetches(t, b, "old", none)
		require.NoError(t, a.InvalidateTags(t.Context(), "t"))
		settle()
		for _, m := range []*member{a, b} {
			_, err := m.Read(t.Context(), "k", nearcache.ReadOptions{NoLoad: true}, nil)
			require.ErrorIs(t, err, nearcache.ErrTagInvalidated)
			got, err := m.Read(t.Context(), "k", nearcache.ReadOptions{}, nearcache.ValueLoader(broken))
			require.NoError(t, err)
			assert.Equal(t, "old", got.Value)
			assert.True(t, got.Stale)
			_, err = m.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nearcache.ValueLoader(broken))
			require.ErrorIs(t, err, errDown, "no old value is within bounds")
		}
		time.Sleep(2 * time.Minute) // it has expired as well
		fetches(t, f.join(soft), "old", broken)
		time.Sleep(2 * time.Second)
		fetches(t, a, "new", is("new"))
		for _, m := range []*member{a, b} {
			time.Sleep(2 * time.Second) // of RetryAfter
			fetches(t, m, "new", none)
		}
	})
}

// TestFailSafe_TagsHard: deleted and cleared values are not given, nor any without the option.
func TestFailSafe_TagsHard(t *testing.T) {
	for name, c := range map[string]struct {
		opts nearcache.Options[string]
		end  func(ctx context.Context, m *member) error
	}{
		"not set": {nearcache.Options[string]{Stale: nearcache.Stale{For: time.Hour}}, func(context.Context, *member) error { return nil }},
		"delete":  {soft, func(ctx context.Context, m *member) error { return m.Delete(ctx, "k") }},
		"clear":   {soft, func(ctx context.Context, m *member) error { return m.Clear(ctx) }},
	} {
		t.Run(name, func(t *testing.T) {
			inFleets(t, func(t *testing.T, f *fleet) {
				a, b := f.join(c.opts), f.join(c.opts)
				require.NoError(t, a.SetEntry(t.Context(), "k", tagged("old", "t")))
				settle()
				fetches(t, b, "old", none)
				require.NoError(t, a.InvalidateTags(t.Context(), "t"))
				settle()
				if name != "not set" {
					fetches(t, b, "old", broken)
				}
				require.NoError(t, c.end(t.Context(), a))
				settle()
				time.Sleep(2 * time.Second)
				for _, m := range []*member{a, b} {
					_, err := m.Fetch(t.Context(), "k", broken)
					require.ErrorIs(t, err, errDown)
				}
			})
		})
	}
	bubble(t, func(t *testing.T, f *fleet) {
		_, err := nearcache.New(f.join().node, "other", nearcache.Options[string]{Stale: nearcache.Stale{Tags: true}})
		require.ErrorContains(t, err, "Stale.Tags is set without Stale.For")
	})
}

// TestHazard12_Tags: once callers were given a newer value, also one that could not be stored, the
// old one is not given any more.
func TestHazard12_Tags(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		m := f.join(soft)
		require.NoError(t, m.SetEntry(t.Context(), "k", tagged("old", "t")))
		require.NoError(t, m.InvalidateTags(t.Context(), "t"))
		fetches(t, m, "old", broken)
		time.Sleep(2 * time.Second)
		f.store.onBefore(func(_ context.Context, op, key string) error {
			if op == "fill" && key == "users:k" {
				return errDown
			}
			return nil
		})
		fetches(t, m, "new", is("new"))
		f.store.onBefore(nil)
		time.Sleep(10 * time.Second) // until the value that is near alone has gone
		v, err := m.Fetch(t.Context(), "k", broken)
		assert.NotEqual(t, "old", v)
		if err == nil {
			assert.Equal(t, "new", v)
		}
	})
}
