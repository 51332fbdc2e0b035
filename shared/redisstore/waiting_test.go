package redisstore

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/internal/bounded"
)

// untold is a context that does not tell when it ends.
type untold struct{ context.Context }

func (untold) Deadline() (time.Time, bool) { return time.Time{}, false }

// endings are ways for the call of a Tier to end after half a second: with its caller's
// context, which takes no timer of its own, and by itself.
var endings = map[string]func(caller context.Context) *bounded.Context{
	"with its caller": func(caller context.Context) *bounded.Context {
		return bounded.WithTimeout(untold{caller}, 10*time.Hour)
	},
	"by itself": func(caller context.Context) *bounded.Context {
		return bounded.WithTimeout(context.WithoutCancel(caller), time.Second/2)
	},
}

// TestCombiner_WhoWaitsLeavesWithItsCall: a wait that takes no timer is not longer.
func TestCombiner_WhoWaitsLeavesWithItsCall(t *testing.T) {
	for how, begin := range endings {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCombiner(&slowServer{})
				wait := busy(t, c)
				began := time.Now()
				caller, cancel := context.WithTimeout(t.Context(), time.Second/2)
				defer cancel()
				call := begin(caller)
				defer call.Cancel()
				_, err := c.read(call, "k")
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, time.Second/2, time.Since(began))
				wait()
				free(t, c)
			})
		})
	}
}

func TestCombinerOfSteps_WhoWaitsLeavesWithItsCall(t *testing.T) {
	for how, begin := range endings {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWriting(t)
				caller, cancel := context.WithTimeout(t.Context(), time.Second/2)
				defer cancel()
				call := begin(caller)
				defer call.Cancel()
				w.starts(call, "1", w.fails(context.DeadlineExceeded, time.Second/2))
				w.end()
			})
		})
	}
}

// TestCombinerOfSteps_PatienceOverAndUnderWay: whoever cannot go alone any more, because
// another sends its write, leaves when its call ends.
func TestCombinerOfSteps_PatienceOverAndUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWriting(t)
		w.pace.least, w.server.takes = 2*time.Second, 10*time.Second // of those who come now
		long, short := bounded.WithTimeout(t.Context(), time.Minute), bounded.WithTimeout(t.Context(), 3*time.Second)
		defer long.Cancel()
		defer short.Cancel()
		w.starts(long, "1", w.stored("1")) // sends both after a second
		w.starts(short, "2", w.fails(context.DeadlineExceeded, 3*time.Second))
		w.end()
		assert.Equal(t, 1, w.server.sent("2"))
	})
}

// counted is a context that counts the contexts which are derived from it.
type counted struct {
	context.Context
	derived *atomic.Int64
}

func (c counted) Value(key any) any {
	c.derived.Add(1) // [context.WithDeadline] looks for what its parent is
	return c.Context.Value(key)
}

// TestCombiner_WhoWaitsTakesNoTimer: those who share a request wait without timers of their own, also
// if they have less time than the store has patience. Who has hardly any has one.
func TestCombiner_WhoWaitsTakesNoTimer(t *testing.T) {
	for name, c := range map[string]struct {
		first, others time.Duration
		timers        int64
	}{
		"much time":              {time.Hour, time.Hour, 0},
		"less than patience":     {2500 * time.Millisecond, 2490 * time.Millisecond, 0},
		"one who has hardly any": {time.Hour, 5 * time.Millisecond, 3},
		"hardly any in front":    {5 * time.Millisecond, time.Hour, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &slowServer{takes: 100 * time.Millisecond}
				combined := newCombiner(s)
				combined.pace.least = 10 * time.Second
				var busy, waiting sync.WaitGroup
				for range fewReads {
					busy.Go(func() { _, _ = combined.read(t.Context(), "busy") })
				}
				synctest.Wait()
				var derived atomic.Int64
				for i := range 4 {
					time.Sleep(time.Millisecond)
					limit := c.others
					if i == 0 {
						limit = c.first
					}
					call := bounded.WithTimeout(counted{t.Context(), &derived}, limit)
					waiting.Go(func() {
						defer call.Cancel()
						_, err := combined.read(call, "k")
						if limit > time.Second {
							assert.NoError(t, err)
						} else {
							assert.ErrorIs(t, err, context.DeadlineExceeded)
						}
					})
				}
				synctest.Wait()
				assert.Equal(t, c.timers, derived.Load())
				waiting.Wait()
				busy.Wait()
				free(t, combined)
			})
		})
	}
}

// TestCombiner_WhoLooksAtADeadlineStaysPatient: it does not go alone before its patience is over.
func TestCombiner_WhoLooksAtADeadlineStaysPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowServer{takes: time.Minute}
		c := newCombiner(s)
		c.pace.least = 10 * time.Second
		var busy sync.WaitGroup
		for range fewReads {
			busy.Go(func() { _, _ = c.read(t.Context(), "busy") })
		}
		synctest.Wait()
		s.mu.Lock()
		s.takes = time.Second // of those who come now
		s.mu.Unlock()
		call := bounded.WithTimeout(t.Context(), 12*time.Second)
		defer call.Cancel()
		began := time.Now()
		_, err := c.read(call, "k")
		require.NoError(t, err)
		assert.Equal(t, 11*time.Second, time.Since(began))
		busy.Wait()
		free(t, c)
	})
}
