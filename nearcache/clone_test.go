package nearcache_test

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared/driver"
)

type set map[string]bool

// sets returns a cache of mutable values.
func sets(t *testing.T, f *fleet, opts nearcache.Options[set]) *nearcache.Cache[set] {
	t.Helper()
	cache, err := nearcache.New(f.join().node, "sets", opts)
	require.NoError(t, err)
	return cache
}

// everyRead reads a key in every way that there is, from the near tier or not.
func everyRead(t *testing.T, c *nearcache.Cache[set], key string) map[string]set {
	t.Helper()
	load := func(context.Context, string) (set, error) { return set{"v": true}, nil }
	loadEntry := func(context.Context, string, *set) (nearcache.Loaded[set], error) {
		return nearcache.Loaded[set]{Value: set{"v": true}}, nil
	}
	loadMany := func(_ context.Context, keys []string) (map[string]set, error) {
		return map[string]set{keys[0]: {"v": true}}, nil
	}
	read := map[string]set{}
	take := func(way string, v set, err error) {
		require.NoError(t, err, way)
		read[way] = v
	}
	v, err := c.Fetch(t.Context(), key, load)
	take("Fetch", v, err)
	v, err = c.FetchEntry(t.Context(), key, loadEntry)
	take("FetchEntry", v, err)
	v, err = c.Get(t.Context(), key)
	take("Get", v, err)
	m, err := c.FetchMany(t.Context(), []string{key}, loadMany)
	take("FetchMany", m[key], err)
	m, err = c.GetMany(t.Context(), []string{key})
	take("GetMany", m[key], err)
	return read
}

// TestClone_CallersOwnWhatTheyGet: whatever they do with it, the next one gets
// what was stored.
func TestClone_CallersOwnWhatTheyGet(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		c := sets(t, f, nearcache.Options[set]{Clone: maps.Clone[set], NotFoundTTL: time.Minute})
		given := set{"v": true}
		require.NoError(t, c.Set(t.Context(), "set", given))
		given["changed"] = true
		givenMany := map[string]set{"many": {"v": true}}
		require.NoError(t, c.SetMany(t.Context(), givenMany))
		givenMany["many"]["changed"] = true
		for _, key := range []string{"set", "many", "loaded"} {
			for range 2 {
				for way, v := range everyRead(t, c, key) {
					assert.Equal(t, set{"v": true}, v, "%s by %s", key, way)
					v["changed"] = true
				}
			}
		}
	})
}

// TestClone_ThoseWhoWaitTogether share a load and not its value.
func TestClone_ThoseWhoWaitTogether(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		c := sets(t, f, nearcache.Options[set]{Clone: maps.Clone[set]})
		values := make(chan set)
		for range 5 {
			go func() {
				v, err := c.Fetch(t.Context(), "k", func(context.Context, string) (set, error) {
					time.Sleep(time.Second)
					return set{}, nil
				})
				assert.NoError(t, err)
				values <- v
			}()
		}
		for range 5 {
			v := <-values
			assert.Empty(t, v)
			v["changed"] = true
		}
	})
}

func TestClone_Panics(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		good := sets(t, f, nearcache.Options[set]{})
		require.NoError(t, good.Set(t.Context(), "k", set{}))
		settle()
		c := sets(t, f, nearcache.Options[set]{Clone: func(set) set { panic("clone") }})
		var panicked *nearcache.PanicError
		for range 2 {
			_, err := c.Get(t.Context(), "k")
			require.ErrorAs(t, err, &panicked)
			_, err = c.GetMany(t.Context(), []string{"k"})
			require.ErrorAs(t, err, &panicked)
		}
		err := c.Set(t.Context(), "k", set{"new": true})
		require.ErrorAs(t, err, &panicked)
		require.ErrorContains(t, err, `nearcache: Options.Clone for key "k" panicked: clone`)
		settle()
		_, err = good.Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound, "the key was invalidated")
	})
}

// TestSchema_OtherVersionsAreMisses: the codec would read them, and get them
// wrong.
func TestSchema_OtherVersionsAreMisses(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		none, one, two := f.join(), f.join(nearcache.Options[string]{SchemaVersion: 1}), f.join(nearcache.Options[string]{SchemaVersion: 1<<32 - 1})
		for _, writer := range []*member{none, one, two} {
			require.NoError(t, writer.Set(t.Context(), "k", "v"))
			settle()
			for _, reader := range []*member{none, one, two} {
				before := reader.Stats().Values.Undecodable
				v, err := reader.Get(t.Context(), "k")
				if reader == writer {
					require.NoError(t, err)
					assert.Equal(t, "v", v)
					continue
				}
				require.ErrorIs(t, err, nearcache.ErrNotFound)
				assert.Equal(t, before+1, reader.Stats().Values.Undecodable)
			}
		}
		v, err := one.Fetch(t.Context(), "k", is("loaded"))
		require.NoError(t, err)
		assert.Equal(t, "loaded", v)
		assert.EqualValues(t, 1, f.store.fills.Load(), "it takes the place of the other version")
		require.NoError(t, one.SetMany(t.Context(), map[string]string{"many": "v"}))
		images, err := f.store.Read(t.Context(), []string{"users:k", "users:many"})
		require.NoError(t, err)
		for _, image := range images {
			r, err := driver.DecodeRecord(image)
			require.NoError(t, err)
			assert.EqualValues(t, 1, r.Schema)
		}
	})
}
