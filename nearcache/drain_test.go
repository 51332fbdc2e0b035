package nearcache_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

// TestDrain: a program that ends while the shared tier is away has its invalidations
// delivered first, or is told that they are not.
func TestDrain(t *testing.T) {
	var log strings.Builder
	journaled(t, func(t *testing.T, f *fleet, a, b *member) {
		require.NoError(t, a.node.Drain(t.Context()))
		failWrites(f)
		require.ErrorIs(t, a.Invalidate(t.Context(), "k"), nearcache.ErrOutcomeUnknown)
		require.ErrorIs(t, b.Invalidate(t.Context(), "j"), nearcache.ErrOutcomeUnknown)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		err := a.node.Drain(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "1 invalidations could not be delivered yet")
		assert.Equal(t, 3*time.Second, time.Since(began))
		require.ErrorContains(t, b.node.Close(atOnce), "1 invalidations could not be delivered yet")
		require.ErrorIs(t, b.node.Drain(t.Context()), nearcache.ErrClosed)

		f.store.onBefore(nil)
		began = time.Now()
		require.NoError(t, a.node.Drain(t.Context()))
		assert.LessOrEqual(t, time.Since(began), 2*time.Second+20*time.Millisecond)
		assert.Zero(t, a.node.Health().PendingInvalidations)
		c := f.join()
		_, err = c.Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
	}, func(f *fleet) { f.nodeOpts.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	assert.Equal(t, 1, strings.Count(log.String(), "closed while invalidations could not be delivered\" owed=1"), "%s", &log)
}

// TestDrain_UntilOthersAreTold: where no journal tells the other nodes, an invalidation
// is owed until the bus has it, however long that takes to send it.
func TestDrain_UntilOthersAreTold(t *testing.T) {
	for name, write := range map[string]func(ctx context.Context, m *member) error{
		"a key":   func(ctx context.Context, m *member) error { return m.Invalidate(ctx, "k") },
		"a tag":   func(ctx context.Context, m *member) error { return m.InvalidateTags(ctx, "t") },
		"a Clear": func(ctx context.Context, m *member) error { return m.Clear(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				a, b := f.join(), f.join()
				require.NoError(t, b.SetEntry(t.Context(), "k", tagged("old", "t")))
				failWrites(f)
				require.ErrorIs(t, write(t.Context(), b), nearcache.ErrOutcomeUnknown)
				settle()
				v, err := a.Get(t.Context(), "k")
				require.NoError(t, err)
				require.Equal(t, "old", v, "it has heard, but the shared tier has not")

				b.link.slow.Store(true)
				f.store.onBefore(nil)
				require.NoError(t, b.node.Drain(t.Context()))
				synctest.Wait()
				_, err = a.Get(t.Context(), "k")
				require.ErrorIs(t, err, nearcache.ErrNotFound)
			})
		})
	}
}
