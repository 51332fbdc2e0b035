package nearcache_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

// TestG1_SetDuringALoadThatFindsNothing: while a load finds out that the source has no
// value, the value is made and Set. Set returns nil, and this node cannot read it.
func TestG1_SetDuringALoadThatFindsNothing(t *testing.T) {
	for _, from := range []string{"own node", "other node"} {
		t.Run(from, func(t *testing.T) {
			journaled(t, func(t *testing.T, _ *fleet, a, b *member) {
				writer := map[string]*member{"own node": a, "other node": b}[from]
				_, err := a.Fetch(t.Context(), "fresh", func(ctx context.Context, _ string) (string, error) {
					require.NoError(t, writer.Set(ctx, "fresh", "made"))
					settle()
					return "", nearcache.ErrNotFound
				})
				require.NoError(t, err, "what took the place of the lease is the answer")
				wait(5 * time.Second)
				got, err := b.Get(t.Context(), "fresh")
				require.NoError(t, err)
				require.Equal(t, "made", got)
				got, err = a.Get(t.Context(), "fresh")
				require.NoError(t, err)
				assert.Equal(t, "made", got)
			})
		})
	}
}

// TestG1_SetDuringALoadThatIsNotStored: the same with a loader whose value is not to be
// stored.
func TestG1_SetDuringALoadThatIsNotStored(t *testing.T) {
	journaled(t, func(t *testing.T, _ *fleet, a, b *member) {
		_, err := a.FetchEntry(t.Context(), "fresh", func(ctx context.Context, _ string, _ *string) (nearcache.Loaded[string], error) {
			require.NoError(t, a.Set(ctx, "fresh", "made"))
			settle()
			return nearcache.Loaded[string]{Value: "passing", NoStore: true}, nil
		})
		require.NoError(t, err)
		wait(5 * time.Second)
		got, err := a.Get(t.Context(), "fresh")
		require.NoError(t, err)
		assert.Equal(t, "made", got)
	})
}

// TestBusOnly_SetDuringALoad: a reader misses while a Set is on its way, and its load ends
// after that.
func TestBusOnly_SetDuringALoad(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a := f.joinBusOnly()
		hold := make(chan struct{})
		a.link.hold.Store(&hold)
		set := make(chan error, 1)
		go func() { set <- a.Set(t.Context(), "k", "made") }()
		synctest.Wait()
		wait(10 * time.Millisecond)
		var err error
		_, fetched := a.Fetch(t.Context(), "k", func(context.Context, string) (string, error) {
			close(hold)
			err = <-set
			return "", nearcache.ErrNotFound // it looked before the value was made
		})
		require.NoError(t, err)
		require.ErrorIs(t, fetched, nearcache.ErrNotFound)
		got, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "made", got)
	})
}

// TestG4_ClearOfAnotherDuringAnOwnOne: an own Clear has raised the clock and waits for the
// bus. Another node's Clear is learned from the journal, and nothing is said to be near.
func TestG4_ClearOfAnotherDuringAnOwnOne(t *testing.T) {
	clearTwice(t, func(t *testing.T, a, _ *member) {
		wait(500 * time.Millisecond) // JournalInterval is 100 ms
		got, err := a.Get(t.Context(), "k")
		assert.ErrorIs(t, err, nearcache.ErrNotFound, got)
	})
}

// TestToken_ClearOfAnotherDuringAnOwnOne: and its token is said to be applied.
func TestToken_ClearOfAnotherDuringAnOwnOne(t *testing.T) {
	clearTwice(t, func(t *testing.T, a, b *member) {
		wait(200 * time.Millisecond)
		got, err := a.Read(t.Context(), "k", nearcache.ReadOptions{After: b.Token("k")}, nil)
		assert.ErrorIs(t, err, nearcache.ErrNotFound, got.Value)
	})
}

// clearTwice runs test while a Clear of a waits for its bus, after one of b returned, of
// which a does not hear by bus. What is near came while the first was on its way.
func clearTwice(t *testing.T, test func(t *testing.T, a, b *member)) {
	journaled(t, func(t *testing.T, f *fleet, a, b *member) {
		ctx := t.Context()
		require.NoError(t, b.Set(ctx, "k", "old"))
		wait(2 * time.Second)
		a.link.loses.Store(true)
		sent, letGo, hold := make(chan struct{}), make(chan struct{}), make(chan struct{})
		var once atomic.Bool
		f.store.onBefore(func(_ context.Context, op, key string) error {
			if op == "write" && key == "users!clock" && once.CompareAndSwap(false, true) {
				close(sent)
				<-letGo
			}
			return nil
		})
		a.link.hold.Store(&hold)
		cleared := make(chan error, 1)
		go func() { cleared <- a.Clear(ctx) }()
		<-sent
		got, err := a.Get(ctx, "k")
		require.NoError(t, err)
		require.Equal(t, "old", got)
		close(letGo)
		settle()
		require.NoError(t, b.Clear(ctx))
		test(t, a, b)
		close(hold)
		require.NoError(t, <-cleared)
	}, func(f *fleet) { f.nodeOpts.JournalInterval = 100 * time.Millisecond })
}
