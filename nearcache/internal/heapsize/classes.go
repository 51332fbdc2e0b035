package heapsize

import (
	"math"
	"runtime/metrics"
	"slices"
	"sync"
)

const (
	page = 8 << 10 // of which larger pieces are made

	tiny = 16 // smaller pieces without pointers share one of this size

	// headed is from which size on a piece with pointers has a header.
	headed = 512
	header = 8
)

// classes are the sizes of the pieces that the allocator has, in order. The runtime tells them as
// the bounds of a histogram; without that, there are none, and sizes stay as they are.
var classes = sync.OnceValue(func() (sizes []int64) {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs-by-size:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return nil
	}
	for _, bound := range sample[0].Value.Float64Histogram().Buckets {
		if bound > 1 && !math.IsInf(bound, 1) { // a bound is the first size that does not fit
			sizes = append(sizes, int64(bound)-1)
		}
	}
	return sizes
})

// Piece returns what a piece of memory of this size takes of the heap, with or without pointers
// in it.
func Piece(size uintptr, pointers bool) int64 {
	n := int64(min(size, math.MaxInt32))
	switch {
	case !pointers && n < tiny:
		return n
	case pointers && n > headed:
		n += header
	}
	all := classes()
	if at, _ := slices.BinarySearch(all, n); at < len(all) {
		return all[at]
	}
	return (n + page - 1) / page * page
}
