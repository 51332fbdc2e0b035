package serverclock_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/nearbus/nearbus/shared/internal/serverclock"
)

// TestClock_AnswerToldLate: the server's clock was set, and an answer of before is told after
// one of since.
func TestClock_AnswerToldLate(t *testing.T) {
	for name, set := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			c := serverclock.New()
			at := func(ms int) time.Time { return time.Now().Add(time.Duration(ms) * time.Millisecond) }
			c.Observe(at(0), at(2), at(1))
			c.Observe(at(20), at(22), at(21).Add(set))
			c.Observe(at(10), at(12), at(11))
			now, known := c.Now()
			assert.True(t, known)
			assert.InDelta(t, set, time.Until(now), float64(time.Minute))
			assert.InDelta(t, set, time.Until(c.AtMost()), float64(time.Minute))
		})
	}
}
