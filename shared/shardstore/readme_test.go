package shardstore

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReadme_Defaults holds the table of options against the code.
func TestReadme_Defaults(t *testing.T) {
	o := Options{}.withDefaults()
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	assert.EqualValues(t, 1, o.Epoch)
	assert.Contains(t, string(readme), "| `shardstore.Options.Epoch` | 1 |")
	assert.Contains(t, string(readme), "| `shardstore.Options.Handover` | "+o.Handover.String()+" |")
}
