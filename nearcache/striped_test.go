package nearcache

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestStriped(t *testing.T) {
	var s striped
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10_000 {
				s.add()
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 80_000, s.sum())
}

// TestSampled: work that repeats itself does not hide from the samples.
func TestSampled(t *testing.T) {
	const many = 1600
	for _, every := range []uint64{1, 2, 3, 5, 7, 16, 31, 64, 1000, 1 << 20} {
		for first := range min(every, 64) {
			taken := 0
			for i := range uint64(many) {
				if sampled(first + i*every) {
					taken++
				}
			}
			assert.InDelta(t, many/touchEvery, taken, 30, "every %d from %d", every, first)
		}
	}
}
