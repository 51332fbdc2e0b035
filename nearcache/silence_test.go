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

// stalls has every call of a kind hang from now on, whatever its context says, until the returned
// function is called.
func (g *gate) stalls(ops ...string) (resume func()) {
	over := make(chan struct{})
	g.onBefore(func(ctx context.Context, op, _ string) error {
		for _, one := range ops {
			if one != op && op != "tail" {
				continue
			}
			select {
			case <-over:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return func() { close(over); g.onBefore(nil) }
}

// took returns how long f took.
func took(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

// TestSilence: while the shared tier says nothing at all, who has a loader does not wait for it.
func TestSilence(t *testing.T) {
	for _, op := range []string{"read", "acquire", "fill"} {
		t.Run(op, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.journal = true
				m := f.join()
				resume := f.store.stalls(op)
				for i, key := range []string{"a", "b", "c"} {
					var v string
					var err error
					waited := took(func() { v, err = m.Fetch(t.Context(), key, is("loaded")) })
					require.NoError(t, err)
					assert.Equal(t, "loaded", v)
					assert.LessOrEqual(t, waited, 61*time.Millisecond, "%d", i)
					if op != "fill" { // of which nobody knows whether it is stored
						requireNear(t, m, key, "loaded")
					}
				}
				assert.Positive(t, m.Stats().Loads.Degraded+m.Stats().Shared.Errors)
				time.Sleep(2 * time.Second) // the calls that hang end
				resume()
				_, err := m.Get(t.Context(), "z")
				require.ErrorIs(t, err, nearcache.ErrNotFound, "the tier answers again")
				_, err = m.Fetch(t.Context(), "d", is("loaded"))
				require.NoError(t, err)
				settle()
				v, err := f.join().Get(t.Context(), "d")
				require.NoError(t, err, "what is loaded is stored again")
				assert.Equal(t, "loaded", v)
			})
		})
	}
}

// TestSilence_OneTries: of many reads while the shared tier is silent, one at a time asks it.
func TestSilence_OneTries(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		m := f.join()
		defer f.store.stalls("read")()
		_, err := m.Fetch(t.Context(), "first", is("v"))
		require.NoError(t, err)
		reads := f.store.reads.Load()
		began := time.Now()
		for time.Since(began) < time.Second {
			go func() { _, _ = m.Fetch(t.Context(), time.Now().String(), is("v")) }()
			time.Sleep(time.Millisecond)
		}
		assert.LessOrEqual(t, f.store.reads.Load()-reads, int64(time.Second/(60*time.Millisecond))+1)
		time.Sleep(time.Second)
	})
}

// TestSilence_SlowIsNotSilent: a server that answers others is waited for.
func TestSilence_SlowIsNotSilent(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		a, m := f.join(), f.join()
		require.NoError(t, a.Set(t.Context(), "slow", "stored"))
		settle()
		f.store.onBefore(func(ctx context.Context, op, key string) error {
			if key == "users:slow" {
				return sleepFor(ctx, 500*time.Millisecond)
			}
			return nil
		})
		stop := make(chan struct{})
		var others atomic.Int64
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
					_, _ = m.Get(t.Context(), "other")
					others.Add(1)
				}
			}
		}()
		v, err := m.Fetch(t.Context(), "slow", none)
		require.NoError(t, err)
		assert.Equal(t, "stored", v)
		assert.Positive(t, others.Load())

		f.store.onBefore(func(ctx context.Context, op, key string) error {
			if key == "users:slower" {
				return sleepFor(ctx, time.Minute)
			}
			return nil
		})
		assert.Equal(t, time.Second, took(func() { // shared.Options.Timeout in all
			v, err := m.Fetch(t.Context(), "slower", is("loaded"))
			require.NoError(t, err)
			assert.Equal(t, "loaded", v)
		}))
		close(stop)
	})
}

// TestSilence_FallsSilent: a server that answered others, and then nobody any more, is not waited for.
func TestSilence_FallsSilent(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		m := f.join()
		f.store.onBefore(func(ctx context.Context, op, key string) error {
			if op == "read" && key != "users:other" {
				return sleepFor(ctx, time.Hour)
			}
			return nil
		})
		go func() {
			time.Sleep(30 * time.Millisecond)
			_, _ = m.Get(t.Context(), "other")
		}()
		waited := took(func() {
			v, err := m.Fetch(t.Context(), "k", is("loaded"))
			require.NoError(t, err)
			assert.Equal(t, "loaded", v)
		})
		assert.LessOrEqual(t, waited, 3*60*time.Millisecond)
		time.Sleep(2 * time.Second) // the call that hangs ends
	})
}

// TestSilence_Usual: a tier that is always slow is not silent for that.
func TestSilence_Usual(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		a, m := f.join(), f.join()
		f.store.onBefore(func(ctx context.Context, op, _ string) error {
			if op == "read" {
				return sleepFor(ctx, 50*time.Millisecond)
			}
			return nil
		})
		for range 100 {
			_, _ = m.Get(t.Context(), "other")
		}
		f.store.onBefore(func(ctx context.Context, op, _ string) error {
			if op == "read" {
				return sleepFor(ctx, 150*time.Millisecond)
			}
			return nil
		})
		require.NoError(t, a.Set(t.Context(), "k", "stored"))
		settle()
		v, err := m.Fetch(t.Context(), "k", none)
		require.NoError(t, err)
		assert.Equal(t, "stored", v)
	})
}

// TestSilence_WithoutALoader: who has no source waits, also for a call that was given up for its load.
func TestSilence_WithoutALoader(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		f.tierOpts = shared.Options{Timeout: time.Second}
		m := f.join()
		resume := f.store.stalls("read")
		go func() {
			time.Sleep(500 * time.Millisecond)
			resume()
		}()
		waited := took(func() {
			_, err := m.Get(t.Context(), "a")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		})
		assert.Equal(t, 500*time.Millisecond, waited)

		defer f.store.stalls("read")()
		load, loads := counting("loaded", time.Second)
		go func() { _, _ = m.Fetch(t.Context(), "b", load) }()
		synctest.Wait()
		v, err := m.Get(t.Context(), "b")
		require.NoError(t, err)
		assert.Equal(t, "loaded", v)
		assert.EqualValues(t, 1, loads.Load())
	})
}

// TestSilence_LeasesAreGivenBack: a lease that was granted when nobody waited for it any more holds up
// nobody.
func TestSilence_LeasesAreGivenBack(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		f.tierOpts = shared.Options{LeaseTTL: 10 * time.Second}
		m, other := f.join(), f.join()
		over := make(chan struct{})
		f.store.onBefore(func(_ context.Context, op, _ string) error {
			if op == "acquire" {
				<-over
			}
			return nil
		})
		_, err := m.Fetch(t.Context(), "k", is("old"))
		require.NoError(t, err)
		f.store.onBefore(nil)
		close(over)
		settle()
		load, loads := counting("new", 0)
		assert.Zero(t, took(func() {
			v, err := other.Fetch(t.Context(), "k", load)
			require.NoError(t, err)
			assert.Equal(t, "new", v)
		}), "nobody has the lease")
		assert.EqualValues(t, 1, loads.Load())
	})
}
