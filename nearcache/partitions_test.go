package nearcache_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
)

// nearOf returns which of keys are served from the near tier.
func nearOf(t *testing.T, m *member, keys ...string) (served []string) {
	t.Helper()
	for _, key := range keys {
		before := m.Stats().Reads.Hits
		_, err := m.Get(t.Context(), key)
		require.NoError(t, err)
		if m.Stats().Reads.Hits > before {
			served = append(served, key)
		}
	}
	return served
}

// TestRepair_OnePartitionMoves: a journal that cannot be read on ends what its partition
// decides, and nothing else.
func TestRepair_OnePartitionMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServers()
		a := s.join(t, fault.Without())
		time.Sleep(3 * time.Second)
		all := []string{"k", "tagged", "away"}
		bring := func() {
			for _, key := range all {
				e := nearcache.Entry[string]{Value: key}
				if key == "tagged" {
					e.Tags = []string{"tag"}
				}
				require.NoError(t, a.SetEntry(t.Context(), key, e))
			}
			time.Sleep(2 * time.Second)
			require.Equal(t, all, nearOf(t, a, all...))
		}
		before := a.node.Stats()
		for partition, stays := range map[int][]string{0: {"away"}, 1: nil, 2: {"k"}} {
			bring()
			s.all[partition].TrimJournal()
			time.Sleep(2 * time.Second)
			assert.Equal(t, stays, nearOf(t, a, all...), "partition %d", partition)
		}
		after := a.node.Stats()
		assert.Equal(t, before.Journal.Resets+3, after.Journal.Resets)
		assert.Equal(t, before.Near.Flushes, after.Near.Flushes)
	})
}

// TestRepair_OnePartitionMovesUnderALoad: what is loaded meanwhile does not come near if it
// is of that partition, by its key or by a tag. A write that is under way does not either.
func TestRepair_OnePartitionMovesUnderALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServers()
		a := s.join(t, fault.Without())
		time.Sleep(3 * time.Second)
		require.NoError(t, a.SetEntry(t.Context(), "first", nearcache.Entry[string]{Value: "v", Tags: []string{"tag"}}))
		load := func(key string, tags ...string) {
			_, err := a.FetchEntry(t.Context(), key, func(context.Context, string, *string) (nearcache.Loaded[string], error) {
				time.Sleep(3 * time.Second)
				return nearcache.Loaded[string]{Value: key, Tags: tags}, nil
			})
			assert.NoError(t, err)
		}
		go load("k")
		go load("away")
		go load("tagged", "tag")
		time.Sleep(time.Second)
		s.all[2].TrimJournal()
		time.Sleep(4 * time.Second)
		assert.Equal(t, []string{"k"}, nearOf(t, a, "k", "away", "tagged"))
	})
}
