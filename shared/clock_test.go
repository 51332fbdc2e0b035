package shared_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
)

// deadline returns the deadline of the latest write, less the server's clock
// now.
func (s *server) deadline() time.Duration {
	return s.writes[0].NotAfter.Sub(time.Now().Add(s.ahead))
}

func TestClock_IsAskedForOnce(t *testing.T) {
	server := newServer()
	tier := newTier(t, server, shared.Options{})
	for range 2 {
		require.NoError(t, tier.Set(t.Context(), "key", []byte("v"), 0))
		_, err := tier.Get(t.Context(), "key")
		require.NoError(t, err)
	}
	assert.Equal(t, []string{"time", "write", "read", "write", "read"}, server.calls)
}

func TestClock_OfAnotherTime(t *testing.T) {
	for name, ahead := range map[string]time.Duration{
		"the same": 0, "an hour ahead": time.Hour, "an hour behind": -time.Hour, "years behind": -20 * 365 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer()
				server.ahead = ahead
				tier := newTier(t, server, shared.Options{Timeout: 5 * time.Second})
				for range 3 {
					require.NoError(t, tier.Set(t.Context(), "key", []byte("v"), 0))
					assert.Equal(t, 5*time.Second, server.deadline())
					time.Sleep(time.Hour)
				}
				assert.Zero(t, tier.Stats().TooLate)
			})
		})
	}
}

// TestClock_NewestIsNeverPassed: the number is that of the server's clock or a
// little more, however slow its answers are.
func TestClock_NewestIsNeverPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer()
		server.ahead = -time.Hour
		tier := newTier(t, server, shared.Options{Timeout: 5 * time.Second})
		server.way, server.back = 300*time.Millisecond, 200*time.Millisecond
		for range 3 {
			require.NoError(t, tier.Set(t.Context(), "key", []byte("v"), 0))
			now := time.Now().Add(server.ahead)
			assert.Greater(t, tier.Newest("key"), uint64(now.UnixMicro()))
			assert.LessOrEqual(t, tier.Newest("key"), uint64(now.Add(server.way).UnixMicro())+1)
			time.Sleep(time.Hour)
		}
	})
}

// TestClock_NewestOfAFasterClock: the server's clock was set forward, or runs
// faster than ours. The number is not passed by those that the server gives.
func TestClock_NewestOfAFasterClock(t *testing.T) {
	for _, gains := range []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			server := newServer()
			server.way, server.back = 30*time.Millisecond, 20*time.Millisecond
			tier := newTier(t, server, shared.Options{Timeout: 5 * time.Second})
			for range 5 {
				require.NoError(t, tier.Set(t.Context(), "key", []byte("v"), 0))
				assert.Greater(t, tier.Newest("key"), uint64(time.Now().Add(server.ahead).UnixMicro()), gains)
				time.Sleep(time.Hour)
				server.ahead += gains
			}
		})
	}
}

// TestClock_DeadlineIsNeverLate has answers that tell the time of long ago, or
// that were long on their way to the server.
func TestClock_DeadlineIsNeverLate(t *testing.T) {
	for name, c := range map[string]struct{ way, back, tooEarly time.Duration }{
		"both at once":     {0, 0, 0},
		"slow there":       {200 * time.Millisecond, 0, 0},
		"slow back":        {0, 200 * time.Millisecond, 200 * time.Millisecond},
		"slow both ways":   {50 * time.Millisecond, 100 * time.Millisecond, 100 * time.Millisecond},
		"slower than fast": {300 * time.Millisecond, time.Millisecond, time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer()
				server.ahead, server.way, server.back = time.Minute, c.way, c.back
				tier := newTier(t, server, shared.Options{Timeout: 2 * time.Second})
				sent := time.Now()
				require.NoError(t, tier.Set(t.Context(), "key", []byte("v"), 0))
				end := server.writes[0].NotAfter.Add(-server.ahead)
				assert.Equal(t, sent.Add(2*time.Second-c.tooEarly), end)
			})
		})
	}
}

// TestClock_LearnsFromFastAnswers: one slow answer says little, the next fast
// one says all, and a slow one after it takes nothing away.
func TestClock_LearnsFromFastAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer()
		server.back = 300 * time.Millisecond
		tier := newTier(t, server, shared.Options{Timeout: 2 * time.Second})
		write := func() time.Duration {
			sent := time.Now()
			require.NoError(t, tier.Set(t.Context(), "key", []byte("v"), 0))
			return server.writes[0].NotAfter.Sub(sent)
		}
		assert.Equal(t, 1700*time.Millisecond, write())
		server.back = 0
		assert.Equal(t, 1700*time.Millisecond, write())
		assert.Equal(t, 2*time.Second, write())
		server.back = 300 * time.Millisecond
		assert.Equal(t, 2*time.Second, write())
		assert.Equal(t, 2*time.Second, write())
	})
}

func TestClock_LearnsFromLeasesAndFills(t *testing.T) {
	for name, call := range map[string]func(context.Context, *shared.Tier) error{
		"lease": func(ctx context.Context, tier *shared.Tier) error {
			return tier.Acquire(ctx, claims("key", 1))[0].Err
		},
		"fill": func(ctx context.Context, tier *shared.Tier) error { return tier.Release(ctx, claims("none", 1))[0] },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer()
				server.back = 300 * time.Millisecond
				tier := newTier(t, server, shared.Options{Timeout: 2 * time.Second})
				_, err := tier.Get(t.Context(), "key")
				require.ErrorIs(t, err, shared.ErrNotFound)
				server.back = 0
				require.NoError(t, call(t.Context(), tier))
				require.NoError(t, tier.Set(t.Context(), "key", nil, 0))
				assert.Equal(t, 2*time.Second, server.deadline())
			})
		})
	}
}

// TestClock_SetBack: one write has a deadline that is too late, because nobody
// can know; its answer tells.
func TestClock_SetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer()
		tier := newTier(t, server, shared.Options{Timeout: 2 * time.Second})
		require.NoError(t, tier.Set(t.Context(), "key", []byte("v"), 0))
		server.ahead = -time.Hour
		require.NoError(t, tier.Set(t.Context(), "key", []byte("v"), 0))
		assert.Equal(t, time.Hour+2*time.Second, server.deadline())
		require.NoError(t, tier.Set(t.Context(), "key", []byte("v"), 0))
		assert.Equal(t, 2*time.Second, server.deadline())
	})
}

// TestClock_SetForward: the write is refused as late although it is not, and
// is sent once more with what the refusal told.
func TestClock_SetForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer()
		tier := newTier(t, server, shared.Options{Timeout: 2 * time.Second})
		require.NoError(t, tier.Set(t.Context(), "key", []byte("v"), 0))
		server.ahead, server.calls = time.Hour, nil
		require.NoError(t, tier.Set(t.Context(), "key", []byte("new"), 2*time.Hour))
		assert.Equal(t, []string{"write", "write"}, server.calls)
		assert.Equal(t, 2*time.Second, server.deadline())
		got, err := tier.Get(t.Context(), "key")
		require.NoError(t, err)
		assert.Equal(t, "new", string(got))
		assert.EqualValues(t, 1, tier.Stats().TooLate)
	})
}

func TestClock_ServerThatDoesNotTellIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer()
		server.silent, server.ahead = true, time.Minute
		tier := newTier(t, server, shared.Options{Timeout: 2 * time.Second})
		for range 3 {
			require.NoError(t, tier.Set(t.Context(), "key", []byte("v"), 0))
			assert.Equal(t, 2*time.Second, server.deadline())
			time.Sleep(time.Minute)
		}
	})
}
