package live

import (
	"sync"
	"time"
)

// edges are the upper ends of the parts of a histogram. What is beyond the last is in the part
// of what never came.
var edges = [...]time.Duration{
	100 * time.Microsecond, 300 * time.Microsecond, time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond,
	30 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond, time.Second, 3 * time.Second, 10 * time.Second,
}

// histogram counts times by length.
type histogram struct {
	mu     sync.Mutex // protects counts
	counts [len(edges) + 1]int64
}

func (h *histogram) add(d time.Duration) {
	part := 0
	for part < len(edges) && d > edges[part] {
		part++
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[part]++
}

func (h *histogram) all() [len(edges) + 1]int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.counts
}
