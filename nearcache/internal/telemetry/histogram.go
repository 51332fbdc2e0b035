package telemetry

import (
	"slices"
	"sync/atomic"
	"time"
)

// Bounds are the upper bounds of the buckets of every [Histogram], each included; one more
// bucket has what is longer.
var Bounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Histogram counts durations by how long they are. The zero Histogram is empty and ready, and
// takes up next to no room until the first duration: a cache has many and may need few. It
// is safe for use by many goroutines; taking in a duration costs two atomic additions.
type Histogram struct {
	of atomic.Pointer[buckets] // nil before the first duration
}

type buckets struct {
	counts [len(Bounds) + 1]atomic.Uint64
	sum    atomic.Int64 // ns
}

// Observe takes in a duration. A negative one counts as 0.
func (h *Histogram) Observe(d time.Duration) {
	if h.of.Load() == nil {
		h.of.CompareAndSwap(nil, new(buckets))
	}
	b, d := h.of.Load(), max(d, 0)
	i, _ := slices.BinarySearch(Bounds[:], d)
	b.counts[i].Add(1)
	b.sum.Add(int64(d))
}

// Counts is what a [Histogram] has counted: by bucket, the last one what is longer than all
// bounds, and the sum of all durations.
type Counts struct {
	Buckets [len(Bounds) + 1]uint64
	Sum     time.Duration
}

// Counts returns what was counted. Buckets are read one by one.
func (h *Histogram) Counts() (c Counts) {
	b := h.of.Load()
	if b == nil {
		return c
	}
	for i := range b.counts {
		c.Buckets[i] = b.counts[i].Load()
	}
	c.Sum = time.Duration(b.sum.Load())
	return c
}
