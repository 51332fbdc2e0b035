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
	"github.com/nearbus/nearbus/shared"
)

// ahead has values refreshed in the last ten seconds of their minute.
var ahead = nearcache.Options[string]{TTL: time.Minute, RefreshAhead: 10 * time.Second}

// TestRefreshAhead: a hit near the end gets the old value at once, and the new
// one is there before the end; nobody waits.
func TestRefreshAhead(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(ahead)
		require.NoError(t, m.Set(t.Context(), "k", "old"))
		time.Sleep(49 * time.Second)
		fetches(t, m, "old", none)
		settle()
		assert.Zero(t, m.Stats().Loads, "it is not due")
		time.Sleep(2 * time.Second)
		load, loads := counting("new", time.Second)
		for range 10 {
			began := time.Now()
			fetches(t, m, "old", load)
			assert.Zero(t, time.Since(began))
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(time.Second)
		fetches(t, m, "new", none)
		assert.EqualValues(t, 1, loads.Load())
		assert.EqualValues(t, 1, m.Stats().Refreshed)
		time.Sleep(45 * time.Second)
		fetches(t, m, "new", none)
		v, err := m.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	})
}

// TestRefreshAhead_OneLoadInTheFleet: the others take what one node stored.
func TestRefreshAhead_OneLoadInTheFleet(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		var nodes []*member
		for range 5 {
			nodes = append(nodes, f.join(ahead))
		}
		require.NoError(t, nodes[0].Set(t.Context(), "k", "old"))
		settle()
		for _, m := range nodes {
			fetches(t, m, "old", none)
		}
		time.Sleep(51 * time.Second)
		load, loads := counting("new", 200*time.Millisecond)
		for range 30 { // for three seconds
			for _, m := range nodes {
				_, err := m.Fetch(t.Context(), "k", load)
				require.NoError(t, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		for _, m := range nodes {
			fetches(t, m, "new", none)
		}
		assert.EqualValues(t, 1, loads.Load())
	})
}

// TestRefreshAhead_Fenced: whatever is written while a refresh runs is not
// replaced by what it loaded: G5.
func TestRefreshAhead_Fenced(t *testing.T) {
	for name, write := range map[string]func(ctx context.Context, m *member) error{
		"Set":        func(ctx context.Context, m *member) error { return m.Set(ctx, "k", "written") },
		"Invalidate": func(ctx context.Context, m *member) error { return m.Invalidate(ctx, "k") },
		"Delete":     func(ctx context.Context, m *member) error { return m.Delete(ctx, "k") },
		"Clear":      func(ctx context.Context, m *member) error { return m.Clear(ctx) },
	} {
		for _, failSafe := range []time.Duration{0, time.Hour} {
			t.Run(name, func(t *testing.T) {
				bubble(t, func(t *testing.T, f *fleet) {
					opts := ahead
					opts.FailSafe = failSafe
					a, b := f.join(opts), f.join(opts)
					require.NoError(t, a.Set(t.Context(), "k", "old"))
					settle()
					fetches(t, b, "old", none)
					time.Sleep(51 * time.Second)
					release := make(chan struct{})
					fetches(t, b, "old", func(context.Context, string) (string, error) {
						<-release
						return "stale", nil
					})
					synctest.Wait()
					require.EqualValues(t, 1, b.Stats().Loads)
					require.NoError(t, write(t.Context(), a))
					settle()
					close(release)
					settle()
					want := "written"
					if name != "Set" {
						want = "new"
					}
					for _, m := range []*member{b, a} {
						fetches(t, m, want, is("new"))
						fetches(t, m, want, none)
					}
				})
			})
		}
	}
}

// TestRefreshAhead_Fails: the old value is served to its end, attempts keep a
// distance, and the end is the end.
func TestRefreshAhead_Fails(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(ahead)
		require.NoError(t, m.Set(t.Context(), "k", "old"))
		time.Sleep(51 * time.Second)
		var attempts atomic.Int64
		load := func(context.Context, string) (string, error) {
			attempts.Add(1)
			return "", errDown
		}
		for range 80 {
			fetches(t, m, "old", load)
			time.Sleep(100 * time.Millisecond)
		}
		assert.LessOrEqual(t, attempts.Load(), int64(9))
		assert.GreaterOrEqual(t, attempts.Load(), int64(5))
		time.Sleep(2 * time.Second)
		_, err := m.Fetch(t.Context(), "k", load)
		require.ErrorIs(t, err, errDown)
		fetches(t, m, "new", is("new"))
	})
}

// TestRefreshAhead_NotFound: what the source does not have any more is gone.
func TestRefreshAhead_NotFound(t *testing.T) {
	for _, ttl := range []time.Duration{0, time.Minute} {
		bubble(t, func(t *testing.T, f *fleet) {
			opts := ahead
			opts.NotFoundTTL = ttl
			m := f.join(opts)
			require.NoError(t, m.Set(t.Context(), "k", "old"))
			time.Sleep(51 * time.Second)
			fetches(t, m, "old", absent)
			settle()
			_, err := m.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		})
	}
}

// TestRefreshAhead_NotByGet, which has no loader.
func TestRefreshAhead_NotByGet(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(ahead)
		require.NoError(t, m.Set(t.Context(), "k", "old"))
		time.Sleep(51 * time.Second)
		v, err := m.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "old", v)
		values, err := m.GetMany(t.Context(), []string{"k"})
		require.NoError(t, err)
		assert.Equal(t, map[string]string{"k": "old"}, values)
	})
}

// TestRefreshAhead_FetchMany refreshes as well.
func TestRefreshAhead_FetchMany(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(ahead)
		require.NoError(t, m.Set(t.Context(), "k", "old"))
		time.Sleep(51 * time.Second)
		load := func(_ context.Context, missing []string) (map[string]string, error) {
			return map[string]string{missing[0]: "new"}, nil
		}
		values, err := m.FetchMany(t.Context(), []string{"k"}, load)
		require.NoError(t, err)
		assert.Equal(t, map[string]string{"k": "old"}, values)
		settle()
		fetches(t, m, "new", none)
	})
}

// TestRefreshAhead_LongKeys have a lease all the same.
func TestRefreshAhead_LongKeys(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(ahead)
		key := string(make([]byte, shared.MaxKeySize-len("users:")))
		require.NoError(t, m.Set(t.Context(), key, "old"))
		time.Sleep(51 * time.Second)
		v, err := m.Fetch(t.Context(), key, is("new"))
		require.NoError(t, err)
		assert.Equal(t, "old", v)
		settle()
		v, err = m.Fetch(t.Context(), key, none)
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	})
}
