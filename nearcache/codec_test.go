package nearcache_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
)

// TestCodec_Change: a fleet goes from JSON to gob while all of it is up. Who
// reads both misses nothing; who reads one has misses, counted, and no errors.
func TestCodec_Change(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		onlyOld := f.join()
		old := f.join(nearcache.Options[string]{ReadCodecs: []shared.Codec{shared.Gob}})
		changed := f.join(nearcache.Options[string]{Codec: shared.Gob, ReadCodecs: []shared.Codec{shared.Raw, shared.JSON}})
		require.NoError(t, old.Set(t.Context(), "old", "v"))
		require.NoError(t, changed.Set(t.Context(), "new", "w"))
		for _, m := range []*member{old, changed} {
			for key, want := range map[string]string{"old": "v", "new": "w"} {
				v, err := m.Fetch(t.Context(), key, none)
				require.NoError(t, err)
				assert.Equal(t, want, v)
			}
			assert.Zero(t, m.Stats().Values.Undecodable)
		}
		_, err := onlyOld.Get(t.Context(), "new")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		assert.EqualValues(t, 1, onlyOld.Stats().Values.Undecodable)
		v, err := onlyOld.Fetch(t.Context(), "new", is("loaded"))
		require.NoError(t, err)
		assert.Equal(t, "loaded", v)
		settle()
		v, err = changed.Get(t.Context(), "new")
		require.NoError(t, err, "what replaced it is read as well")
		assert.Contains(t, []string{"w", "loaded"}, v)
	})
}

func TestCodec_AlsoReadThatPanics(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		require.NoError(t, f.join().Set(t.Context(), "k", "v"))
		m := f.join(nearcache.Options[string]{Codec: shared.Gob, ReadCodecs: []shared.Codec{&oddCodec{panics: true}}})
		_, err := m.Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		assert.EqualValues(t, 1, m.Stats().Values.Undecodable)
	})
}

// noID is a codec that cannot say what it is.
type noID struct{ shared.Codec }

func TestCodec_OptionsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		node := f.join().node
		for want, opts := range map[string]nearcache.Options[string]{
			"nearcache: Options.Codec is a nil *nearcache_test.oddCodec":                       {Codec: (*oddCodec)(nil)},
			"nearcache: Options.ReadCodecs[0] is nil":                                          {ReadCodecs: []shared.Codec{nil}},
			"nearcache: Options.ReadCodecs[0] has the ID 1, as another codec of the cache has": {ReadCodecs: []shared.Codec{shared.JSON}},
			"nearcache: Options.ReadCodecs[1] has the ID 2, as another codec of the cache has": {ReadCodecs: []shared.Codec{shared.Gob, shared.Gob}},
			"nearcache: Options.ReadCodecs[0] has the ID 2, as another codec":                  {Codec: shared.Gob, ReadCodecs: []shared.Codec{shared.Gob}},
			"nearcache: Options.Codec: ID: nearcache: the codec panicked":                      {Codec: noID{}},
		} {
			_, err := nearcache.New(node, "refused", opts)
			require.ErrorContains(t, err, want)
		}
	})
}
