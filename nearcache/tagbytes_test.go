package nearcache_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

// TestTagBytes: what a node knows of tags takes little, is counted, and makes entries leave.
func TestTagBytes(t *testing.T) {
	const bytes = 4 << 20
	synctest.Test(t, func(t *testing.T) {
		node := openWith(t, nearcache.NodeOptions{NearBytes: bytes})
		c, err := nearcache.New(node, "users", nearcache.Options[string]{})
		require.NoError(t, err)
		tagBytes := func() int64 {
			all := node.Caches()
			require.Equal(t, all[0].TagBytes, node.Stats().Near.TagBytes)
			return all[0].TagBytes
		}
		require.NoError(t, c.Set(t.Context(), "a", "v"))
		assert.Zero(t, tagBytes(), "no tag")
		use := func(from, to int) {
			for i := from; i < to; i += 1000 {
				tags := make([]string, min(1000, to-i))
				for j := range tags {
					tags[j] = "tag-" + strconv.Itoa(i+j)
				}
				require.NoError(t, c.InvalidateTags(t.Context(), tags...))
				entry := nearcache.Entry[string]{Value: "v", Tags: tags[:1]}
				require.NoError(t, c.SetEntry(t.Context(), "user:"+tags[0], entry))
				time.Sleep(2 * time.Second)
				_, err := c.Get(t.Context(), "user:"+tags[0])
				require.NoError(t, err)
			}
			time.Sleep(5 * time.Second) // in which the journal tells of own writes
		}
		use(0, 1)
		assert.Less(t, tagBytes(), int64(1<<10), "one tag")
		for i := range 30_000 {
			require.NoError(t, c.Set(t.Context(), strconv.Itoa(i), "v"))
		}
		before := node.Stats().Near
		assert.Greater(t, before.Bytes, int64(bytes*8/10))
		use(1, 60_000)
		assert.Greater(t, tagBytes(), int64(900_000), "all slots")
		assert.LessOrEqual(t, tagBytes(), int64(1_100_000), "all slots")
		after := node.Stats().Near
		assert.LessOrEqual(t, after.Bytes+after.TagBytes, int64(bytes+bytes/64))
		assert.Less(t, after.Bytes, before.Bytes-800_000, "entries left")
	})
}
