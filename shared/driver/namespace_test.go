package driver_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/driver"
)

func TestNamespace(t *testing.T) {
	for namespace, want := range map[string]string{
		"": "nearbus", "shop": "nearbus-shop", "Shop_2-staging": "nearbus-Shop_2-staging", strings.Repeat("n", 64): "nearbus-" + strings.Repeat("n", 64),
	} {
		got, err := driver.Namespace(namespace)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	for _, namespace := range []string{
		" ", "a b", "a.b", "a:b", "a{b}", "a*", ">", "a/b", "-a", "_a", "a!", "a\n", "\x00", "ü", strings.Repeat("n", 65),
	} {
		got, err := driver.Namespace(namespace)
		require.ErrorContains(t, err, "want 1 to 64 of A-Z a-z 0-9 _ -", namespace)
		assert.Empty(t, got)
	}
}
