package nearcache

import (
	"fmt"
	"math"
	"runtime/debug"
)

const (
	leastNearBytes   = 64 << 10
	defaultNearBytes = 64 << 20

	// memoryShare is which part of GOMEMLIMIT the near tier takes at most if nobody says how much.
	memoryShare = 8
)

// nearBytes returns NodeOptions.NearBytes if that is zero.
func nearBytes() int64 {
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		return min(max(limit/memoryShare, leastNearBytes), defaultNearBytes)
	}
	return defaultNearBytes
}

// SetNearBytes makes bytes what [NodeOptions].NearBytes says, from now on. When it has returned, the
// near tier takes no more than that, and about a 64th: what has to go was given up, on the goroutine of
// the caller, while others read. It may be called at any time, from many goroutines.
//
// Where what is known of tags takes more than half of it, that is forgotten, and tagged values are
// read once more.
//
// The error is that of a bound below 64 KiB, or 444 KiB for a node that began with 16 MiB or more, or
// of one that is more than four times that of the beginning: the index is for as many entries. Which
// entries are read most, of a node that began with 16 MiB or more, is decided for the bytes of then.
//
// A service that shares its memory with others can lower the bound while memory is scarce:
// [runtime/debug.SetMemoryLimit] tells what the runtime is to keep to.
func (n *Node) SetNearBytes(bytes int64) error {
	if least, most := n.core.Near.LeastBytes(), n.core.Near.MostBytes(); bytes < least || bytes > most {
		return fmt.Errorf("nearcache: SetNearBytes: %d is not in %d to %d, four times the NodeOptions.NearBytes of the beginning",
			bytes, least, most)
	}
	n.core.SetNearBytes(bytes)
	return nil
}
