package simulate

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLateWrite: a write that was given up lands after the clock of Redis was set back. Its
// reads are counted, and nothing else breaks.
func TestLateWrite(t *testing.T) {
	text, err := os.ReadFile("testdata/late-write.json")
	require.NoError(t, err)
	p := &Plan{}
	require.NoError(t, json.Unmarshal(text, p))
	landed := 0
	for range 50 { // the scheduler has a part in it
		r := simulate(t, p)
		require.Empty(t, r.Violations)
		if landed += r.fleet.oracle.landed; landed > 0 {
			break
		}
	}
	assert.Positive(t, landed)
}
