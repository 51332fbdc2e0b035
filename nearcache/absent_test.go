package nearcache_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
)

// absent is a loader of a source that has no value.
func absent(context.Context, string) (string, error) { return "", nearcache.ErrNotFound }

var remembering = nearcache.Options[string]{NotFoundTTL: time.Minute}

// TestNotFound_IsRemembered in both tiers, for its own TTL.
func TestNotFound_IsRemembered(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(remembering), f.join(remembering)
		_, err := a.Fetch(t.Context(), "k", absent)
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		reads := f.store.reads.Load()
		for range 3 {
			_, err = a.Fetch(t.Context(), "k", none)
			require.ErrorIs(t, err, nearcache.ErrNotFound)
			_, err = a.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		}
		assert.Equal(t, reads, f.store.reads.Load(), "it is near")
		assert.EqualValues(t, 6, a.Stats().Reads.AbsentHits)
		assert.EqualValues(t, 6, a.Stats().Reads.Hits)
		assert.EqualValues(t, 1, a.Stats().Loads.Keys)
		assert.Zero(t, a.Stats().Loads.Errors)

		_, err = b.Fetch(t.Context(), "k", none)
		require.ErrorIs(t, err, nearcache.ErrNotFound, "another node knows as well")
		_, err = b.Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound)

		time.Sleep(time.Minute)
		for _, m := range []*member{a, b} {
			v, err := m.Fetch(t.Context(), "k", is("v"))
			require.NoError(t, err)
			assert.Equal(t, "v", v, "nothing is remembered for longer than NotFoundTTL")
		}
	})
}

// TestNotFound_EndedByWrites of any kind, on any node.
func TestNotFound_EndedByWrites(t *testing.T) {
	for name, write := range map[string]func(ctx context.Context, m *member) error{
		"Set":        func(ctx context.Context, m *member) error { return m.Set(ctx, "k", "v") },
		"Delete":     func(ctx context.Context, m *member) error { return m.Delete(ctx, "k") },
		"Invalidate": func(ctx context.Context, m *member) error { return m.Invalidate(ctx, "k") },
		"Clear":      func(ctx context.Context, m *member) error { return m.Clear(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				a, b := f.join(remembering), f.join(remembering)
				for _, m := range []*member{a, b} {
					_, err := m.Fetch(t.Context(), "k", absent)
					require.ErrorIs(t, err, nearcache.ErrNotFound)
				}
				require.NoError(t, write(t.Context(), b))
				settle()
				for _, m := range []*member{a, b} {
					v, err := m.Fetch(t.Context(), "k", is("v"))
					require.NoError(t, err)
					assert.Equal(t, "v", v)
				}
			})
		})
	}
}

// TestNotFound_StaleLoad: a source that had no value before a write is not
// remembered after it.
func TestNotFound_StaleLoad(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(remembering), f.join(remembering)
		_, err := a.Fetch(t.Context(), "k", func(context.Context, string) (string, error) {
			return "", errors.Join(b.Invalidate(t.Context(), "k"), nearcache.ErrNotFound)
		})
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		settle()
		for _, m := range []*member{a, b} {
			v, err := m.Fetch(t.Context(), "k", is("v"))
			require.NoError(t, err)
			assert.Equal(t, "v", v)
		}

		v, err := a.Fetch(t.Context(), "set", func(context.Context, string) (string, error) {
			return "", errors.Join(b.Set(t.Context(), "set", "v"), nearcache.ErrNotFound)
		})
		require.NoError(t, err, "what was set meanwhile is the answer")
		assert.Equal(t, "v", v)
	})
}

// TestNotFound_FetchMany: a key that the loader leaves out is not asked for
// again.
func TestNotFound_FetchMany(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(remembering), f.join(remembering)
		asked := 0
		load := func(_ context.Context, missing []string) (map[string]string, error) {
			asked += len(missing)
			return map[string]string{"1": "one"}, nil
		}
		for _, m := range []*member{a, a, b, b} {
			values, err := m.FetchMany(t.Context(), []string{"1", "2"}, load)
			require.NoError(t, err)
			assert.Equal(t, map[string]string{"1": "one"}, values)
		}
		assert.Equal(t, 2, asked)
		_, err := b.Fetch(t.Context(), "2", none)
		require.ErrorIs(t, err, nearcache.ErrNotFound)
	})
}

// TestNotFound_OffByDefault: nothing is remembered, and a node that does not
// remember asks although another does.
func TestNotFound_OffByDefault(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join(remembering)
		for range 2 {
			_, err := a.Fetch(t.Context(), "k", absent)
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		}
		assert.EqualValues(t, 2, a.Stats().Loads.Keys)
		_, err := b.Fetch(t.Context(), "k", absent)
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		v, err := a.Fetch(t.Context(), "k", is("v"))
		require.NoError(t, err)
		assert.Equal(t, "v", v)
	})
}

// TestNotFound_SharedTierDown: what was loaded meanwhile is near for
// MaxStaleness at most.
func TestNotFound_SharedTierDown(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(remembering)
		f.store.down()
		_, err := m.Fetch(t.Context(), "k", absent)
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		_, err = m.Fetch(t.Context(), "k", none)
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		time.Sleep(nearcache.DefaultStaleness + 100*time.Millisecond)
		v, err := m.Fetch(t.Context(), "k", is("v"))
		require.NoError(t, err)
		assert.Equal(t, "v", v)
	})
}

// TestNotFound_OtherErrors are not remembered.
func TestNotFound_OtherErrors(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(remembering)
		_, err := m.Fetch(t.Context(), "k", func(context.Context, string) (string, error) { return "", errDown })
		require.ErrorIs(t, err, errDown)
		v, err := m.Fetch(t.Context(), "k", is("v"))
		require.NoError(t, err)
		assert.Equal(t, "v", v)
	})
}

// TestTTLJitter: lifetimes are spread over the share that was asked for, and
// never longer than without it.
func TestTTLJitter(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(nearcache.Options[string]{TTL: 100 * time.Second, NearTTL: 50 * time.Second, TTLJitter: 0.5, NotFoundTTL: 10 * time.Second})
		tier, err := shared.New(f.store, shared.Options{})
		require.NoError(t, err)
		seen := map[time.Duration]bool{}
		keys := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
		for _, key := range keys {
			require.NoError(t, m.Set(t.Context(), key, "v"))
			_, err := m.Fetch(t.Context(), "no "+key, absent)
			require.ErrorIs(t, err, nearcache.ErrNotFound)
			found, err := tier.Records().Read(t.Context(), []string{"users:" + key, "users:no " + key})
			require.NoError(t, err)
			left := found[0].Left.Round(time.Second)
			seen[left] = true
			assert.True(t, left >= 50*time.Second && left <= 100*time.Second, "%v", left)
			left = found[1].Left.Round(time.Second)
			assert.True(t, left >= 5*time.Second && left <= 10*time.Second, "%v", left)
		}
		assert.Greater(t, len(seen), 2, "they are not all the same")

		near := 0
		time.Sleep(49 * time.Second)
		reads := f.store.reads.Load()
		for _, key := range keys {
			before := f.store.reads.Load()
			_, err := m.Get(t.Context(), key)
			require.NoError(t, err)
			if f.store.reads.Load() == before {
				near++
			}
		}
		assert.Less(t, near, len(keys), "the near TTL follows")
		assert.Greater(t, f.store.reads.Load(), reads)
		time.Sleep(64 * time.Second)
		for _, key := range keys {
			_, err := m.Get(t.Context(), key)
			require.ErrorIs(t, err, nearcache.ErrNotFound, "nothing lives longer than its TTL")
		}
	})
}

// TestMaxLoads: no more than so many loaders run at a time; the others wait and
// get their values.
func TestMaxLoads(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(nearcache.Options[string]{MaxConcurrentLoads: 3})
		var running, most atomic.Int64
		done := make(chan error)
		for i := range 20 {
			go func() {
				_, err := m.Fetch(t.Context(), string(rune('a'+i)), func(context.Context, string) (string, error) {
					most.Store(max(most.Load(), running.Add(1)))
					time.Sleep(time.Second)
					running.Add(-1)
					return "v", nil
				})
				done <- err
			}()
			time.Sleep(time.Millisecond)
		}
		for range 20 {
			require.NoError(t, <-done)
		}
		assert.EqualValues(t, 3, most.Load())
		assert.EqualValues(t, 17, m.Stats().Loads.Queued)
	})
}

// TestMaxLoads_WaitIsBounded by the caller's context and by LoadTimeout.
func TestMaxLoads_WaitIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(nearcache.Options[string]{MaxConcurrentLoads: 1, LoadTimeout: 10 * time.Second})
		release := make(chan struct{})
		defer close(release)
		go func() {
			_, _ = m.Fetch(t.Context(), "slow", func(context.Context, string) (string, error) {
				<-release // heeds no context
				return "v", nil
			})
		}()
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := m.Fetch(ctx, "k", none)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(began))
		_, err = m.FetchMany(t.Context(), []string{"k", "l"}, func(context.Context, []string) (map[string]string, error) {
			return nil, errNoLoad
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, errNoLoad)
		assert.LessOrEqual(t, time.Since(began), 12*time.Second)
	})
}
