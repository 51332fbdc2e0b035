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
		assert.Zero(t, m.Stats().Loads.Keys, "it is not due")
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
		assert.EqualValues(t, 1, m.Stats().Loads.Refreshed)
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
					opts.Stale.For = failSafe
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
					require.EqualValues(t, 1, b.Stats().Loads.Keys)
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

// TestRefreshAhead_ShortLives: what lives shorter than RefreshAhead is refreshed once in
// each life, and not at each read, whoever stored it and whoever reads it.
func TestRefreshAhead_ShortLives(t *testing.T) {
	const life, lives = 30 * time.Second, 6
	opts := nearcache.Options[string]{TTL: 5 * time.Minute, RefreshAhead: time.Minute}
	jittered := nearcache.Options[string]{TTL: time.Minute, RefreshAhead: 50 * time.Second, TTLJitter: 0.9}
	entry := func() nearcache.Entry[string] { return nearcache.Entry[string]{Value: "v", TTL: life} }
	for name, c := range map[string]struct {
		opts  nearcache.Options[string]
		entry nearcache.Entry[string] // loaded
		begin func(context.Context, *member) error
		most  int64 // loads
	}{
		"loaded":        {opts, entry(), nil, 2*lives + 1},
		"set before":    {opts, entry(), func(ctx context.Context, m *member) error { return m.SetEntry(ctx, "k", entry()) }, 2*lives + 1},
		"kept":          {keepingToo(opts), entry(), nil, 2*lives + 1},
		"not found":     {opts, entry(), func(ctx context.Context, m *member) error { return m.Delete(ctx, "k") }, 2*lives + 1},
		"cut by jitter": {jittered, nearcache.Entry[string]{Value: "v"}, nil, 70},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				nodes := []*member{f.join(c.opts), f.join(c.opts), f.join(c.opts)}
				if c.begin != nil {
					require.NoError(t, c.begin(t.Context(), nodes[0]))
				}
				var loads atomic.Int64
				load := func(context.Context, string, *string) (nearcache.Loaded[string], error) {
					loads.Add(1)
					return asLoaded(c.entry), nil
				}
				for range int(lives * life / (50 * time.Millisecond)) {
					for _, m := range nodes {
						_, err := m.FetchEntry(t.Context(), "k", load)
						require.NoError(t, err)
					}
					time.Sleep(50 * time.Millisecond)
				}
				t.Logf("%d loads, %d calls of the shared tier", loads.Load(),
					f.store.reads.Load()+f.store.acquires.Load()+f.store.fills.Load())
				assert.LessOrEqual(t, loads.Load(), c.most)
				assert.GreaterOrEqual(t, loads.Load(), int64(lives))
			})
		})
	}
}

func keepingToo(opts nearcache.Options[string]) nearcache.Options[string] {
	opts.Stale.For = time.Hour
	return opts
}

// TestRefreshAhead_FoundNearItsEnd: a node that finds a record with little life left
// refreshes it, once there was a pause, and once for the fleet.
func TestRefreshAhead_FoundNearItsEnd(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, nodes := f.join(ahead), []*member{f.join(ahead), f.join(ahead), f.join(ahead)}
		require.NoError(t, a.Set(t.Context(), "k", "old"))
		time.Sleep(57 * time.Second)
		load, loads := counting("new", 10*time.Millisecond)
		for range 250 {
			for _, m := range nodes {
				_, err := m.Fetch(t.Context(), "k", load)
				require.NoError(t, err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		for _, m := range nodes {
			fetches(t, m, "new", none)
		}
		assert.EqualValues(t, 1, loads.Load())
	})
}

// TestRefreshAhead_OnlyShortLivesSaySo: the record of a value that lives as the options
// say is what it always was.
func TestRefreshAhead_OnlyShortLivesSaySo(t *testing.T) {
	for _, d := range []time.Duration{10 * time.Second, 30 * time.Second, 59*time.Second + 1, time.Minute - 1} {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join(nearcache.Options[string]{TTL: time.Minute, RefreshAhead: d})
			require.NoError(t, m.Set(t.Context(), "k", "v"))
			assert.Zero(t, f.recordOf(t, "k").Ahead, "%v", d)
			require.NoError(t, m.SetEntry(t.Context(), "k", nearcache.Entry[string]{Value: "v", TTL: time.Hour}))
			assert.Zero(t, f.recordOf(t, "k").Ahead, "%v", d)
			require.NoError(t, m.SetEntry(t.Context(), "k", nearcache.Entry[string]{Value: "v", TTL: 2 * time.Second}))
			assert.Positive(t, f.recordOf(t, "k").Ahead, "%v", d)
			assert.LessOrEqual(t, f.recordOf(t, "k").Ahead, 2*time.Second, "%v", d)
		})
	}
}
