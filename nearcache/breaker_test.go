package nearcache_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
)

// silence makes every call of the shared tier wait for its end, but for those
// of the journal.
func (g *gate) silence() {
	g.onBefore(func(ctx context.Context, op, _ string) error {
		if op == "tail" {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	})
}

// TestG7_Breaker: the shared tier takes everything and answers nothing. With a
// breaker, reads do not wait for it: what is near is served, what is not comes
// from the source. What the node could not write it owes, and pays when the
// tier is back.
func TestG7_Breaker(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		f.tierOpts = shared.Options{BreakAfter: 2, BreakFor: 10 * time.Second}
		a, b := f.join(), f.join()
		require.NoError(t, a.Set(t.Context(), "near", "v"))
		require.NoError(t, a.Set(t.Context(), "k", "old"))
		f.store.silence()
		for i := range 2 {
			v, err := a.Fetch(t.Context(), fmt.Sprint(i), is("source"))
			require.NoError(t, err)
			assert.Equal(t, "source", v)
		}

		reads, began := f.store.reads.Load(), time.Now()
		v, err := a.Fetch(t.Context(), "cold", is("source"))
		require.NoError(t, err)
		assert.Equal(t, "source", v)
		_, err = a.Get(t.Context(), "colder")
		require.ErrorIs(t, err, shared.ErrOpen)
		err = a.Set(t.Context(), "k", "new")
		require.ErrorIs(t, err, nearcache.ErrOutcomeUnknown)
		require.ErrorIs(t, err, shared.ErrOpen)
		assert.Zero(t, time.Since(began), "nobody waited")
		assert.Equal(t, reads, f.store.reads.Load())
		wait(8 * time.Second)
		requireNear(t, a, "near", "v")
		assert.True(t, a.node.Health().Trusted, "the journal is read all the same")
		assert.Equal(t, 1, a.node.Health().PendingInvalidations)

		f.store.onBefore(nil)
		wait(5 * time.Second)
		assert.Zero(t, a.node.Health().PendingInvalidations, "it was paid when the breaker let it through")
		_, err = b.Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound, "everywhere")
		v, err = a.Fetch(t.Context(), "k", is("new"))
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	})
}

// TestAttempts_NobodyNotices that a connection ended, as all do when a server
// restarts: reads, leases, fills and writes are tried again.
func TestAttempts_NobodyNotices(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		m := f.join()
		failed := map[string]bool{}
		once := func(_ context.Context, op, key string) error {
			if failed[op+key] || op == "tail" {
				return nil
			}
			failed[op+key] = true
			return io.EOF
		}
		for _, hook := range []func(func(context.Context, string, string) error){f.store.onBefore, f.store.onAfter} {
			clear(failed)
			hook(once)
			v, err := m.Fetch(t.Context(), "k", is("v"))
			require.NoError(t, err)
			assert.Equal(t, "v", v)
			require.NoError(t, m.Set(t.Context(), "k", "w"))
			require.NoError(t, m.Invalidate(t.Context(), "k"))
			require.NoError(t, m.Clear(t.Context()))
			hook(nil)
			assert.Len(t, failed, 5, "reads, acquire, fill, writes of key and clock")
		}
		stats := m.Stats()
		assert.Zero(t, stats.Shared.Errors)
		assert.Zero(t, stats.Loads.Degraded)
		assert.Zero(t, stats.Loads.Rejected)
	})
}
