package shared

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReadme_Defaults holds the table of options against the code.
func TestReadme_Defaults(t *testing.T) {
	o := Options{}.withDefaults()
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	for name, value := range map[string]string{
		"Timeout":      o.Timeout.String(),
		"TTL":          o.TTL.String(),
		"MaxValue":     fmt.Sprintf("%d MiB", o.MaxValue>>20),
		"LeaseTTL":     o.LeaseTTL.String(),
		"TombstoneTTL": o.TombstoneTTL.String(),
	} {
		row := fmt.Sprintf("| `shared.Options.%s` | %s |", name, value)
		assert.True(t, strings.Contains(string(readme), row), row)
	}
}
