package near_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/internal/near"
)

func TestClock_ThatNobodyReadsSleeps(t *testing.T) {
	var looks atomic.Int64
	config := near.Config{Wall: func() time.Time { looks.Add(1); return time.Now() }}
	bubble(t, config, func(t *testing.T, tier *near.Tier, s *near.Space) {
		time.Sleep(5 * time.Second)
		looks.Store(0)
		time.Sleep(time.Minute)
		assert.LessOrEqual(t, looks.Load(), int64(61), "one look a second")
		for range 1000 {
			get(s, "a")
			time.Sleep(near.Tick)
		}
		assert.Greater(t, looks.Load(), int64(900), "it ticks while it is read")
		assert.Less(t, tier.Stats().ClockLag, near.Tick)
	})
}

func TestClock_ThatSleepsIsNeverLate(t *testing.T) {
	for name, life := range map[string]time.Duration{"a life": 4 * time.Second, "trust": time.Hour} {
		t.Run(name, func(t *testing.T) {
			bubble(t, near.Config{}, func(t *testing.T, tier *near.Tier, s *near.Space) {
				end := min(life, 5*time.Second) // which is how long an entry is trusted
				time.Sleep(10*time.Second + near.Tick/2)
				for _, key := range []string{"a", "b"} {
					e := entry(tier.Stamp(), 1)
					require.True(t, s.Install(key, s.Hash(key), e.of(key), life, false))
				}
				time.Sleep(end - time.Nanosecond)
				assert.Equal(t, 1, get(s, "a"), "who wakes the clock")
				time.Sleep(2*time.Nanosecond + near.Tick)
				assert.Equal(t, -1, get(s, "a"), "who finds it awake is a tick late at most")
				time.Sleep(2 * time.Second)
				for _, key := range []string{"a", "b"} {
					e := entry(tier.Stamp(), 2)
					require.True(t, s.Install(key, s.Hash(key), e.of(key), life, false))
				}
				time.Sleep(end + 2*time.Nanosecond)
				assert.Equal(t, -1, get(s, "b"), "who wakes it is not late")
			})
		})
	}
}

func TestClock_ThatSleepsNoticesASleepOfTheMachine(t *testing.T) {
	for name, use := range map[string]func(t *testing.T, tier *near.Tier, s *near.Space){
		"before a read": func(t *testing.T, _ *near.Tier, s *near.Space) {
			assert.Equal(t, -1, get(s, "a"))
		},
		"before a write": func(_ *testing.T, _ *near.Tier, s *near.Space) {
			s.Begin("b", s.Hash("b")).Abort()
		},
		"before a record is believed": func(t *testing.T, tier *near.Tier, _ *near.Space) {
			assert.False(t, tier.Confirmed(0, tier.Now()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var slept, jumps atomic.Int64
			bubble(t, near.Config{
				Wall:   func() time.Time { return time.Now().Add(time.Duration(slept.Load())) },
				Jumped: func() { jumps.Add(1) },
			}, func(t *testing.T, tier *near.Tier, s *near.Space) {
				e := entry(tier.Stamp(), 1)
				require.True(t, s.Install("a", s.Hash("a"), e.of("a"), time.Hour, false))
				time.Sleep(5*time.Second + near.Tick/2)
				tier.Confirm(0, tier.Now())
				slept.Store(int64(3 * time.Second))
				use(t, tier, s)
				assert.EqualValues(t, 1, jumps.Load())
			})
		})
	}
}
