package nearcache_test

import (
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/compress"
)

// TestCompress_Fleet: caches do not notice compression, but for those that
// cannot read it. They load.
func TestCompress_Fleet(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		plain := f.join()
		f.tierOpts = shared.Options{Compress: compress.Zstd()}
		a, b := f.join(), f.join()
		long := strings.Repeat("Ada Lovelace, ", 1000)
		require.NoError(t, a.Set(t.Context(), "k", long))
		settle()
		before := b.node.Stats().Near.Bytes
		v, err := b.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, long, v)
		assert.Greater(t, b.node.Stats().Near.Bytes-before, int64(len(long)), "near, it counts what it takes there")

		_, err = plain.Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		v, err = plain.Fetch(t.Context(), "k", is(long))
		require.NoError(t, err)
		assert.Equal(t, long, v)
		assert.EqualValues(t, 1, f.store.fills.Load(), "it replaced what it could not read")
		v, err = f.join().Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, long, v)
	})
}

// TestCompress_TooLarge: a value that even compressed is too large for the
// store is refused as any other, and the key invalidated.
func TestCompress_TooLarge(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.store.limit = 1000
		f.tierOpts = shared.Options{Compress: compress.S2()}
		a, b := f.join(), f.join()
		require.NoError(t, a.Set(t.Context(), "k", strings.Repeat("v", 100_000)), "compressed, it fits")
		_, err := b.Get(t.Context(), "k")
		require.NoError(t, err)
		err = a.Set(t.Context(), "k", noise(2000))
		require.ErrorIs(t, err, nearcache.ErrTooLarge)
		require.NotErrorIs(t, err, nearcache.ErrOutcomeUnknown)
		settle()
		for _, m := range []*member{a, b} {
			_, err := m.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		}
		require.ErrorIs(t, a.SetMany(t.Context(), map[string]string{"k": noise(2000)}), nearcache.ErrTooLarge)
		v, err := a.Fetch(t.Context(), "k", is(noise(2000)))
		require.NoError(t, err)
		assert.Len(t, v, 4000)
		assert.EqualValues(t, 3, a.Stats().Values.TooLarge)
	})
}

// noise returns n bytes that nothing can compress, in hexadecimal digits.
func noise(n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // never fails
	return hex.EncodeToString(b)
}
