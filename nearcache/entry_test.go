package nearcache

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
)

func TestEntry_HasACopyOfItsKey(t *testing.T) {
	for _, n := range []int{1, 15, 16, 17, 32, 33, 64, 65, 1024} {
		key := []byte(strings.Repeat("k", n))
		e := newNamed[int](unsafe.String(&key[0], n))
		key[0] = 'x' // as if the caller's memory were used again
		assert.Equal(t, strings.Repeat("k", n), e.Key())
	}
}

func TestEntry_FillsCacheLines(t *testing.T) {
	const line, key = 64, 16
	assert.EqualValues(t, 2*line, unsafe.Sizeof(entry[[]byte]{})+key)
	assert.EqualValues(t, 3*line, unsafe.Sizeof(entry[[88]byte]{})+key)
}
