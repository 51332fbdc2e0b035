package nearcache_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/memstore"
)

// TestMismatch_CostsNoWrites: a server with another shared tier, of a later epoch, is on
// the bus for long. What it tells of says nothing of the shared tier of the others.
func TestMismatch_CostsNoWrites(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		a := f.joinOver(f.store.Store)
		wait(time.Second)
		c := f.joinOver(memstore.New(memstore.Options{}))
		for range 24 {
			require.NoError(t, c.Set(t.Context(), "other", "v"))
			wait(5 * time.Second)
		}
		assert.NoError(t, a.node.Health().Journal)
		assert.NoError(t, a.Set(t.Context(), "k", "v"))
	})
}
