package nearcache_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

// TestCacheClose: a closed cache answers nothing, has nothing near, and leaves its name to
// another one. The other caches of the node stay as they are.
func TestCacheClose(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		m, other := f.join(), f.join()
		orgs, err := nearcache.New(m.node, "orgs", nearcache.Options[string]{})
		require.NoError(t, err)
		require.NoError(t, orgs.Set(t.Context(), "o", "org"))
		require.NoError(t, m.SetEntry(t.Context(), "k", tagged("v", "a tag")))
		require.NoError(t, m.Set(t.Context(), "k2", "v2"))
		require.EqualValues(t, 3, m.node.Stats().Near.Entries)
		require.NoError(t, m.Close(t.Context()))
		require.NoError(t, m.Close(t.Context()), "twice")
		assert.EqualValues(t, 1, m.node.Stats().Near.Entries)
		for name, err := range answers(t.Context(), m.Cache) {
			assert.ErrorIs(t, err, nearcache.ErrClosed, name)
		}
		require.Len(t, m.node.Caches(), 1)
		for _, metric := range m.node.Metrics() {
			assert.Contains(t, []string{"", "orgs"}, metric.Cache)
		}
		v, err := orgs.Get(t.Context(), "o")
		require.NoError(t, err)
		assert.Equal(t, "org", v)
		v, err = other.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "v", v, "the shared tier keeps it")
		unknown := m.node.Stats().Bus.UnknownCaches
		require.NoError(t, other.Invalidate(t.Context(), "k2"))
		f.eventually(func() bool { return m.node.Stats().Bus.UnknownCaches > unknown })

		m.Cache, err = nearcache.New(m.node, "users", nearcache.Options[string]{})
		require.NoError(t, err, "its name is free")
		fetches(t, m, "v", none)
		_, err = m.Get(t.Context(), "k2")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		require.NoError(t, other.InvalidateTags(t.Context(), "a tag"))
		settle()
		fetches(t, m, "new", is("new"))
	})
}

// answers are what the methods of a cache return.
func answers(ctx context.Context, c *nearcache.Cache[string]) map[string]error {
	all := map[string]error{
		"Set": c.Set(ctx, "k", "v"), "SetMany": c.SetMany(ctx, map[string]string{"k": "v"}), "Delete": c.Delete(ctx, "k"),
		"Invalidate": c.Invalidate(ctx, "k"), "InvalidateTags": c.InvalidateTags(ctx, "t"), "Clear": c.Clear(ctx), "Touch": c.Touch(ctx, "k", 0),
	}
	_, all["Get"] = c.Get(ctx, "k")
	_, all["Fetch"] = c.Fetch(ctx, "k", is("v"))
	_, all["GetMany"] = c.GetMany(ctx, []string{"k"})
	_, all["FetchMany"] = c.FetchMany(ctx, []string{"k"}, func(context.Context, []string) (map[string]string, error) { return nil, nil })
	_, all["Read"] = c.Read(ctx, "k", nearcache.ReadOptions{}, nil)
	_, all["Inspect"] = c.Inspect(ctx, "k", nearcache.InspectOptions{})
	return all
}

// TestCacheClose_EndsWhatWaits: callers who wait for a load are told, and the loader as well.
func TestCacheClose_EndsWhatWaits(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		failed, ended := make(chan error, 2), make(chan error, 1)
		for range 2 {
			go func() {
				_, err := m.Fetch(t.Context(), "k", func(ctx context.Context, _ string) (string, error) {
					<-ctx.Done()
					ended <- ctx.Err()
					return "", ctx.Err()
				})
				failed <- err
			}()
		}
		synctest.Wait()
		require.NoError(t, m.Close(t.Context()))
		require.ErrorIs(t, <-failed, nearcache.ErrClosed)
		require.ErrorIs(t, <-failed, nearcache.ErrClosed)
		require.ErrorIs(t, <-ended, context.Canceled)
	})
}

// TestCacheClose_WaitsForWrites: a write that was under way is in what another cache of the name
// answers with.
func TestCacheClose_WaitsForWrites(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		m := f.join()
		require.NoError(t, m.Set(t.Context(), "k", "old"))
		f.store.onBefore(func(_ context.Context, op, _ string) error {
			if op == "write" {
				time.Sleep(500 * time.Millisecond)
			}
			return nil
		})
		written := make(chan error, 1)
		go func() { written <- m.Set(t.Context(), "k", "new") }()
		synctest.Wait()
		require.NoError(t, m.Close(t.Context()))
		again, err := nearcache.New(m.node, "users", nearcache.Options[string]{})
		require.NoError(t, err)
		_, _ = again.Get(t.Context(), "k")
		require.NoError(t, <-written)
		v, err := again.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "new", v)

		go func() { written <- again.Set(t.Context(), "k", "newer") }()
		synctest.Wait()
		began := time.Now()
		require.NoError(t, again.Close(atOnce))
		assert.Zero(t, time.Since(began), "who has no time does not wait")
		require.NoError(t, <-written)
	})
}

// TestCacheClose_Pending: what could not be delivered is waited for, and told if it ends with the
// cache.
func TestCacheClose_Pending(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		f.store.down()
		require.ErrorIs(t, m.Delete(t.Context(), "k"), nearcache.ErrOutcomeUnknown)
		time.AfterFunc(3*time.Second, func() { f.store.onBefore(nil) })
		require.NoError(t, m.Close(t.Context()))
		assert.Zero(t, m.node.Health().PendingInvalidations)

		again, err := nearcache.New(m.node, "users", nearcache.Options[string]{})
		require.NoError(t, err)
		f.store.down()
		require.ErrorIs(t, again.Delete(t.Context(), "k"), nearcache.ErrOutcomeUnknown)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.EqualError(t, again.Close(ctx), `nearcache: cache "users": 1 invalidations could not be delivered`)
		assert.Zero(t, m.node.Health().PendingInvalidations)
		f.store.onBefore(nil)
		require.NoError(t, m.node.Close(t.Context()))
	})
}

// TestCacheClose_LeavesNothing: caches that come and go take no more memory than those that are
// open, and no goroutines.
func TestCacheClose_LeavesNothing(t *testing.T) {
	f := newFleet(t)
	m := f.join()
	var freed atomic.Int64
	round := func(i int) {
		c, err := nearcache.New(m.node, fmt.Sprint("tenant-", i), nearcache.Options[string]{TTL: time.Second, NotFoundTTL: time.Second})
		require.NoError(t, err)
		runtime.AddCleanup(c, func(int) { freed.Add(1) }, i)
		for n := range 10 {
			require.NoError(t, c.SetEntry(t.Context(), fmt.Sprint(n), tagged("v", fmt.Sprint("tag-", n))))
		}
		require.NoError(t, c.InvalidateTags(t.Context(), "tag-1"))
		require.NoError(t, c.Close(t.Context()))
	}
	goroutines := runtime.NumGoroutine()
	for i := range 300 {
		round(i)
	}
	assert.Zero(t, m.node.Stats().Near.Entries)
	assert.Zero(t, m.node.Stats().Near.Bytes)
	f.eventually(func() bool {
		runtime.GC()
		return freed.Load() == 300 && runtime.NumGoroutine() <= goroutines
	})
}

// TestCacheClose_DuringEverything: nothing breaks, and the name is free each time.
func TestCacheClose_DuringEverything(t *testing.T) {
	f := newFleet(t)
	f.nodeOpts.NearBytes = 64 << 10
	m := f.join()
	for round := range 20 {
		c, err := nearcache.New(m.node, "again", nearcache.Options[string]{RefreshAhead: time.Minute, TTL: 2 * time.Minute})
		require.NoError(t, err)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for n := range 200 {
					key := fmt.Sprint((n + i) % 50)
					switch (n + i) % 5 {
					case 0:
						_, _ = c.Fetch(t.Context(), key, is("v"))
					case 1:
						_ = c.SetEntry(t.Context(), key, tagged("v", "t"))
					case 2:
						_ = c.Invalidate(t.Context(), key)
					case 3:
						_, _ = m.Fetch(t.Context(), key, is("v"))
					default:
						_ = c.Touch(t.Context(), key, time.Hour)
					}
				}
			})
		}
		time.Sleep(time.Duration(round) * 100 * time.Microsecond)
		if round%2 == 0 {
			all.Go(func() { assert.NoError(t, c.Close(atOnce)) })
		}
		require.NoError(t, c.Close(atOnce))
		if round%4 == 0 {
			all.Wait()
		}
		next, err := nearcache.New(m.node, "again", nearcache.Options[string]{})
		require.NoError(t, err)
		require.NoError(t, next.Set(t.Context(), "of the next", "v"))
		all.Wait()
		v, err := next.Get(t.Context(), "of the next")
		require.NoError(t, err)
		require.Equal(t, "v", v)
		require.NoError(t, next.Close(t.Context()))
	}
	require.NoError(t, m.node.Close(atOnce))
}

// TestCacheClose_TellsWhoWaits: callers who wait for a loader that heeds its context hear that the
// cache was closed, whichever they notice first.
func TestCacheClose_TellsWhoWaits(t *testing.T) {
	for range 50 {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join()
			failed := make(chan error, 2)
			heeds := func(ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			}
			go func() {
				_, err := m.Fetch(t.Context(), "k", func(ctx context.Context, _ string) (string, error) { return "", heeds(ctx) })
				failed <- err
			}()
			go func() {
				_, err := m.FetchMany(t.Context(), []string{"a", "b"}, func(ctx context.Context, _ []string) (map[string]string, error) { return nil, heeds(ctx) })
				failed <- err
			}()
			synctest.Wait()
			require.NoError(t, m.Close(t.Context()))
			for range 2 {
				err := <-failed
				require.ErrorIs(t, err, nearcache.ErrClosed)
				require.NotErrorIs(t, err, context.Canceled)
			}
		})
	}
}
