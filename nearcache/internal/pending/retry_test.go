package pending

import (
	"context"
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
		attempts, left := 0, 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			Retry(ctx, added, restored, func(context.Context) (int, bool) {
				attempts++
				return left, left > 0
			})
		}()
		time.Sleep(time.Hour)
		assert.Equal(t, 1, attempts)
		left = 1
		added <- struct{}{}
		time.Sleep(longestPause)
		assert.InDelta(t, 7, attempts, 2)
		attempts = 0
		time.Sleep(100 * longestPause)
		assert.InDelta(t, 114, attempts, 15)
		left = 0
		restored <- struct{}{}
		time.Sleep(time.Hour)
		attempts = 0
		time.Sleep(time.Hour)
		assert.Zero(t, attempts)
		cancel()
		<-done
	})
}
