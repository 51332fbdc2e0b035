package nearcache_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared/compress"
)

// stored has a member store n values, and returns their keys.
func stored(t *testing.T, m *member, n int, value string) (keys []string) {
	t.Helper()
	all := make(map[string]string, n)
	for i := range n {
		keys = append(keys, fmt.Sprint("k", i))
		all[keys[i]] = value
	}
	require.NoError(t, m.SetMany(t.Context(), all))
	settle()
	return keys
}

// fetchesKey fetches a key, whose value is want.
func fetchesKey(t *testing.T, m *member, key, want string, load func(context.Context, string) (string, error)) {
	t.Helper()
	v, err := m.Fetch(t.Context(), key, load)
	require.NoError(t, err)
	assert.Equal(t, want, v)
}

// total is how many keys a result tells of.
func total(r nearcache.WarmResult) int {
	return r.Warmed + r.Near + r.Absent + r.Invalid + r.Failed + r.Left
}

// TestWarm: the hottest keys of one node come near on another one, which reads them without the
// shared tier then. Nobody loads, and nobody counts a read.
func TestWarm(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a := f.join()
		stored(t, a, 1000, "v")
		for i := range 300 {
			_, err := a.Get(t.Context(), fmt.Sprint("k", i))
			require.NoError(t, err)
		}
		hottest := a.HottestKeys(300)
		require.Len(t, hottest, 300)
		b := f.join(nearcache.Options[string]{Loader: nearcache.ValueLoader(none)})
		acquires := f.store.acquires.Load()
		got, err := b.Warm(t.Context(), hottest, nearcache.WarmOptions{})
		require.NoError(t, err)
		assert.Equal(t, nearcache.WarmResult{Warmed: 300}, got)
		s := b.Stats()
		assert.Zero(t, s.Reads.Hits+s.Reads.Misses)
		assert.Zero(t, s.Loads.Keys)
		assert.Empty(t, b.CostlyKeys().Misses)
		assert.Equal(t, acquires, f.store.acquires.Load(), "no leases")

		reads := f.store.reads.Load()
		for i := range 300 {
			v, err := b.Get(t.Context(), fmt.Sprint("k", i))
			require.NoError(t, err)
			assert.Equal(t, "v", v)
		}
		assert.Equal(t, reads, f.store.reads.Load())
	})
}

// TestHottestKeys: those that were read come first, and a cache that was closed has none.
func TestHottestKeys(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a := f.join()
		stored(t, a, 100, "v")
		for range 3 {
			_, _ = a.Get(t.Context(), "k7")
		}
		_, _ = a.Get(t.Context(), "k8")
		all := a.HottestKeys(1000)
		assert.Len(t, all, 100)
		assert.Equal(t, []string{"k7", "k8"}, a.HottestKeys(2))
		assert.Empty(t, a.HottestKeys(0))
		assert.Empty(t, a.HottestKeys(-1))
		require.NoError(t, a.Invalidate(t.Context(), "k7"))
		assert.Equal(t, []string{"k8"}, a.HottestKeys(1))
		require.NoError(t, a.Close(t.Context()))
		assert.Empty(t, a.HottestKeys(1000))
	})
}

// TestWarm_AnyList: whatever is in the list is counted once, and nothing of it is loaded.
func TestWarm_AnyList(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a := f.join()
		keys := stored(t, a, 3, "v")
		b := f.join(nearcache.Options[string]{Loader: nearcache.ValueLoader(none)})
		_, err := b.Get(t.Context(), keys[0])
		require.NoError(t, err)
		list := []string{keys[0], keys[1], keys[1], "", strings.Repeat("x", 2000), "another's", keys[2]}
		got, err := b.Warm(t.Context(), list, nearcache.WarmOptions{})
		require.NoError(t, err)
		assert.Equal(t, nearcache.WarmResult{Warmed: 2, Near: 2, Absent: 1, Invalid: 2}, got)
		assert.Equal(t, len(list), total(got))

		reads := f.store.reads.Load()
		got, err = b.Warm(t.Context(), list, nearcache.WarmOptions{})
		require.NoError(t, err)
		assert.Equal(t, nearcache.WarmResult{Near: 4, Absent: 1, Invalid: 2}, got)
		assert.Equal(t, reads+1, f.store.reads.Load())
		got, err = b.Warm(t.Context(), nil, nearcache.WarmOptions{})
		require.NoError(t, err)
		assert.Zero(t, got)
	})
}

// TestWarm_Budget: it reads as many keys a second as it may, and ends with its context.
func TestWarm_Budget(t *testing.T) {
	for rate, want := range map[int]time.Duration{0: 100 * time.Millisecond, 500: 2 * time.Second, 2: 500 * time.Second, -1: 0} {
		bubble(t, func(t *testing.T, f *fleet) {
			keys := stored(t, f.join(nearcache.Options[string]{TTL: time.Hour}), 1000, "v")
			b := f.join(nearcache.Options[string]{TTL: time.Hour})
			began := time.Now()
			got, err := b.Warm(t.Context(), keys, nearcache.WarmOptions{KeysPerSecond: rate})
			require.NoError(t, err)
			assert.Equal(t, 1000, got.Warmed)
			assert.InDelta(t, want, time.Since(began), float64(want)/20, "%d keys a second", rate)
		})
	}
	bubble(t, func(t *testing.T, f *fleet) {
		keys := stored(t, f.join(), 1000, "v")
		b := f.join()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		got, err := b.Warm(ctx, keys, nearcache.WarmOptions{KeysPerSecond: 500})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.InDelta(t, 500, got.Warmed, 50)
		assert.Equal(t, 1000, total(got))
		assert.Equal(t, 1000-got.Warmed, got.Left)
	})
}

// TestWarm_TakesNobodysPlace: it ends before anything has to leave, however large the list is and
// however large its values are.
func TestWarm_TakesNobodysPlace(t *testing.T) {
	for _, size := range []int{10, 5000} {
		bubble(t, func(t *testing.T, f *fleet) {
			keys := stored(t, f.join(), 10_000, strings.Repeat("v", size))
			f.nodeOpts.NearBytes = 1 << 20
			b := f.join()
			for _, key := range keys[9900:] {
				_, err := b.Get(t.Context(), key)
				require.NoError(t, err)
			}
			got, err := b.Warm(t.Context(), keys, nearcache.WarmOptions{KeysPerSecond: -1})
			require.NoError(t, err)
			assert.True(t, got.Full)
			assert.Positive(t, got.Left)
			assert.Equal(t, len(keys), total(got))
			s := b.node.Stats().Near
			assert.Zero(t, s.Evicted)
			assert.Greater(t, s.Bytes, int64(800<<10), "it is nearly full")
			reads := f.store.reads.Load()
			for _, key := range keys[9900:] {
				_, err := b.Get(t.Context(), key)
				require.NoError(t, err)
			}
			assert.Equal(t, reads, f.store.reads.Load(), "what was near still is")
		})
	}
}

// TestWarm_LeavesFirst: what was warmed and read by nobody goes before what was read.
func TestWarm_LeavesFirst(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a := f.join()
		keys := stored(t, a, 10_000, "v")
		f.nodeOpts.NearBytes = 1 << 20
		b := f.join()
		_, err := b.Warm(t.Context(), keys[:5000], nearcache.WarmOptions{KeysPerSecond: -1})
		require.NoError(t, err)
		for range 2 {
			for _, key := range keys[:100] {
				_, err := b.Get(t.Context(), key)
				require.NoError(t, err)
			}
		}
		for _, key := range keys[5000:] {
			_, err := b.Get(t.Context(), key)
			require.NoError(t, err)
		}
		require.Positive(t, b.node.Stats().Near.Evicted)
		reads := f.store.reads.Load()
		for _, key := range keys[:100] {
			_, err := b.Get(t.Context(), key)
			require.NoError(t, err)
		}
		assert.Equal(t, reads, f.store.reads.Load())
	})
}

// TestWarm_TheSharedTierFails: the first batch that nothing is read of ends it, with the error.
func TestWarm_TheSharedTierFails(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		keys := stored(t, f.join(), 1000, "v")
		b := f.join()
		f.store.down()
		reads := f.store.reads.Load()
		got, err := b.Warm(t.Context(), keys, nearcache.WarmOptions{})
		require.ErrorIs(t, err, errDown)
		require.ErrorContains(t, err, "nearcache: Warm: 16 keys failed")
		assert.Equal(t, nearcache.WarmResult{Failed: 16, Left: 984}, got)
		assert.LessOrEqual(t, f.store.reads.Load(), reads+3, "attempts of one batch")

		f.store.onBefore(nil)
		got, err = b.Warm(t.Context(), keys, nearcache.WarmOptions{})
		require.NoError(t, err)
		assert.Equal(t, 1000, got.Warmed)
	})
}

// TestWarm_AnUnconfirmedWrite: what the shared tier has of a key may be older than an own write, so
// it is not read; the others are.
func TestWarm_AnUnconfirmedWrite(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		keys := stored(t, f.join(), 100, "v")
		b := f.join()
		f.store.onBefore(func(_ context.Context, op, _ string) error {
			if op == "write" {
				return errDown
			}
			return nil
		})
		require.ErrorIs(t, b.Set(t.Context(), keys[3], "w"), nearcache.ErrOutcomeUnknown)
		got, err := b.Warm(t.Context(), keys[3:4], nearcache.WarmOptions{})
		require.ErrorIs(t, err, nearcache.ErrOutcomeUnknown)
		assert.Equal(t, nearcache.WarmResult{Failed: 1}, got)
		got, err = b.Warm(t.Context(), append(keys[3:4:4], keys...), nearcache.WarmOptions{KeysPerSecond: 20})
		require.ErrorIs(t, err, nearcache.ErrOutcomeUnknown)
		assert.Equal(t, 99, got.Warmed)
		assert.Zero(t, got.Left)
		f.store.onBefore(nil)
	})
}

// TestWarm_NeverOld: a value that is replaced while it is read does not come near.
func TestWarm_NeverOld(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a := f.join()
		keys := stored(t, a, 10, "old")
		b := f.join()
		f.store.onAfter(func(ctx context.Context, op, _ string) error {
			if op == "read" {
				time.Sleep(time.Second)
			}
			return nil
		})
		done := make(chan nearcache.WarmResult)
		go func() {
			got, _ := b.Warm(t.Context(), keys, nearcache.WarmOptions{})
			done <- got
		}()
		synctest.Wait() // it has read
		require.NoError(t, a.Set(t.Context(), keys[5], "new"))
		assert.Equal(t, nearcache.WarmResult{Warmed: 9, Absent: 1}, <-done)
		f.store.onAfter(nil)
		v, err := b.Get(t.Context(), keys[5])
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	})
}

// TestWarm_ReadersMeanwhile: readers who miss a key that is being warmed share the read, and load
// what it does not find.
func TestWarm_ReadersMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		keys := stored(t, f.join(), 1, "v")
		b := f.join()
		f.store.onAfter(func(_ context.Context, op, _ string) error {
			if op == "read" {
				time.Sleep(10 * time.Millisecond)
			}
			return nil
		})
		reads := f.store.reads.Load()
		done := make(chan nearcache.WarmResult)
		go func() {
			got, _ := b.Warm(t.Context(), []string{keys[0], "absent"}, nearcache.WarmOptions{})
			done <- got
		}()
		synctest.Wait()
		go func() { _, _ = b.Fetch(t.Context(), "absent", is("loaded")) }()
		fetchesKey(t, b, keys[0], "v", none)
		assert.Equal(t, nearcache.WarmResult{Warmed: 1, Absent: 1}, <-done)
		assert.Equal(t, reads+1, f.store.reads.Load())
		time.Sleep(time.Second)
		fetchesKey(t, b, "absent", "loaded", none)
		f.store.onAfter(nil)
	})
}

// TestWarm_Closed: a cache that is closed meanwhile, or its node, ends it at once: while it pauses,
// and while it reads from a shared tier that says nothing.
func TestWarm_Closed(t *testing.T) {
	for whose, end := range map[string]func(*member) error{
		"of the cache": func(m *member) error { return m.Close(context.Background()) },
		"of the node":  func(m *member) error { return m.node.Close(context.Background()) },
	} {
		for when, slow := range map[string]time.Duration{"pauses": 0, "reads": 600 * time.Millisecond} {
			t.Run(whose+" while it "+when, func(t *testing.T) {
				bubble(t, func(t *testing.T, f *fleet) {
					keys := stored(t, f.join(), 1000, "v")
					b := f.join()
					f.store.onBefore(func(ctx context.Context, op, _ string) error {
						if op != "read" || slow == 0 {
							return nil
						}
						select {
						case <-time.After(slow):
							return nil
						case <-ctx.Done():
							return ctx.Err()
						}
					})
					began := time.Now()
					time.AfterFunc(1500*time.Millisecond, func() { assert.NoError(t, end(b)) })
					got, err := b.Warm(t.Context(), keys, nearcache.WarmOptions{KeysPerSecond: 1})
					require.ErrorIs(t, err, nearcache.ErrClosed)
					assert.Equal(t, 1500*time.Millisecond, time.Since(began))
					assert.Equal(t, 1000, total(got))
					assert.Equal(t, 1000-got.Warmed, got.Left)
					got, err = b.Warm(t.Context(), keys, nearcache.WarmOptions{})
					require.ErrorIs(t, err, nearcache.ErrClosed)
					assert.Equal(t, nearcache.WarmResult{Left: 1000}, got)
					f.store.onBefore(nil)
				})
			})
		}
	}
}

// TestWarm_PinsNothing: what is near does not hold the list that it was warmed with, and a list of
// the hottest keys does not hold what was near.
func TestWarm_PinsNothing(t *testing.T) {
	for _, size := range []int{5, 30, 100} {
		f := newFleet(t)
		m := f.join()
		var freed atomic.Int64
		name := func(i int) string { return fmt.Sprint(strings.Repeat("k", size), i) }
		for i := range 10 {
			require.NoError(t, m.Set(t.Context(), name(i), "v"))
		}
		b := f.join()
		func() {
			list := []byte(strings.Join([]string{name(0), name(1), name(2), "absent-" + name(3)}, " ") + strings.Repeat(" ", 1<<20))
			runtime.AddCleanup(&list[0], func(int) { freed.Add(1) }, 0)
			got, err := b.Warm(t.Context(), strings.Fields(unsafe.String(&list[0], len(list))), nearcache.WarmOptions{})
			require.NoError(t, err)
			require.Equal(t, 3, got.Warmed)
		}()
		f.eventually(func() bool { runtime.GC(); return freed.Load() == 1 })
		assert.Len(t, b.HottestKeys(10), 3)

		orgs, err := nearcache.New(b.node, "orgs", nearcache.Options[*[64]byte]{})
		require.NoError(t, err)
		func() {
			value := new([64]byte)
			runtime.AddCleanup(value, func(int) { freed.Add(1) }, 0)
			require.NoError(t, orgs.Set(t.Context(), name(0), value))
		}()
		hottest := orgs.HottestKeys(1)
		require.NoError(t, orgs.Invalidate(t.Context(), name(0)))
		f.eventually(func() bool { runtime.GC(); return freed.Load() == 2 })
		assert.Equal(t, []string{name(0)}, hottest)
	}
}

// TestWarm_WithoutASharedTier: there is nothing to read.
func TestWarm_WithoutASharedTier(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		got, err := f.joinBusOnly().Warm(t.Context(), []string{"a", "b"}, nearcache.WarmOptions{})
		require.NoError(t, err)
		assert.Equal(t, nearcache.WarmResult{Absent: 2}, got)
	})
}

// TestWarm_Features: values with tags, compressed ones, and those that say that there is none come
// near as a read brings them. Nobody makes a copy.
func TestWarm_Features(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.tierOpts.Compress, f.tierOpts.CompressOver = compress.S2(), 10
		var copies atomic.Int64
		opts := nearcache.Options[string]{
			Tags:  func(key, _ string) []string { return []string{"tag of " + key} },
			Clone: func(v string) string { copies.Add(1); return v }, NotFoundTTL: time.Minute,
		}
		a := f.join(opts)
		stored(t, a, 2, strings.Repeat("v", 100))
		_, err := a.Fetch(t.Context(), "none", func(context.Context, string) (string, error) { return "", nearcache.ErrNotFound })
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		hottest := a.HottestKeys(10)
		assert.ElementsMatch(t, []string{"k0", "k1", "none"}, hottest)
		b := f.join(opts)
		before := copies.Load()
		got, err := b.Warm(t.Context(), hottest, nearcache.WarmOptions{})
		require.NoError(t, err)
		assert.Equal(t, nearcache.WarmResult{Warmed: 2, Absent: 1}, got)
		assert.Equal(t, before, copies.Load())
		reads := f.store.reads.Load()
		_, err = b.Get(t.Context(), "none")
		require.ErrorIs(t, err, nearcache.ErrNegative)
		fetchesKey(t, b, "k1", strings.Repeat("v", 100), none)
		assert.Equal(t, reads, f.store.reads.Load())

		require.NoError(t, a.InvalidateTags(t.Context(), "tag of k0"))
		settle()
		_, err = b.Get(t.Context(), "k0")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		got, err = b.Warm(t.Context(), hottest, nearcache.WarmOptions{})
		require.NoError(t, err)
		assert.Equal(t, nearcache.WarmResult{Near: 2, Absent: 1}, got)
	})
}

// TestWarm_ItsReadEndsWithItsContext: what was under way counts as left, and others who wait for it
// get it.
func TestWarm_ItsReadEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		keys := stored(t, f.join(), 10, "v")
		b := f.join()
		var held atomic.Bool
		held.Store(true)
		f.store.onBefore(func(ctx context.Context, op, _ string) error {
			if op == "read" && held.Load() {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		done := make(chan error)
		go func() {
			got, err := b.Warm(ctx, keys, nearcache.WarmOptions{})
			assert.Equal(t, nearcache.WarmResult{Left: 10}, got)
			done <- err
		}()
		synctest.Wait()
		held.Store(false)
		fetchesKey(t, b, keys[0], "v", none)
		require.True(t, errors.Is(<-done, context.DeadlineExceeded))
		f.store.onBefore(nil)
	})
}
