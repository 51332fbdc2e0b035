package nearcache

import (
	"sync/atomic"
	"unsafe"
)

// striped is a counter whose parts lie on cache lines of their own, so that
// processors that count at the same time do not wait for each other.
type striped struct {
	parts [1 << stripeBits]struct {
		n atomic.Uint64
		_ [56]byte
	}
}

const (
	stripeBits = 6
	golden     = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio, as in Knuth's multiplicative hashing
)

// add counts one, and returns how many its part has counted.
//
// A goroutine picks its part by where its stack is, which costs nothing, and
// keeps to it for as long as its stack stays, so that the line of the part
// stays with its processor. (A part picked by chance moves between processors
// all the time.) The address is a number here, never followed.
func (s *striped) add() uint64 {
	var here byte
	at := uint64(uintptr(unsafe.Pointer(&here))) >> 11 // the smallest stack has 2 KiB
	return s.parts[at*golden>>(64-stripeBits)].n.Add(1)
}

func (s *striped) sum() (n uint64) {
	for i := range s.parts {
		n += s.parts[i].n.Load()
	}
	return n
}
