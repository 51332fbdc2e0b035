package page_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/page"
)

// TestPut: what stands between the marks changes, and nothing else.
func TestPut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.md")
	require.NoError(t, os.WriteFile(path, []byte("before\n<!-- b -->\nold\n<!-- e -->\nafter\n"), 0o600))
	require.NoError(t, page.Put(path, "<!-- b -->\n", "<!-- e -->", []byte("new\n")))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "before\n<!-- b -->\n\nnew\n<!-- e -->\nafter\n", string(text))
	require.ErrorContains(t, page.Put(path, "<!-- x -->", "<!-- e -->", nil), "has no marks")
}
