package nearcache_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestKeysError_Text: package, key and cache are named once, whichever call failed.
func TestKeysError_Text(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.tierOpts.MaxValue = 100
		m, large := f.join(), strings.Repeat("x", 200)
		require.EqualError(t, m.Set(t.Context(), "a", large),
			`nearcache: cache "users": nearbus: value too large: 202 bytes, more than 100`)
		require.EqualError(t, m.SetMany(t.Context(), map[string]string{"a": large}),
			`nearcache: key "a": cache "users": nearbus: value too large: 202 bytes, more than 100`)
		require.EqualError(t, m.SetMany(t.Context(), map[string]string{"a": large, "b": large}),
			`nearcache: 2 of the keys failed: "a": cache "users": nearbus: value too large: 202 bytes, more than 100; `+
				`"b": cache "users": nearbus: value too large: 202 bytes, more than 100`)
	})
}
