package simulate

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFaults: the page about the simulator has the table of faults as it is.
func TestFaults(t *testing.T) {
	var b strings.Builder
	b.WriteString("| fault | what happens | takes |\n|---|---|---|\n")
	for _, k := range faults() {
		takes := "an instant"
		if k.most > 0 {
			takes = fmt.Sprintf("%s to %s", k.least, k.most)
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", k.name, k.about, takes)
	}
	page, err := os.ReadFile("../../docs/simulator.md")
	require.NoError(t, err)
	assert.Contains(t, string(page), b.String(), "paste the table:\n"+b.String())
}
