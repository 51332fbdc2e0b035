package pending

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	firstPause   = 50 * time.Millisecond
	longestPause = 2 * time.Second
)

// Retry calls deliver for as long as invalidations are left, with pauses that grow while it
// fails. It begins when added has a signal, and tries at once when restored has one. It ends
// with ctx.
func Retry(ctx context.Context, added, restored <-chan struct{}, deliver func(ctx context.Context) (left int, failed bool)) {
	pause := firstPause
	for {
		left, failed := deliver(ctx)
		switch {
		case left == 0:
			pause = firstPause
			select {
			case <-ctx.Done():
				return
			case <-added:
			}
		case failed:
			timer := time.NewTimer(pause - rand.N(pause/4))
			select {
			case <-ctx.Done():
			case <-timer.C:
				pause = min(2*pause, longestPause)
			case <-restored:
				pause = firstPause
			}
			timer.Stop()
			if ctx.Err() != nil {
				return
			}
		default:
			pause = firstPause
		}
	}
}
