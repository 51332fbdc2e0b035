package redisstore

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

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
