package nearcache

import (
	"strconv"
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
	for size, most := range map[uintptr]uintptr{unsafe.Sizeof(entry[[]byte]{}): 2 * line, unsafe.Sizeof(entry[[88]byte]{}): 3 * line} {
		assert.LessOrEqual(t, size+key, most)
		if strconv.IntSize == 64 { // otherwise a pointer is shorter
			assert.Equal(t, most, size+key)
		}
	}
}
