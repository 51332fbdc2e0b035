package sparse_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/internal/sparse"
)

// TestTable: a table of any size keeps what a map keeps, until it has no place for more.
func TestTable(t *testing.T) {
	for size := sparse.Smallest; size <= sparse.Slots; size *= 2 {
		table, want := sparse.New[int](size), map[uint32]int{}
		dice := rand.New(rand.NewPCG(1, uint64(size)))
		for i := range 2 * size {
			slot := dice.Uint32N(sparse.Slots)
			place := table.Take(slot)
			if _, known := want[slot]; place == nil {
				require.False(t, known)
				require.Less(t, size, sparse.Slots)
				require.Len(t, want, size*3/4)
				continue
			}
			require.Equal(t, want[slot], *place)
			*place = i + 1
			want[slot] = i + 1
		}
		found := map[uint32]int{}
		for slot, value := range table.All() {
			require.Same(t, value, table.Find(slot))
			if *value != 0 {
				found[slot] = *value
			}
		}
		require.Equal(t, want, found)
		assert.Equal(t, size, table.Size())
	}
}

// TestTable_Nil: no table has nothing and takes nothing.
func TestTable_Nil(t *testing.T) {
	var none *sparse.Table[int]
	assert.Nil(t, none.Find(7))
	assert.Nil(t, none.Take(7))
	assert.Zero(t, none.Size())
	for range none.All() {
		t.Fail()
	}
	assert.Zero(t, sparse.Bytes[int](0))
}
