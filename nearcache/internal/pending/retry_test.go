package pending

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestRetry_Pauses: attempts that fail become rarer, and begin anew once the shared tier is
// back. While nothing is pending, nothing is done.
func TestRetry_Pauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		added, restored := make(chan struct{}, 1), make(chan struct{}, 1)
		var attempts, left atomic.Int64
		done := make(chan struct{})
		go func() {
			defer close(done)
			Retry(ctx, added, restored, func(context.Context) (int, bool) {
				attempts.Add(1)
				return int(left.Load()), left.Load() > 0
			})
		}()
		time.Sleep(time.Hour)
		assert.EqualValues(t, 1, attempts.Load())
		left.Store(1)
		added <- struct{}{}
		time.Sleep(longestPause)
		assert.InDelta(t, 7, attempts.Load(), 2)
		attempts.Store(0)
		time.Sleep(100 * longestPause)
		assert.InDelta(t, 114, attempts.Load(), 15)
		left.Store(0)
		restored <- struct{}{}
		time.Sleep(time.Hour)
		attempts.Store(0)
		time.Sleep(time.Hour)
		assert.Zero(t, attempts.Load())
		cancel()
		<-done
	})
}
