package nearcache_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

// The tests of this file break on purpose what docs/assumptions.md says that the
// guarantees stand on, and show what happens then.

// TestAssumption_LoaderOfItsOwnKey: a loader that fetches the key that it loads waits for
// itself, until LoadTimeout ends it.
func TestAssumption_LoaderOfItsOwnKey(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		began := time.Now()
		_, err := m.Fetch(t.Context(), "k", func(ctx context.Context, key string) (string, error) {
			return m.Fetch(ctx, key, is("v"))
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 30*time.Second, time.Since(began).Round(time.Second))
	})
}

// TestAssumption_SourceFirst: who invalidates before the source has the new value has the
// old one loaded again, for its whole life.
func TestAssumption_SourceFirst(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		a, b := f.join(), f.join()
		require.NoError(t, a.Invalidate(t.Context(), "k"))
		_, err := b.Fetch(t.Context(), "k", is("old"))
		require.NoError(t, err)
		wait(time.Minute) // the source has the new value by now
		v, err := a.Fetch(t.Context(), "k", is("new"))
		require.NoError(t, err)
		assert.Equal(t, "old", v)
	})
}

// TestAssumption_TheKeySaysAll: a loader that looks at more than the key gives one caller's
// value to the others.
func TestAssumption_TheKeySaysAll(t *testing.T) {
	type user struct{}
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		load := func(ctx context.Context, _ string) (string, error) { return ctx.Value(user{}).(string), nil }
		_, err := m.Fetch(context.WithValue(t.Context(), user{}, "ann"), "home", load)
		require.NoError(t, err)
		v, err := m.Fetch(context.WithValue(t.Context(), user{}, "bob"), "home", load)
		require.NoError(t, err)
		assert.Equal(t, "ann", v)
	})
}

// TestAssumption_OneTypeForACache: two programs have a cache of one name with two types that
// the codec reads from each other's records. Nobody notices.
func TestAssumption_OneTypeForACache(t *testing.T) {
	type user struct{ Name string }
	type order struct{ Number int }
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		users, err := nearcache.New(a.node, "things", nearcache.Options[user]{})
		require.NoError(t, err)
		orders, err := nearcache.New(b.node, "things", nearcache.Options[order]{})
		require.NoError(t, err)
		require.NoError(t, users.Set(t.Context(), "1", user{"Ann"}))
		v, err := orders.Get(t.Context(), "1")
		require.NoError(t, err)
		assert.Equal(t, order{}, v, "JSON has no field of it")
	})
}

// TestAssumption_TagsAlike: a node whose Options.Tags leaves out a tag writes values that the
// tag does not end.
func TestAssumption_TagsAlike(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		a := f.join(nearcache.Options[string]{Tags: func(string, string) []string { return []string{"org:7"} }})
		b := f.join(nearcache.Options[string]{Tags: func(string, string) []string { return nil }})
		require.NoError(t, b.Set(t.Context(), "k", "old"))
		settle()
		require.NoError(t, a.InvalidateTags(t.Context(), "org:7"))
		wait(time.Minute)
		v, err := a.Fetch(t.Context(), "k", is("new"))
		require.NoError(t, err)
		assert.Equal(t, "old", v)
	})
}

// stuckLog is a handler of logs that stands still while it is told to.
type stuckLog struct {
	slog.Handler
	stuck atomic.Bool
}

func (s *stuckLog) Enabled(context.Context, slog.Level) bool { return true }

func (s *stuckLog) Handle(context.Context, slog.Record) error {
	for s.stuck.Load() {
		time.Sleep(time.Second)
	}
	return nil
}

// TestAssumption_LoggerThatBlocks: a logger that does not return holds up whoever tells it
// something. With a journal the bound holds. Without one the near tier is not flushed when
// the bus is lost.
func TestAssumption_LoggerThatBlocks(t *testing.T) {
	for journal, want := range map[bool]string{true: "new", false: "old"} {
		bubble(t, func(t *testing.T, f *fleet) {
			f.journal = journal
			b := f.join()
			log := &stuckLog{Handler: slog.DiscardHandler}
			f.nodeOpts.Logger = slog.New(log)
			a := f.join()
			require.NoError(t, b.Set(t.Context(), "k", "old"))
			settle() // a has heard of it
			_, err := a.Get(t.Context(), "k")
			require.NoError(t, err)
			log.stuck.Store(true)
			a.link.deaf.Store(true)
			wait(10 * time.Second) // it has not heard its heartbeat, and says so
			require.NoError(t, b.Set(t.Context(), "k", "new"))
			wait(10 * time.Second)
			v, err := a.Get(t.Context(), "k")
			require.NoError(t, err)
			assert.Equal(t, want, v, "journal: %t", journal)
			log.stuck.Store(false)
			a.link.deaf.Store(false)
			f.eventually(func() bool { return !a.node.Health().BusCut })
		})
	}
}
