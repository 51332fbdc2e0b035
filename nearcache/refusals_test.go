package nearcache_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
)

// TestRefusals_TooLarge: a value that is loaded again for every request is told once,
// although Set has had its error before.
func TestRefusals_TooLarge(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.tierOpts.MaxValue = 1000
		lines := f.log()
		m := f.join()
		large := strings.Repeat("secret", 200)
		require.ErrorIs(t, m.Set(t.Context(), "k", large), nearcache.ErrTooLarge)
		require.Equal(t, []string{""}, lines(), "its caller knows")
		for range 3 {
			fetches(t, m, large, is(large))
		}
		_, err := m.FetchMany(t.Context(), []string{"k", "l"}, func(context.Context, []string) (map[string]string, error) {
			return map[string]string{"k": large}, nil
		})
		require.NoError(t, err)
		got := lines()
		require.Len(t, got, 1, got)
		assert.Contains(t, got[0], `level=WARN msg="nearcache: a loaded value is too large for the shared tier, and is not cached" `+
			`cache=users key=k size=1202 limit=1000 error=`)
		assert.NotContains(t, got[0], "secret")
		assert.EqualValues(t, 5, m.Stats().Values.TooLarge)
	})
}

// TestRefusals_Foreign: records that this cache cannot read are told once, with what they
// are.
func TestRefusals_Foreign(t *testing.T) {
	for want, foreign := range map[string]nearcache.Options[string]{
		`cache=users key=k reason="it has another codec or schema: another version of this program wrote it, or another program with a cache of this name in the namespace" codec=2 schema=0 own_codec=1 own_schema=0`: {Codec: shared.Gob},
		`cache=users key=k reason="it has another codec or schema: another version of this program wrote it, or another program with a cache of this name in the namespace" codec=1 schema=7 own_codec=1 own_schema=0`: {SchemaVersion: 7},
		`cache=users key=k reason="the codec refuses it: it may be of another type, or be a value that its codec writes and does not read" codec=1`:                                                                    {Codec: jsonOfSomethingElse{shared.JSON}},
	} {
		bubble(t, func(t *testing.T, f *fleet) {
			other := f.join(foreign)
			lines := f.log()
			m := f.join()
			for range 3 {
				require.NoError(t, other.Set(t.Context(), "k", "secret"))
				settle()
				_, err := m.Get(t.Context(), "k")
				require.ErrorIs(t, err, nearcache.ErrNotFound)
			}
			got := lines()
			require.Len(t, got, 1, got)
			assert.Contains(t, got[0], `level=WARN msg="nearcache: a record that this cache cannot read is a miss" `+want)
			assert.NotContains(t, got[0], "secret")
			assert.EqualValues(t, 3, m.Stats().Values.Undecodable)
		})
	}
}

// jsonOfSomethingElse is what another program with a cache of the same name writes.
type jsonOfSomethingElse struct{ shared.Codec }

func (jsonOfSomethingElse) Marshal(any) ([]byte, error) { return []byte(`{"secret":1}`), nil }
