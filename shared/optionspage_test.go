package shared

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type noCompressor struct{ Compressor }

// TestOptionsPage_Defaults holds the table of options against the code.
func TestOptionsPage_Defaults(t *testing.T) {
	o := Options{BreakAfter: 1, Compress: noCompressor{}}.withDefaults()
	page, err := os.ReadFile("../docs/options.md")
	require.NoError(t, err)
	for name, value := range map[string]string{
		"Timeout":      o.Timeout.String(),
		"Attempts":     strconv.Itoa(o.Attempts),
		"BreakAfter":   strconv.Itoa(Options{}.withDefaults().BreakAfter),
		"BreakFor":     o.BreakFor.String(),
		"Compress":     "none",
		"CompressOver": fmt.Sprintf("%d KiB", o.CompressOver>>10),
		"TTL":          o.TTL.String(),
		"MaxValue":     fmt.Sprintf("%d MiB", o.MaxValue>>20),
		"LeaseTTL":     o.LeaseTTL.String(),
		"TombstoneTTL": o.TombstoneTTL.String(),
	} {
		row := fmt.Sprintf("| `shared.Options.%s` | %s |", name, value)
		assert.True(t, strings.Contains(string(page), row), row)
	}
}
