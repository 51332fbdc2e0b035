package telemetry

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestHistogram: a bound belongs to its bucket, and what is longer than all has one of its own.
func TestHistogram(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{-time.Second, 0, 100 * time.Microsecond, 100*time.Microsecond + 1, 10 * time.Second, time.Hour} {
		h.Observe(d)
	}
	c := h.Counts()
	assert.Equal(t, uint64(3), c.Buckets[0])
	assert.Equal(t, uint64(1), c.Buckets[1])
	assert.Equal(t, uint64(1), c.Buckets[len(Bounds)-1])
	assert.Equal(t, uint64(1), c.Buckets[len(Bounds)])
	assert.Equal(t, 200*time.Microsecond+1+10*time.Second+time.Hour, c.Sum)
	assert.Zero(t, testing.AllocsPerRun(100, func() { h.Observe(time.Second) }))
}

func BenchmarkHistogram(b *testing.B) {
	var h Histogram
	for b.Loop() {
		h.Observe(3 * time.Millisecond)
	}
}
