package heapsize

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

const (
	lengthClasses = 28 // each for lengths up to twice those of the one before

	first = 8  // values of a class, all of which are samples,
	every = 64 // and then one of so many

	// memory is how many samples a class remembers at least. Older ones count less and less.
	memory = 256

	one = 1 << 8 // a share of 1
)

// Estimate is what values of one type take of the heap for each byte of their encoding, by
// lengths. Any number of goroutines may use one. The zero Estimate has seen none.
type Estimate struct {
	classes [lengthClasses]class
}

type class struct {
	met   atomic.Uint64 // values
	share atomic.Uint64 // bytes of the heap, for one of the encoding, times one

	mu             sync.Mutex // protects what follows: sums over samples
	samples        uint64
	taken, encoded uint64
	wrong, judged  uint64 // by how much the estimate was wrong, of how much; without the first ones
}

func (e *Estimate) class(length int) *class {
	return &e.classes[min(bits.Len(uint(length)), lengthClasses-1)]
}

// Due says that there is another value whose encoding has this length, and reports whether it is
// to be a sample.
func (e *Estimate) Due(length int) bool {
	n := e.class(length).met.Add(1)
	return n <= first || n%every == 0
}

// Learn takes in that a value whose encoding has this length takes size bytes.
func (e *Estimate) Learn(length int, size int64) { e.class(length).learn(uint64(length), uint64(size)) }

// Size returns about what a value takes of the heap whose encoding has this length. As long as
// there was no sample, the length stands for it.
func (e *Estimate) Size(length int) int64 { return e.class(length).size(uint64(length)) }

func (c *class) size(length uint64) int64 {
	share := c.share.Load()
	if share == 0 {
		return int64(length)
	}
	return int64((length + 1) * share / one)
}

// learn takes in that a value of this encoded length took size bytes.
func (c *class) learn(length, size uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.samples++; c.samples > first {
		guess := uint64(c.size(length))
		c.wrong += max(guess, size) - min(guess, size)
		c.judged += size
	}
	c.taken += size
	c.encoded += length + 1
	if c.samples%memory == 0 {
		c.taken, c.encoded, c.wrong, c.judged = c.taken/2, c.encoded/2, c.wrong/2, c.judged/2
	}
	c.share.Store(max(1, c.taken*one/c.encoded))
}

// Accuracy is how well an Estimate knows its values.
type Accuracy struct {
	Samples uint64
	Share   float64 // bytes of the heap for each of an encoding, on average
	Error   float64 // of the estimate for one value, as a part of its size, on average
}

// Accuracy returns how well e knows its values.
func (e *Estimate) Accuracy() (a Accuracy) {
	var taken, encoded, wrong, judged uint64
	for i := range e.classes {
		c := &e.classes[i]
		c.mu.Lock()
		a.Samples += c.samples
		taken, encoded = taken+c.taken, encoded+c.encoded
		wrong, judged = wrong+c.wrong, judged+c.judged
		c.mu.Unlock()
	}
	if encoded > 0 {
		a.Share = float64(taken) / float64(encoded)
	}
	if judged > 0 {
		a.Error = float64(wrong) / float64(judged)
	}
	return a
}
