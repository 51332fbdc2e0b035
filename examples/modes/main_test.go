package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			r, err := run(t.Context(), m, 2*time.Second)
			require.NoError(t, err)
			assert.Positive(t, r.reads)
			assert.Equal(t, m.noBus, r.messages == 0, "messages")
			assert.Equal(t, m.noTier, r.sharedReads+r.sharedWrites == 0, "use of the shared tier")
			if m.noBus {
				assert.Greater(t, r.worst, 100*time.Millisecond, "it grows stale until the TTL")
			}
		})
	}
}

func TestCompare(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, compare(t.Context(), 300*time.Millisecond, &out))
	for _, m := range modes {
		assert.Contains(t, out.String(), m.name)
	}
}
