package integration_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// keyWriter writes one number after the other under a key of its own.
type keyWriter struct {
	tier         *shared.Tier
	key          string
	acked, tried int
	revisions    []uint64 // of those that were acknowledged
}

// write writes the next number, with little time for some of them, and reports
// whether it was acknowledged.
func (w *keyWriter) write(t *testing.T) bool {
	w.tried++
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+w.tried%50)*time.Millisecond)
	defer cancel()
	r := w.tier.Write(ctx, []shared.Put{{
		Key: w.key, Record: driver.Record{Kind: driver.KindValue, Value: []byte(strconv.Itoa(w.tried))},
	}})[0]
	if r.Err != nil {
		return false
	}
	w.acked = w.tried
	if n := len(w.revisions); n > 0 {
		assert.Greater(t, r.Revision.Number, w.revisions[n-1])
	}
	w.revisions = append(w.revisions, r.Revision.Number)
	return true
}

// TestRedisStore_WritesTogether has many write at once, who give up at different
// times, while the server forgets the scripts, stops and goes on. What was
// acknowledged is there and in the journal, and nothing that was given up
// comes after it.
func TestRedisStore_WritesTogether(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	client, other := newRedis(t, server.Addr), newRedis(t, server.Addr)
	store := newRedisStore(t, client)
	var trips roundTrips
	client.AddHook(&trips)
	tier, err := shared.New(store, shared.Options{})
	require.NoError(t, err)
	journal := newReader(t, store)

	writers := make([]keyWriter, 64)
	var failures atomic.Int64
	var done atomic.Bool
	var running sync.WaitGroup
	for i := range writers {
		w := &writers[i]
		w.tier, w.key = tier, strconv.Itoa(i)
		running.Go(func() {
			for !done.Load() || w.tried < 100 {
				if !w.write(t) {
					failures.Add(1)
				}
			}
		})
	}
	for range 3 {
		require.NoError(t, other.ScriptFlush(t.Context()).Err())
		before := failures.Load()
		require.NoError(t, server.Pause())
		require.Eventually(t, func() bool { return failures.Load() >= before+100 }, busPatience, time.Millisecond)
		require.NoError(t, server.Resume())
		_, err := other.Ping(t.Context()).Result()
		require.NoError(t, err)
	}
	done.Store(true)
	running.Wait()

	told := map[string]map[uint64]bool{}
	for more := true; more; {
		tail := journal.read()
		require.False(t, tail.Reset)
		for _, e := range tail.Entries {
			if told[e.Key] == nil {
				told[e.Key] = map[uint64]bool{}
			}
			told[e.Key][e.Revision.Number] = true
		}
		more = tail.More
	}
	acknowledged := 0
	for i := range writers {
		w := &writers[i]
		acknowledged += len(w.revisions)
		text, err := tier.Get(t.Context(), w.key)
		require.NoError(t, err)
		number, err := strconv.Atoi(string(text))
		require.NoError(t, err)
		assert.GreaterOrEqual(t, number, w.acked)
		for _, revision := range w.revisions {
			assert.True(t, told[w.key][revision], "the journal has what was acknowledged")
		}
	}
	// A write that is given up took part in a request, or was one of its own.
	tries := acknowledged + int(failures.Load())
	assert.Less(t, 2*int(trips.n.Load()), tries, "they travelled together")
	t.Logf("%d acknowledged, %d not, %d requests", acknowledged, failures.Load(), trips.n.Load())
}
