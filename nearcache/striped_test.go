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
