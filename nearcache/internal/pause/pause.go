// Package pause says how long whoever asks again waits between two attempts.
package pause

import (
	"context"
	"math/rand/v2"
	"time"
)

// least is the first pause.
const least = time.Millisecond

// After returns a pause of a twentieth of the time waited at most, or 1 ms, jittered
// downwards so that nodes do not ask in step.
func After(waited time.Duration) time.Duration {
	p := max(least, waited/20)
	return p - rand.N(p/4)
}

// Sleep waits for d, or until ctx ends, whose error it returns then.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
