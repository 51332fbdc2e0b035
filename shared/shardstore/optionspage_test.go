package shardstore

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestOptionsPage_Defaults holds the table of options against the code.
func TestOptionsPage_Defaults(t *testing.T) {
	o := Options{}.withDefaults()
	page, err := os.ReadFile("../../docs/options.md")
	require.NoError(t, err)
	assert.EqualValues(t, 1, o.Epoch)
	assert.Contains(t, string(page), "| `shardstore.Options.Epoch` | 1 |")
	assert.Contains(t, string(page), "| `shardstore.Options.Handover` | "+o.Handover.String()+" |")
}
