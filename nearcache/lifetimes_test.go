package nearcache_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// longNear keeps values near for 20 seconds, unless their entry says otherwise.
var longNear = nearcache.Options[string]{TTL: time.Minute, NearTTL: 20 * time.Second}

// TestNearTTL_Travels: the near TTL of an entry holds on every node, however the entry
// came into the cache, and each time that its record is read.
func TestNearTTL_Travels(t *testing.T) {
	const near = 300 * time.Millisecond
	entry := nearcache.Entry[string]{Value: "v", NearTTL: near}
	for name, store := range map[string]func(context.Context, *member) error{
		"SetEntry": func(ctx context.Context, m *member) error { return m.SetEntry(ctx, "k", entry) },
		"SetEntryMany": func(ctx context.Context, m *member) error {
			return m.SetEntryMany(ctx, map[string]nearcache.Entry[string]{"k": entry})
		},
		"FetchEntry": func(ctx context.Context, m *member) error {
			_, err := m.FetchEntry(ctx, "k", func(context.Context, string, *string) (nearcache.Loaded[string], error) {
				return asLoaded(entry), nil
			})
			return err
		},
		"FetchEntryMany": func(ctx context.Context, m *member) error {
			_, err := m.FetchEntryMany(ctx, []string{"k"}, func(context.Context, []string) (map[string]nearcache.Loaded[string], error) {
				return map[string]nearcache.Loaded[string]{"k": asLoaded(entry)}, nil
			})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				writer, reader := f.join(longNear), f.join(longNear)
				require.NoError(t, store(t.Context(), writer))
				settle()
				for _, m := range []*member{writer, reader, writer, reader} {
					v, err := m.Get(t.Context(), "k") // reads the record, if it is not near
					require.NoError(t, err)
					require.Equal(t, "v", v)
					requireNear(t, m, "k", "v")
					time.Sleep(near + 20*time.Millisecond)
					misses := m.Stats().Reads.Misses
					_, err = m.Get(t.Context(), "k")
					require.NoError(t, err)
					assert.Equal(t, misses+1, m.Stats().Reads.Misses, "it was near for longer than its entry says")
				}
			})
		})
	}
}

// TestNearTTL_LongerThanTheOptions is the entry's to decide, too.
func TestNearTTL_LongerThanTheOptions(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		opts := nearcache.Options[string]{TTL: time.Minute, NearTTL: time.Second}
		writer, reader := f.join(opts), f.join(opts)
		require.NoError(t, writer.SetEntry(t.Context(), "k", nearcache.Entry[string]{Value: "v", NearTTL: 30 * time.Second}))
		settle()
		_, err := reader.Get(t.Context(), "k")
		require.NoError(t, err)
		time.Sleep(29 * time.Second)
		requireNear(t, reader, "k", "v")
		requireNear(t, writer, "k", "v")
	})
}

// TestNearTTL_ThroughAnInvalidation: what is kept says the same, and a loader that answers
// NotModified decides anew.
func TestNearTTL_ThroughAnInvalidation(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		opts := longNear
		opts.Stale.For = time.Hour
		a, b := f.join(opts), f.join(opts)
		require.NoError(t, a.SetEntry(t.Context(), "k", nearcache.Entry[string]{Value: "v", NearTTL: time.Second}))
		require.NoError(t, a.Invalidate(t.Context(), "k"))
		settle()
		assert.Equal(t, time.Second, f.recordOf(t, "k").NearTTL)
		v, err := b.FetchEntry(t.Context(), "k", func(context.Context, string, *string) (nearcache.Loaded[string], error) {
			return nearcache.Loaded[string]{NotModified: true, NearTTL: 2 * time.Second}, nil
		})
		require.NoError(t, err)
		assert.Equal(t, "v", v)
		assert.Equal(t, 2*time.Second, f.recordOf(t, "k").NearTTL)
	})
}

// TestNearTTL_NotDecided: without one, a record is what it always was.
func TestNearTTL_NotDecided(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(longNear)
		require.NoError(t, m.SetEntry(t.Context(), "k", nearcache.Entry[string]{Value: "v", TTL: time.Second}))
		images, err := f.store.Store.Read(t.Context(), []string{"users:k"})
		require.NoError(t, err)
		assert.Equal(t, []byte{0, 0, 0}, images[0][5:8], "flags, length of the extension")
	})
}

// recordOf returns the record of a key.
func (f *fleet) recordOf(t *testing.T, key string) driver.Record {
	t.Helper()
	images, err := f.store.Store.Read(t.Context(), []string{"users:" + key})
	require.NoError(t, err)
	r, err := driver.DecodeRecord(images[0])
	require.NoError(t, err)
	return r
}

// TestNewerFormat_MetByALease: a record of a newer format that comes between the read and
// the request for the lease is left alone, too.
func TestNewerFormat_MetByALease(t *testing.T) {
	const flag, unknown = 5, 1 << 3
	image := (&driver.Record{Kind: driver.KindValue, Codec: shared.JSON.ID(), Nonce: 7, Value: []byte(`"newer"`)}).Append(nil)
	image[flag] |= unknown
	for name, fetch := range map[string]func(context.Context, *member) error{
		"Fetch": func(ctx context.Context, m *member) error {
			_, err := m.Fetch(ctx, "k", is("loaded"))
			return err
		},
		"FetchMany": func(ctx context.Context, m *member) error {
			_, err := m.FetchMany(ctx, []string{"k"}, func(context.Context, []string) (map[string]string, error) {
				return map[string]string{"k": "loaded"}, nil
			})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				m := f.join()
				plant := f.store.Store.(interface{ Plant(string, []byte) }).Plant
				f.store.onBefore(func(_ context.Context, op, _ string) error {
					if op == "acquire" {
						plant("users:k", image)
					}
					return nil
				})
				require.NoError(t, fetch(t.Context(), m))
				images, err := f.store.Store.Read(t.Context(), []string{"users:k"})
				require.NoError(t, err)
				assert.Equal(t, image, images[0], "it was replaced")
			})
		})
	}
}
