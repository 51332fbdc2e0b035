package shared_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// broken is a tier whose breaker opens after three calls.
func broken(t *testing.T) (*flaky, *shared.Tier) {
	t.Helper()
	store := newFlaky()
	tier := newTier(t, store, shared.Options{BreakAfter: 3, BreakFor: 5 * time.Second, Attempts: 1})
	require.NoError(t, tier.Set(t.Context(), "key", []byte("v"), 0))
	store.attempts = 0
	return store, tier
}

// fail makes a call that fails with err.
func fail(t *testing.T, store *flaky, tier *shared.Tier, err error) {
	t.Helper()
	store.lost = []error{err}
	_, got := tier.Get(t.Context(), "key")
	require.ErrorIs(t, got, err)
}

func TestBreaker_OpensAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, tier := broken(t)
		for range 2 {
			fail(t, store, tier, errRefused)
		}
		_, err := tier.Get(t.Context(), "key")
		require.NoError(t, err, "it takes three in a row")
		for range 3 {
			assert.False(t, tier.Stats().Open)
			fail(t, store, tier, errRefused)
		}
		assert.True(t, tier.Stats().Open)
		store.attempts = 0
		for method, err := range everyMethod(t.Context(), tier, "key") {
			assert.ErrorIs(t, err, shared.ErrOpen, method)
		}
		assert.Zero(t, store.attempts, "nothing was sent")
		stats := tier.Stats()
		assert.EqualValues(t, 1, stats.Opened)
		assert.EqualValues(t, len(everyMethod(t.Context(), tier, "key")), stats.Refused)
		require.NoError(t, tier.Tail(t.Context(), []driver.TailRead{{Limit: 1}})[0].Err, "the journal is read all the same")

		time.Sleep(5*time.Second + 1)
		fail(t, store, tier, errRefused)
		_, err = tier.Get(t.Context(), "key")
		require.ErrorIs(t, err, shared.ErrOpen, "one probe that failed opens it again")
		assert.EqualValues(t, 2, tier.Stats().Opened)

		time.Sleep(5*time.Second + 1)
		value, err := tier.Get(t.Context(), "key")
		require.NoError(t, err)
		assert.Equal(t, "v", string(value))
		assert.False(t, tier.Stats().Open)
		require.NoError(t, tier.Set(t.Context(), "key", nil, 0))
	})
}

// TestBreaker_OneProbe: the others do not wait for it.
func TestBreaker_OneProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer()
		tier := newTier(t, server, shared.Options{BreakAfter: 1, Attempts: 1})
		require.NoError(t, tier.Set(t.Context(), "key", nil, 0))
		server.fails["read"] = errRefused
		_, err := tier.Get(t.Context(), "key")
		require.Error(t, err)
		time.Sleep(time.Second + 1)
		server.fails["read"], server.way = nil, 100*time.Millisecond
		probe := make(chan error, 1)
		go func() {
			_, err := tier.Get(t.Context(), "key")
			probe <- err
		}()
		synctest.Wait()
		began := time.Now()
		_, err = tier.Get(t.Context(), "key")
		require.ErrorIs(t, err, shared.ErrOpen)
		assert.Zero(t, time.Since(began))
		require.NoError(t, <-probe)
		_, err = tier.Get(t.Context(), "key")
		require.NoError(t, err)
	})
}

// slowToTell is a context that has a deadline and does not tell yet that it has
// passed: that of a socket often passes a moment before.
type slowToTell struct {
	context.Context
	end time.Time
}

func (s slowToTell) Deadline() (time.Time, bool) { return s.end, true }

// TestBreaker_WhatCounts: a server that answers is not down, whatever it says,
// and of a caller who leaves nothing follows.
func TestBreaker_WhatCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, tier := broken(t)
		for range 5 {
			fail(t, store, tier, errors.New("NOPERM"))
			require.ErrorIs(t, fill(t, tier, put("key")).Err, shared.ErrLeaseLost)
		}
		for range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			store.lost = []error{context.Canceled}
			cancel()
			_, err := tier.Get(ctx, "key")
			require.ErrorIs(t, err, context.Canceled)
		}
		for range 5 {
			store.lost = []error{context.DeadlineExceeded}
			_, err := tier.Get(slowToTell{t.Context(), time.Now()}, "key")
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		assert.False(t, tier.Stats().Open)
		store.lost = nil
		for range 2 {
			fail(t, store, tier, errRefused)
		}
		store.lost = []error{errRefused, nil}
		tier.Write(t.Context(), []shared.Put{put("a"), put("b")})
		assert.False(t, tier.Stats().Open, "one of the servers answered")
		for range 2 {
			fail(t, store, tier, errRefused)
		}
		store.lost = []error{errRefused, errTimeout}
		tier.Write(t.Context(), []shared.Put{put("a"), put("b")})
		assert.True(t, tier.Stats().Open)
	})
}

// TestBreaker_Callers: a caller who leaves while the server is slow is no
// failure; Options.Timeout is.
func TestBreaker_Callers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := newTier(t, &detached{server: newServer()}, shared.Options{BreakAfter: 2, Attempts: 1})
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			require.ErrorIs(t, tier.Set(ctx, "key", nil, 0), context.DeadlineExceeded)
			cancel()
		}
		assert.False(t, tier.Stats().Open)
		for range 2 {
			require.ErrorIs(t, tier.Set(t.Context(), "key", nil, 0), context.DeadlineExceeded)
		}
		assert.True(t, tier.Stats().Open)
	})
}

// TestBreaker_AProbeThatSaysNothing leaves room for another.
func TestBreaker_AProbeThatSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, tier := broken(t)
		for range 3 {
			fail(t, store, tier, errRefused)
		}
		time.Sleep(5*time.Second + 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		store.leave = cancel
		_, err := tier.Get(ctx, "key")
		require.ErrorIs(t, err, context.Canceled)
		store.leave = nil
		_, err = tier.Get(t.Context(), "key")
		require.NoError(t, err)
	})
}

type panicking struct{ *flaky }

func (panicking) Read(context.Context, []string) ([][]byte, error) { panic("store") }

func TestBreaker_StoreThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := newTier(t, panicking{newFlaky()}, shared.Options{BreakAfter: 1})
		assert.Panics(t, func() { _, _ = tier.Get(t.Context(), "key") })
		_, err := tier.Get(t.Context(), "key")
		require.ErrorIs(t, err, shared.ErrOpen)
		time.Sleep(time.Second + 1)
		assert.Panics(t, func() { _, _ = tier.Get(t.Context(), "key") }, "the place of the probe was given back")
		time.Sleep(time.Second + 1)
		require.NoError(t, tier.Set(t.Context(), "key", nil, 0))
	})
}

// TestBreaker_None is the default.
func TestBreaker_None(t *testing.T) {
	store := newFlaky()
	tier := newTier(t, store, shared.Options{Attempts: 1})
	require.NoError(t, tier.Set(t.Context(), "key", nil, 0))
	for range 100 {
		fail(t, store, tier, errRefused)
	}
	assert.False(t, tier.Stats().Open)
}
