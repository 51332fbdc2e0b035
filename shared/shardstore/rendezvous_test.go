package shardstore_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/shardstore"
)

// TestRendezvous_OnlyTheShareOfANewShardMoves prints the table of the design
// with -v.
func TestRendezvous_OnlyTheShareOfANewShardMoves(t *testing.T) {
	const keyCount = 100_000
	t.Log("| shards | moved by one more | 1/n | least and most keys on a shard |")
	for _, n := range []int{1, 2, 3, 5, 9, 19} {
		before, after := shardstore.Placement(names(n), nil), shardstore.Placement(names(n+1), nil)
		moved, on := 0, map[string]int{}
		for i := range keyCount {
			key := fmt.Sprint("users:", i)
			on[after(key)]++
			if before(key) != after(key) {
				moved++
				require.Equal(t, names(n + 1)[n], after(key), "moved between old shards")
			}
		}
		least, most := keyCount, 0
		for _, count := range on {
			least, most = min(least, count), max(most, count)
		}
		share := float64(keyCount) / float64(n+1)
		t.Logf("| %d | %.2f %% | %.2f %% | %.1f %%, %.1f %% of an equal share |", n,
			100*float64(moved)/keyCount, 100*share/keyCount, 100*float64(least)/share, 100*float64(most)/share)
		assert.InEpsilon(t, share, moved, 0.05)
		assert.InEpsilon(t, share, least, 0.1)
		assert.InEpsilon(t, share, most, 0.1)
	}
}

func names(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("shard-%02d", i)
	}
	return all
}

// TestRendezvous_Weights: shares are in proportion, and more weight takes keys
// from others without moving any between them.
func TestRendezvous_Weights(t *testing.T) {
	before := shardstore.Placement(names(3), []int{1, 2, 3})
	after := shardstore.Placement(names(3), []int{1, 2, 5})
	on := map[string]int{}
	for i := range 60_000 {
		key := fmt.Sprint("users:", i)
		on[before(key)]++
		if before(key) != after(key) {
			require.Equal(t, "shard-02", after(key))
		}
	}
	for i, name := range names(3) {
		assert.InEpsilon(t, 10_000*(i+1), on[name], 0.05, name)
	}
}

// TestRendezvous_DoesNotChange: another hash would make every key new, and mix
// processes of two versions that disagree.
func TestRendezvous_DoesNotChange(t *testing.T) {
	at := shardstore.Placement([]string{"a", "b", "c", "d"}, []int{1, 1, 2, 1})
	var homes strings.Builder
	for i := range 40 {
		homes.WriteString(at(fmt.Sprint("users:", i)))
	}
	assert.Equal(t, "cdcabacbabcccaadaccadabcbaddccbdcbcabbcc", homes.String())
}
