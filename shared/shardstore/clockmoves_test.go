package shardstore_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared/shardstore"
)

// whileTheClockMoves calls test with a cache that was open when its clock moved to
// shard c, and with one that was opened since. There is no bus. theirs is c as the
// first one reaches it, and p has the servers.
func whileTheClockMoves(t *testing.T, test func(t *testing.T, p park, theirs *server, old, next *nearcache.Cache[string])) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPark("c")
		time.Sleep(time.Second)
		p["a"], p["b"] = newServer(), newServer() // their epochs are later than that of c
		theirs := &server{Store: p["c"].Store}
		seen := park{"a": p["a"], "b": p["b"], "c": theirs}
		clock := clockThatMoves(t, newPark2(t, "a", "b", "c"))
		open := func(store *shardstore.Store) *nearcache.Cache[string] {
			c, err := nearcache.New[string](node(t, store, nil), clock[:len(clock)-len("!clock")], nearcache.Options[string]{NearTTL: time.Minute})
			require.NoError(t, err)
			return c
		}
		old := open(seen.open(t, 1, "a", "b", "-c"))
		next := open(p.open(t, 2, "a", "b", "c"))
		time.Sleep(5 * time.Second)
		test(t, p, theirs, old, next)
	})
}

// TestG7_TheClockMoves: the epoch of the shard that had the clock before tells nothing
// of the one that has it now.
func TestG7_TheClockMoves(t *testing.T) {
	whileTheClockMoves(t, func(t *testing.T, p park, _ *server, old, next *nearcache.Cache[string]) {
		require.NoError(t, next.Clear(t.Context()))
		p["a"].BeginEpoch()
		time.Sleep(5 * time.Second) // every node has flushed, and reads the clock again
		require.NoError(t, old.Set(t.Context(), "k", "v"))
		v, err := next.Get(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, "v", v)
	})
}

// TestG4_TheClockMoves: the journal of the shard that had the clock before does not
// tell that there was no Clear.
func TestG4_TheClockMoves(t *testing.T) {
	whileTheClockMoves(t, func(t *testing.T, _ park, theirs *server, old, next *nearcache.Cache[string]) {
		for _, key := range keys(60) {
			require.NoError(t, next.Set(t.Context(), key, "old"))
			_, err := old.Get(t.Context(), key)
			require.NoError(t, err)
		}
		theirs.hangs.Store(true)
		require.NoError(t, next.Clear(t.Context()))
		time.Sleep(6 * time.Second)
		for _, key := range keys(60) {
			v, _ := old.Get(t.Context(), key)
			require.Empty(t, v, "key %s", key)
		}
		theirs.hangs.Store(false)
	})
}
