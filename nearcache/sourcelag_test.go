package nearcache_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

const (
	behind = 8 * time.Second // of the replica
	lag    = 10 * time.Second
)

// replica is a database of one value of which a copy is read that is behind.
type replica struct {
	changed time.Time // to "new", from "old"
}

func (r *replica) change() { r.changed = time.Now() }

func (r *replica) read() string {
	if r.changed.IsZero() || time.Since(r.changed) < behind {
		return "old"
	}
	return "new"
}

// load is a loader of entries that reads the replica.
func (r *replica) load(context.Context, string, *string) (nearcache.Loaded[string], error) {
	return nearcache.Loaded[string]{Value: r.read(), Tags: []string{"T"}}, nil
}

func (r *replica) loadMany(_ context.Context, keys []string) (map[string]nearcache.Loaded[string], error) {
	entries := map[string]nearcache.Loaded[string]{}
	for _, key := range keys {
		entries[key] = nearcache.Loaded[string]{Value: r.read(), Tags: []string{"T"}}
	}
	return entries, nil
}

// TestSourceLag: what a replica answers that is behind lives for SourceLag, whatever
// invalidated the key, and whoever loads: also a node that was not there.
func TestSourceLag(t *testing.T) {
	ends := map[string]func(context.Context, *member) error{
		"Invalidate":     func(ctx context.Context, m *member) error { return m.Invalidate(ctx, "k") },
		"Delete":         func(ctx context.Context, m *member) error { return m.Delete(ctx, "k") },
		"Clear":          func(ctx context.Context, m *member) error { return m.Clear(ctx) },
		"InvalidateTags": func(ctx context.Context, m *member) error { return m.InvalidateTags(ctx, "T") },
	}
	for name, end := range ends {
		for _, failSafe := range []time.Duration{0, time.Hour} {
			for _, many := range []bool{false, true} {
				for _, ahead := range []time.Duration{0, time.Minute} {
					opts := nearcache.Options[string]{SourceLag: lag, Stale: nearcache.Stale{For: failSafe}, RefreshAhead: ahead}
					t.Run(fmt.Sprintf("%s, FailSafe %v, many %t, ahead %v", name, failSafe, many, ahead), func(t *testing.T) {
						bubble(t, func(t *testing.T, f *fleet) { testSourceLag(t, f, opts, end, many) })
					})
				}
			}
		}
	}
}

func testSourceLag(t *testing.T, f *fleet, opts nearcache.Options[string], end func(context.Context, *member) error, many bool) {
	source := &replica{}
	fetch := func(m *member) string {
		t.Helper()
		if many {
			values, err := m.FetchEntryMany(t.Context(), []string{"k"}, source.loadMany)
			require.NoError(t, err)
			return values["k"]
		}
		v, err := m.FetchEntry(t.Context(), "k", source.load)
		require.NoError(t, err)
		return v
	}
	a, b := f.join(opts), f.join(opts)
	require.Equal(t, "old", fetch(a))
	time.Sleep(time.Minute)
	require.Equal(t, "old", fetch(b))
	source.change()
	require.NoError(t, end(t.Context(), a))
	settle()
	late := f.join(opts) // as after a restart
	require.Less(t, time.Since(source.changed), behind)
	require.Equal(t, "old", fetch(late), "the replica is behind")
	for range 100 * int(lag/time.Second) {
		for _, m := range []*member{a, b, late} {
			fetch(m)
		}
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	for _, m := range []*member{a, b, late} {
		require.Equal(t, "new", fetch(m))
	}
	assert.Greater(t, f.left(t, "k"), lag, "what is loaded later lives on")
}

// left returns how long the record of a key has to live.
func (f *fleet) left(t *testing.T, key string) time.Duration {
	r := f.recordOf(t, key)
	end := r.Soft
	if end == 0 {
		end = r.Hard
	}
	return time.Until(time.UnixMilli(end))
}

// TestSourceLag_NotFound: that the replica does not have a value yet, likewise.
func TestSourceLag_NotFound(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(nearcache.Options[string]{SourceLag: lag, NotFoundTTL: time.Minute})
		require.NoError(t, m.Invalidate(t.Context(), "k"))
		_, err := m.Fetch(t.Context(), "k", absent)
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		assert.LessOrEqual(t, f.left(t, "k"), lag)
		time.Sleep(lag + 20*time.Millisecond)
		fetches(t, m, "v", is("v"))
	})
}

// TestSourceLag_LoadsThatFail leave what is known as it is.
func TestSourceLag_LoadsThatFail(t *testing.T) {
	for _, invalidated := range []bool{true, false} {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join(nearcache.Options[string]{SourceLag: lag})
			if invalidated {
				require.NoError(t, m.Invalidate(t.Context(), "k"))
			}
			for range 3 {
				time.Sleep(time.Second)
				_, err := m.Fetch(t.Context(), "k", func(context.Context, string) (string, error) { return "", errDown })
				require.ErrorIs(t, err, errDown)
			}
			time.Sleep(time.Second)
			_, err := m.Fetch(t.Context(), "k", func(ctx context.Context, _ string) (string, error) {
				ago, ok := nearcache.SinceInvalidated(ctx)
				assert.Equal(t, invalidated, ok)
				if ok {
					assert.InDelta(t, 4*time.Second, ago, float64(10*time.Millisecond))
				}
				return "v", nil
			})
			require.NoError(t, err)
			assert.Equal(t, invalidated, f.left(t, "k") <= lag)
		})
	}
}

// TestSourceLag_OnlyTheKeys that were invalidated live shortly, and none for which it is
// long ago.
func TestSourceLag_OnlyTheKeys(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(nearcache.Options[string]{SourceLag: lag})
		require.NoError(t, m.Invalidate(t.Context(), "old"))
		time.Sleep(lag + time.Second)
		require.NoError(t, m.Invalidate(t.Context(), "young"))
		_, err := m.FetchMany(t.Context(), []string{"old", "young", "never"}, isAll("v"))
		require.NoError(t, err)
		assert.LessOrEqual(t, f.left(t, "young"), lag)
		assert.Greater(t, f.left(t, "old"), lag)
		assert.Greater(t, f.left(t, "never"), lag)

		_, err = m.FetchEntry(t.Context(), "U", func(context.Context, string, *string) (nearcache.Loaded[string], error) {
			return asLoaded(tagged("v", "U")), nil
		})
		require.NoError(t, err)
		time.Sleep(lag + time.Second)
		require.NoError(t, m.InvalidateTags(t.Context(), "T"))
		for _, tag := range []string{"T", "U"} {
			_, err := m.FetchEntry(t.Context(), "of "+tag, func(context.Context, string, *string) (nearcache.Loaded[string], error) {
				return asLoaded(tagged("v", tag)), nil
			})
			require.NoError(t, err)
		}
		assert.LessOrEqual(t, f.left(t, "of T"), lag)
		assert.Greater(t, f.left(t, "of U"), lag, "another tag")

		// Another node ends values of this tag: of a key that is not there, nothing tells.
		other := f.join(nearcache.Options[string]{SourceLag: lag})
		time.Sleep(lag + time.Second)
		require.NoError(t, m.InvalidateTags(t.Context(), "U"))
		settle()
		_, err = other.FetchEntry(t.Context(), "new of U", func(context.Context, string, *string) (nearcache.Loaded[string], error) {
			return asLoaded(tagged("v", "U")), nil
		})
		require.NoError(t, err)
		assert.LessOrEqual(t, f.left(t, "new of U"), lag)
	})
}

// TestSourceLag_OfARecordThatIsNotBelieved: a node has loaded while the shared tier was down,
// so it does not believe the record of then, and replaces it. What made that record is no
// longer ago for that.
func TestSourceLag_OfARecordThatIsNotBelieved(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, m *member){
		"loaded after Invalidate": func(t *testing.T, m *member) {
			require.NoError(t, m.Invalidate(t.Context(), "k"))
			fetches(t, m, "old", is("old"))
		},
		"Set": func(t *testing.T, m *member) { require.NoError(t, m.Set(t.Context(), "k", "new")) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.journal = true
				opts := nearcache.Options[string]{SourceLag: lag}
				a, b := f.join(opts), f.join(opts)
				change(t, a)
				f.store.down()
				time.Sleep(time.Second)
				fetches(t, b, "old", is("old"))
				f.store.onBefore(nil)
				time.Sleep(behind - 2*time.Second)
				fetches(t, b, "old", is("old"))
				time.Sleep(lag + 20*time.Millisecond)
				fetches(t, b, "new", is("new"))
				fetches(t, a, "new", is("new"))
			})
		})
	}
}

// TestSinceInvalidated tells a loader what the shared tier knows.
func TestSinceInvalidated(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		since := func(keys ...string) (ago time.Duration, ok bool) {
			t.Helper()
			asks := func(ctx context.Context, missing []string) (map[string]string, error) {
				ago, ok = nearcache.SinceInvalidated(ctx)
				before := ago
				time.Sleep(time.Second)
				if ok {
					later, _ := nearcache.SinceInvalidated(ctx)
					assert.InDelta(t, before+time.Second, later, float64(time.Millisecond))
				}
				return isAll("v")(ctx, missing)
			}
			var err error
			if len(keys) == 1 {
				_, err = b.Fetch(t.Context(), keys[0], func(ctx context.Context, key string) (string, error) {
					values, err := asks(ctx, keys)
					return values[key], err
				})
			} else {
				_, err = b.FetchMany(t.Context(), keys, asks)
			}
			require.NoError(t, err)
			return ago, ok
		}
		near := func(want time.Duration, keys ...string) {
			t.Helper()
			ago, ok := since(keys...)
			require.True(t, ok)
			assert.InDelta(t, want, ago, float64(20*time.Millisecond))
		}
		_, ok := since("never")
		assert.False(t, ok)
		_, ok = nearcache.SinceInvalidated(t.Context())
		assert.False(t, ok, "no loader")

		require.NoError(t, a.Invalidate(t.Context(), "k", "x"))
		time.Sleep(3 * time.Second)
		near(3*time.Second, "k")
		require.NoError(t, a.Delete(t.Context(), "y"))
		time.Sleep(2 * time.Second)
		near(2*time.Second, "x", "y", "z")

		// A load inside of a load has its own.
		require.NoError(t, a.Invalidate(t.Context(), "outer"))
		_, err := b.Fetch(t.Context(), "outer", func(ctx context.Context, _ string) (string, error) {
			return b.Fetch(ctx, "inner", func(ctx context.Context, _ string) (string, error) {
				_, ok := nearcache.SinceInvalidated(ctx)
				assert.False(t, ok)
				return "v", nil
			})
		})
		require.NoError(t, err)

		require.NoError(t, a.Clear(t.Context()))
		time.Sleep(time.Second)
		near(time.Second, "cleared")

		f.store.down()
		_, ok = since("unknown")
		assert.False(t, ok)
	})
}

func TestSourceLag_Refused(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.tierOpts.TombstoneTTL = time.Minute
		m := f.join()
		only := f.joinBusOnly()
		for want, c := range map[string]struct {
			node *nearcache.Node
			lag  time.Duration
		}{
			"nearcache: Options.SourceLag is negative: -1ns":                                                                        {m.node, -1},
			"nearcache: Options.SourceLag 1m1s is longer than shared.Options.TombstoneTTL 1m0s, for which an invalidation is known": {m.node, time.Minute + time.Second},
			"nearcache: Options.SourceLag is 1s, and the node has no shared tier":                                                   {only.node, time.Second},
		} {
			_, err := nearcache.New(c.node, "lagging", nearcache.Options[string]{SourceLag: c.lag})
			require.EqualError(t, err, want)
		}
		_, err := nearcache.New(m.node, "lagging", nearcache.Options[string]{SourceLag: time.Minute})
		require.NoError(t, err)
	})
}

// timeless is a store whose revisions tell no time, as those of Memcached.
type timeless struct{ driver.Store }

func (s timeless) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	grants := s.Store.Acquire(ctx, leases)
	for i := range grants {
		grants[i].Revision = driver.Revision{}
		if len(grants[i].Image) > 0 {
			driver.StampRevision(grants[i].Image, driver.Revision{Number: 7})
		}
	}
	return grants
}

// TestSourceLag_TimelessStore: what replaces a tombstone may be from before it.
func TestSourceLag_TimelessStore(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		tier, err := shared.New(timeless{f.store}, shared.Options{})
		require.NoError(t, err)
		b, err := bus.New(membus.NewHub().Join(), bus.Options{})
		require.NoError(t, err)
		defer b.Close()
		node, err := nearcache.NewNode(tier, b, nearcache.NodeOptions{})
		require.NoError(t, err)
		defer node.Close(atOnce)
		c, err := nearcache.New(node, "users", nearcache.Options[string]{SourceLag: lag})
		require.NoError(t, err)
		_, err = c.Fetch(t.Context(), "never", is("v"))
		require.NoError(t, err)
		assert.Greater(t, f.left(t, "never"), lag)
		require.NoError(t, c.Invalidate(t.Context(), "k"))
		time.Sleep(30 * time.Second)
		_, err = c.Fetch(t.Context(), "k", func(ctx context.Context, _ string) (string, error) {
			ago, ok := nearcache.SinceInvalidated(ctx)
			assert.True(t, ok)
			assert.Less(t, ago, time.Second)
			return "v", nil
		})
		require.NoError(t, err)
		assert.LessOrEqual(t, f.left(t, "k"), lag)
	})
}

// TestSourceLag_Refresh: a Refresh comes after a change of which nothing else may tell. What it loads
// lives for SourceLag, and its loader is told to ask the primary, also where the key has a value.
func TestSourceLag_Refresh(t *testing.T) {
	for name, before := range map[string]func(*testing.T, *member){
		"of a value": func(t *testing.T, m *member) { fetchesAgain(t, m, "old") },
		"of nothing": func(t *testing.T, m *member) { require.NoError(t, m.Delete(t.Context(), "k")) },
		"of what lagged too": func(t *testing.T, m *member) {
			require.NoError(t, m.Invalidate(t.Context(), "k"))
			fetchesAgain(t, m, "old")
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				source := &replica{}
				told := time.Duration(-1)
				opts := nearcache.Options[string]{SourceLag: lag, RefreshAhead: time.Minute, Loader: func(ctx context.Context, key string, old *string) (nearcache.Loaded[string], error) {
					if ago, known := nearcache.SinceInvalidated(ctx); known {
						told = ago
					}
					return source.load(ctx, key, old)
				}}
				a, b := f.join(opts), f.join(opts)
				fetchesAgain(t, a, "old")
				time.Sleep(time.Minute)
				source.change()
				before(t, a)
				settle()
				told = -1
				require.NoError(t, b.Refresh(t.Context(), "k"))
				assert.Equal(t, time.Duration(0), told)
				settle()
				fetchesAgain(t, a, "old")
				time.Sleep(lag + 20*time.Millisecond)
				fetchesAgain(t, a, "new")
				fetchesAgain(t, b, "new")
				assert.Greater(t, f.left(t, "k"), lag, "what is loaded later lives on")
			})
		})
	}
}

// fetchesAgain reads k with the loader of the cache.
func fetchesAgain(t *testing.T, m *member, want string) {
	t.Helper()
	v, err := m.Get(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, want, v)
}
