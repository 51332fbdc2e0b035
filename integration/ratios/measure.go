package main

import (
	"runtime"
	"time"
)

// result is how a cache did.
type result struct {
	size    int     // what it was opened with
	misses  float64 // share of all reads
	entries float64 // mean
	heap    float64 // bytes at the end
}

// counts is how often the entries are counted during a run.
const counts = 100

// replay has a new cache read the trace.
func replay(t *trace, who contender, size, value int) (r result, err error) {
	before := heap()
	c, err := who.open(size, value)
	if err != nil {
		return result{}, err
	}
	defer c.close()
	misses, sum := 0, 0
	every := max(1, len(t.reads)/counts)
	for i, number := range t.reads {
		hit, err := c.read(t.keys[number])
		if err != nil {
			return result{}, err
		}
		if !hit {
			misses++
		}
		if i >= len(t.reads)-every*counts/2 && i%every == 0 { // full by then, or never
			sum += c.entries()
		}
	}
	time.Sleep(50 * time.Millisecond) // for those who work in the background
	return result{
		size: size, misses: float64(misses) / float64(len(t.reads)),
		entries: float64(sum) / float64(counts/2), heap: heap() - before,
	}, nil
}

func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// tries is how many sizes are tried, each chosen by what came of the one before.
const tries = 4

// match returns how a contender does with the size at which measure is nearest to want.
func match(t *trace, who contender, size, value int, want float64, measure func(result) float64) (best result, err error) {
	off := func(r result) float64 { return max(measure(r)/want, want/max(measure(r), 1)) }
	for range tries {
		r, err := replay(t, who, size, value)
		if err != nil {
			return result{}, err
		}
		if best.size == 0 || off(r) < off(best) {
			best = r
		}
		if off(best) < 1.01 {
			break
		}
		size = max(1, int(float64(size)*want/max(measure(r), 1)))
	}
	return best, nil
}
