package nearcache_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

type (
	entries    = map[string]nearcache.Entry[string]
	loadedMany = map[string]nearcache.Loaded[string]
)

// byOrg tags a value such as "7 Ada" with its first word.
func byOrg(_, v string) []string {
	org, _, _ := strings.Cut(v, " ")
	return []string{"org:" + org}
}

// entriesOf returns a loader that answers all keys with e.
func entriesOf(e nearcache.Entry[string]) nearcache.BatchLoader[string] {
	return func(_ context.Context, keys []string) (loadedMany, error) {
		all := loadedMany{}
		for _, key := range keys {
			all[key] = asLoaded(e)
		}
		return all, nil
	}
}

// TestOptionsTags: whichever way a value came into the cache, its tag ends it on every
// node and in the shared tier.
func TestOptionsTags(t *testing.T) {
	ctx := context.Background()
	for name, put := range map[string]func(m *member) error{
		"Set":          func(m *member) error { return m.Set(ctx, "k", "7 Ada") },
		"SetEntry":     func(m *member) error { return m.SetEntry(ctx, "k", tagged("7 Ada", "admins")) },
		"SetMany":      func(m *member) error { return m.SetMany(ctx, map[string]string{"k": "7 Ada", "l": "8 Bob"}) },
		"SetEntryMany": func(m *member) error { return m.SetEntryMany(ctx, entries{"k": tagged("7 Ada", "admins")}) },
		"Fetch": func(m *member) error {
			_, err := m.Fetch(ctx, "k", is("7 Ada"))
			return err
		},
		"FetchEntry": func(m *member) error {
			_, err := m.FetchEntry(ctx, "k", loads("7 Ada", "admins"))
			return err
		},
		"FetchMany": func(m *member) error {
			_, err := m.FetchMany(ctx, []string{"k", "l"}, isAll("7 Ada"))
			return err
		},
		"FetchEntryMany": func(m *member) error {
			_, err := m.FetchEntryMany(ctx, []string{"k", "l"}, entriesOf(tagged("7 Ada", "admins")))
			return err
		},
		"Lookup": func(m *member) error {
			_, err := m.Read(ctx, "k", read{}, nearcache.ValueLoader(is("7 Ada")))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, tag := range []string{"org:7", "admins"} {
				if tag == "admins" && !strings.Contains(name, "Entr") {
					continue
				}
				bubble(t, func(t *testing.T, f *fleet) {
					opts := nearcache.Options[string]{Tags: byOrg}
					a, b := f.join(opts), f.join(opts)
					// The first value with a tag, ever, may be dead on arrival.
					require.NoError(t, a.SetEntry(t.Context(), "first", tagged("7 Eve", "admins")))
					require.NoError(t, put(a))
					settle()
					v, err := b.Get(t.Context(), "k")
					require.NoError(t, err)
					require.Equal(t, "7 Ada", v)
					requireNear(t, a, "k", "7 Ada")
					require.NoError(t, b.InvalidateTags(t.Context(), tag))
					settle()
					for _, m := range []*member{a, b, f.join(opts)} {
						_, err := m.Get(t.Context(), "k")
						require.ErrorIs(t, err, nearcache.ErrNotFound)
					}
				})
			}
		})
	}
}

// TestOptionsTags_OfTheCaller: the map that a caller gave stays as it was.
func TestOptionsTags_OfTheCaller(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(nearcache.Options[string]{Tags: byOrg})
		given := entries{"k": tagged("7 Ada", "admins")}
		require.NoError(t, m.SetEntryMany(t.Context(), given))
		assert.Equal(t, entries{"k": tagged("7 Ada", "admins")}, given)
	})
}

// TestOptionsTags_Panic: a write is refused, a loaded value is not cached.
func TestOptionsTags_Panic(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(nearcache.Options[string]{Tags: func(_, v string) []string { panic(v) }})
		var failure *nearcache.PanicError
		require.ErrorAs(t, m.Set(t.Context(), "k", "v"), &failure)
		require.ErrorAs(t, m.SetMany(t.Context(), map[string]string{"k": "v"}), &failure)
		v, err := m.Fetch(t.Context(), "k", is("v"))
		require.NoError(t, err)
		require.Equal(t, "v", v)
		values, err := m.FetchMany(t.Context(), []string{"k"}, isAll("v"))
		require.NoError(t, err)
		require.Equal(t, map[string]string{"k": "v"}, values)
		assert.EqualValues(t, 2, m.Stats().Values.Untaggable)
		_, err = m.Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
	})
}

// TestFetchEntries: what the loader says of each value holds for it.
func TestFetchEntries(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		load := func(_ context.Context, missing []string) (loadedMany, error) {
			require.Equal(t, []string{"short", "unstored", "unmodified", "gone"}, missing)
			return loadedMany{
				"short":      {Value: "s", TTL: time.Minute, NearTTL: time.Second},
				"unstored":   {Value: "u", NoStore: true},
				"unmodified": {NotModified: true},
				"unasked":    {Value: "x"},
			}, nil
		}
		values, err := a.FetchEntryMany(t.Context(), []string{"short", "unstored", "unmodified", "gone"}, load)
		require.Equal(t, map[string]string{"short": "s", "unstored": "u"}, values)
		var failed nearcache.KeysError
		require.ErrorAs(t, err, &failed)
		require.Len(t, failed, 1)
		require.ErrorContains(t, failed["unmodified"], "there is no old value")
		assert.EqualValues(t, 1, a.Stats().Loads.Unrequested)

		_, err = b.Get(t.Context(), "unstored")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		requireNear(t, a, "short", "s")
		wait(2 * time.Second)
		hits := a.Stats().Reads.Hits
		_, err = a.Get(t.Context(), "short")
		require.NoError(t, err)
		require.Equal(t, hits, a.Stats().Reads.Hits)
		wait(time.Minute)
		_, err = a.Get(t.Context(), "short")
		require.ErrorIs(t, err, nearcache.ErrNotFound)

		_, err = a.FetchEntryMany(t.Context(), []string{"k"}, nil)
		require.ErrorContains(t, err, "the loader is nil")
	})
}

// TestFetchEntries_InvalidatedMeanwhile: a tag that ended while the loader ran ends what
// it returns with it.
func TestFetchEntries_InvalidatedMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		_, err := a.FetchEntryMany(t.Context(), []string{"first"}, entriesOf(tagged("v", "T"))) // there is a tag clock
		require.NoError(t, err)
		_, err = a.FetchEntryMany(t.Context(), []string{"j", "k"}, func(ctx context.Context, keys []string) (loadedMany, error) {
			require.NoError(t, b.InvalidateTags(ctx, "T"))
			return entriesOf(tagged("old", "T"))(ctx, keys)
		})
		require.NoError(t, err)
		settle()
		for _, m := range []*member{a, b} {
			for _, key := range []string{"j", "k"} {
				_, err := m.Get(t.Context(), key)
				require.ErrorIs(t, err, nearcache.ErrNotFound)
			}
		}
	})
}

// TestFetchEntries_RoundTrips: the watermarks of all values are looked up together.
func TestFetchEntries_RoundTrips(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(nearcache.Options[string]{Tags: func(key, _ string) []string { return []string{"tag " + key} }})
		_, err := m.Fetch(t.Context(), "first", is("v"))
		require.NoError(t, err)
		keys := strings.Split("abcdefghijklmnopqrstuvwxyz", "")
		reads, fills := f.store.reads.Load(), f.store.fills.Load()
		_, err = m.FetchMany(t.Context(), keys, isAll("v"))
		require.NoError(t, err)
		assert.LessOrEqual(t, f.store.reads.Load()-reads, int64(2), "records, watermarks")
		assert.LessOrEqual(t, f.store.fills.Load()-fills, int64(2), "watermarks, values")
		assert.Len(t, f.slotKeys(t), 27)
	})
}
