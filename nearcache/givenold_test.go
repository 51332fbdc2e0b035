package nearcache_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

// givesOld is a cache that keeps old values, after its value of "k" has come to its end.
func givesOld(t *testing.T, opts nearcache.Options[string], test func(t *testing.T, f *fleet, m *member, lines func() []string)) {
	t.Helper()
	logged(t, true, func(t *testing.T, f *fleet, m *member, lines func() []string) {
		require.NoError(t, m.Set(t.Context(), "k", "old"))
		time.Sleep(time.Minute + time.Second)
		requireSilent(t, lines)
		test(t, f, m, lines)
	}, opts)
}

// requireLine requires that one line was logged.
func requireLine(t *testing.T, lines func() []string, want string) {
	t.Helper()
	got := lines()
	require.Len(t, got, 1, got)
	require.Regexp(t, want, got[0])
}

// TestGivenOld_LoaderFails: while loads fail and old values are given, that is one line for
// the cache, with nothing of what the loader said, and one line when loads succeed again.
func TestGivenOld_LoaderFails(t *testing.T) {
	for want, load := range map[string]func(context.Context, string) (string, error){
		"the loader returned an error": func(context.Context, string) (string, error) { return "", errors.New("secret") },
		"the loader did not return in time": func(ctx context.Context, _ string) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		},
	} {
		givesOld(t, keeping, func(t *testing.T, _ *fleet, m *member, lines func() []string) {
			for range 2 {
				for range 100 {
					fetches(t, m, "old", load)
					time.Sleep(300 * time.Millisecond)
				}
				requireLine(t, lines, `^level=WARN msg="nearcache: old values are given, because loads fail" cache=users reason="`+want+`"$`)
				began := time.Now()
				time.Sleep(2 * time.Minute)
				_, err := m.Fetch(t.Context(), "other", is("v"))
				require.NoError(t, err)
				requireLine(t, lines, `^level=INFO msg="nearcache: loads succeed again" cache=users after=`)
				require.NoError(t, m.Invalidate(t.Context(), "k", "other"))
				time.Sleep(time.Until(began.Add(3 * time.Minute)))
			}
		})
	}
}

// TestGivenOld_OneKeyOfMany: one key cannot be loaded, all others can. That is one line.
func TestGivenOld_OneKeyOfMany(t *testing.T) {
	givesOld(t, keeping, func(t *testing.T, _ *fleet, m *member, lines func() []string) {
		for range 600 {
			fetches(t, m, "old", failing)
			require.NoError(t, m.Invalidate(t.Context(), "other"))
			_, err := m.Fetch(t.Context(), "other", is("v"))
			require.NoError(t, err)
			time.Sleep(2 * time.Second)
		}
		requireLine(t, lines, `level=WARN msg="nearcache: old values are given, because loads fail"`)
	})
}

// TestGivenOld_OtherServerFails: who waits for another server's load tells that it failed.
func TestGivenOld_OtherServerFails(t *testing.T) {
	givesOld(t, keeping, func(t *testing.T, f *fleet, m *member, lines func() []string) {
		f.nodeOpts.Logger = nil
		other := f.join(keeping)
		go func() {
			_, _ = other.Fetch(t.Context(), "k", func(context.Context, string) (string, error) {
				time.Sleep(time.Second)
				return "", errDown
			})
		}()
		time.Sleep(100 * time.Millisecond)
		fetches(t, m, "old", none)
		requireLine(t, lines, `reason="another server could not load"$`)
	})
}

// TestGivenOld_Slow: that loads take longer than SoftTimeout is told once none has ended
// well for a while. One that is slow now and then is no news.
func TestGivenOld_Slow(t *testing.T) {
	opts := keeping
	opts.Stale.Timeout = 100 * time.Millisecond
	givesOld(t, opts, func(t *testing.T, _ *fleet, m *member, lines func() []string) {
		for range 5 {
			load, _ := counting("old", 3*time.Second)
			fetches(t, m, "old", load)
			time.Sleep(3 * time.Minute)
		}
		requireSilent(t, lines)
		hangs := func(ctx context.Context, _ string) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}
		for range 20 {
			fetches(t, m, "old", hangs)
			time.Sleep(time.Second)
		}
		requireLine(t, lines, `reason="the loader takes longer than Stale.Timeout"$`)
	})
}

// TestGivenOld_SharedTierDown: that the shared tier is down has a line of its own; loads
// succeed.
func TestGivenOld_SharedTierDown(t *testing.T) {
	givesOld(t, keeping, func(t *testing.T, f *fleet, m *member, lines func() []string) {
		f.store.down()
		for range 20 {
			v, err := m.Get(t.Context(), "k")
			require.NoError(t, err)
			assert.Equal(t, "old", v)
			time.Sleep(2 * time.Second)
		}
		requireLine(t, lines, `msg="nearcache: cannot read the journal"`)
	})
}
