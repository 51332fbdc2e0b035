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
	"github.com/nearbus/nearbus/nearcache/internal/fault"
)

// withTag returns a loader of one value with the tag t.
func withTag(v string) nearcache.Loader[string] {
	return func(context.Context, string, *string) (nearcache.Loaded[string], error) {
		return nearcache.Loaded[string]{Value: v, Tags: []string{"t"}}, nil
	}
}

// requireBoth runs get, which must give the old value without the mechanisms, and with them
// must not.
func requireBoth(t *testing.T, get func(t *testing.T, off fault.Switches) string, out ...fault.Mechanism) {
	t.Helper()
	assert.NotEqual(t, oldValue, get(t, fault.Without()))
	if fault.Compiled {
		assert.Equal(t, oldValue, get(t, fault.Without(out...)), "the test sees what is compared")
	}
}

// TestG4_TagInvalidatedDuringALoad: a load has read the old value when another node
// invalidates its tag, and the message is lost. The load learns the watermark on its
// way, so the journal brings no news of it.
func TestG4_TagInvalidatedDuringALoad(t *testing.T) {
	get := func(t *testing.T, off fault.Switches) (v string) {
		journaled(t, func(t *testing.T, _ *fleet, a, b *member) {
			_, err := a.FetchEntry(t.Context(), "tagged", func(ctx context.Context, key string, _ *string) (nearcache.Loaded[string], error) {
				require.NoError(t, b.InvalidateTags(ctx, "t"))
				return withTag("old")(ctx, key, nil)
			})
			require.NoError(t, err)
			wait(3 * time.Second)
			v, err = a.FetchEntry(t.Context(), "tagged", withTag("new"))
			require.NoError(t, err)
		}, without(off))
		return v
	}
	requireBoth(t, get, fault.Watermarks)
}

// TestHazard12_RefusedAndGiven: a loaded value is refused, because it was set and
// invalidated meanwhile, and is given to its callers. The next load fails: they do not
// get what was kept of the value before.
func TestHazard12_RefusedAndGiven(t *testing.T) {
	get := func(t *testing.T, off fault.Switches) (v string) {
		bubble(t, func(t *testing.T, f *fleet) {
			f.journal, f.off = true, off
			opts := nearcache.Options[string]{Stale: nearcache.Stale{For: time.Hour}}
			a, b := f.join(opts), f.join(opts)
			given, err := a.Fetch(t.Context(), "k", func(ctx context.Context, _ string) (string, error) {
				require.NoError(t, b.Set(ctx, "k", "old"))
				require.NoError(t, b.Invalidate(ctx, "k"))
				settle()
				return "new", nil
			})
			require.NoError(t, err)
			require.Equal(t, "new", given)
			got, _ := a.Read(t.Context(), "k", nearcache.ReadOptions{}, nearcache.ValueLoader(failing))
			v = got.Value
		})
		return v
	}
	requireBoth(t, get, fault.Floors)
}

// TestG2_RefusedValueEndsWhatIsNear: a load spans an invalidation, after which another
// one brings a value near; a second invalidation is not heard of. What the first load
// brings is refused and given, so the value near must not come after it.
func TestG2_RefusedValueEndsWhatIsNear(t *testing.T) {
	get := func(t *testing.T, off fault.Switches) (v string) {
		bubble(t, func(t *testing.T, f *fleet) {
			f.journal, f.off = true, off
			a, b := f.join(), f.join()
			given, err := a.Fetch(t.Context(), "k", func(ctx context.Context, _ string) (string, error) {
				require.NoError(t, b.Invalidate(ctx, "k"))
				settle()
				second, err := a.Fetch(ctx, "k", is("old"))
				require.NoError(t, err)
				require.Equal(t, "old", second)
				a.link.loses.Store(true)
				require.NoError(t, b.Invalidate(ctx, "k"))
				return "new", nil
			})
			require.NoError(t, err)
			require.Equal(t, "new", given)
			v, err = a.Fetch(t.Context(), "k", is("new"))
			require.NoError(t, err)
		})
		return v
	}
	requireBoth(t, get, fault.PassedNews)
}

// TestG2_LoadAfterALongRead: a read of the shared tier hangs. Meanwhile the key is
// invalidated, and another caller's read fails, whose load brings a value near. The first
// read fails as well, and its load brings a later value.
func TestG2_LoadAfterALongRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, nearcache.Options[string]{}, nil, fault.Without())
		var once atomic.Bool
		s.gateA.onBefore(func(context.Context, string, string) error {
			if once.CompareAndSwap(false, true) {
				s.hold()
			}
			return errDown
		})
		var given string
		s.start(func(context.Context) { given = s.later() })
		s.waitFor(s.held)
		s.ok(s.b.Invalidate(t.Context(), "k"))
		settle()
		require.Equal(t, oldValue, s.later())
		requireNear(t, s.a, "k", oldValue)
		s.a.link.loses.Store(true)
		s.has(newValue)
		s.ok(s.b.Invalidate(t.Context(), "k"))
		s.release()
		s.waitFor(s.arrived)
		require.Equal(t, newValue, given)
		assert.Equal(t, newValue, s.later())
	})
}

// TestG2_FillOfAnEarlierLoad: a slow load of another node has read the old value. This
// node waits for it for a lease time, loads the new one by itself, and gives that. Then
// the old one is stored, with the revision of when its load began.
func TestG2_FillOfAnEarlierLoad(t *testing.T) {
	get := func(t *testing.T, off fault.Switches) (v string) {
		bubble(t, func(t *testing.T, f *fleet) {
			f.journal, f.off = true, off
			a, b := f.join(), f.join()
			end, stored := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stored)
				_, _ = b.Fetch(t.Context(), "k", func(context.Context, string) (string, error) { <-end; return "old", nil })
			}()
			synctest.Wait()
			given, err := a.Fetch(t.Context(), "k", is("new"))
			require.NoError(t, err)
			require.Equal(t, "new", given)
			wait(10 * time.Millisecond)
			close(end)
			<-stored
			record, err := b.Get(t.Context(), "k")
			require.NoError(t, err)
			require.Equal(t, "old", record, "its fill is accepted")
			v, err = a.Fetch(t.Context(), "k", is("new"))
			require.NoError(t, err)
		})
		return v
	}
	requireBoth(t, get, fault.Floors)
}

// TestG2_RefreshIsOvertaken: the answer to a refresh is on its way when another read of
// the node finds a later write, which ends soon.
func TestG2_RefreshIsOvertaken(t *testing.T) {
	get := func(t *testing.T, off fault.Switches) (v string) {
		synctest.Test(t, func(t *testing.T) {
			s := newScene(t, refreshOptions, nil, off)
			due(s)
			held("read", (*arrivalScene).fetch)(s)
			s.waitFor(s.held)
			s.deafen()
			s.ok(s.b.SetEntry(t.Context(), "k", nearcache.Entry[string]{Value: newValue, TTL: 100 * time.Millisecond}))
			got, err := s.a.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nil)
			s.ok(err)
			require.Equal(t, newValue, got.Value)
			s.has(newValue)
			wait(200 * time.Millisecond)
			s.release()
			s.waitFor(s.arrived)
			v = s.later()
		})
		return v
	}
	requireBoth(t, get, fault.Overlaps)
}

// TestG4_FirstReadOfAClock: a value was loaded while the shared tier could not be read,
// so without the clock of its cache. Another node clears the cache, the message is
// lost, and the clock is read for the first time, before the journal is.
func TestG4_FirstReadOfAClock(t *testing.T) {
	get := func(t *testing.T, off fault.Switches) (v string) {
		synctest.Test(t, func(t *testing.T) {
			s := newScene(t, nearcache.Options[string]{}, nil, off)
			degraded(s)
			s.waitFor(s.held)
			s.release()
			s.waitFor(s.arrived)
			requireNear(t, s.a, "k", oldValue)
			s.a.link.loses.Store(true)
			s.ok(s.b.Clear(t.Context()))
			s.has(newValue)
			_, _ = s.a.Get(t.Context(), "another")
			wait(1100 * time.Millisecond)
			v = s.later()
		})
		return v
	}
	requireBoth(t, get, fault.CacheMark)
}
