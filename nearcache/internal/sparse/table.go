// Package sparse keeps what is known of the slots of tags: in little room for a few slots, and
// in an array for many. It knows neither tags nor what is kept.
package sparse

import (
	"iter"
	"sync/atomic"
	"unsafe"
)

// Slots is the number of slots that tags are folded into.
const Slots = 1 << 16

// Smallest is the least number of places of a Table.
const Smallest = 8

// Table has places for a number of slots, each with a T. It is a hash table with open addressing.
// The hash of a slot is its number, since tags were hashed into slots already. A table of Slots
// places is an array: each slot has the place of its number.
//
// The number of places does not change: the owner of a table that is full makes a larger one,
// which may be published by an atomic pointer. Find may run beside Take, without a lock. Takes
// take turns. A T that both change has to be atomic.
type Table[T any] struct {
	keys   keys // nil in an array
	values []T  // by place
	taken  int
}

// keys has one more than the slot, by place; 0 if the place is free. What a place is taken for
// does not change, and a quarter of them is free, so every search ends.
type keys []atomic.Uint32

// New returns a table of so many places: a power of two from Smallest to Slots.
func New[T any](size int) *Table[T] {
	t := &Table[T]{values: make([]T, size)}
	if size < Slots {
		t.keys = make([]atomic.Uint32, size)
	}
	return t
}

// Bytes returns what a table of so many places takes; 0 for none.
func Bytes[T any](size int) int64 {
	var t Table[T]
	var value T
	one := int64(unsafe.Sizeof(value))
	switch {
	case size == 0:
		return 0
	case size < Slots:
		one += int64(unsafe.Sizeof(t.keys[0]))
	}
	return int64(unsafe.Sizeof(t)) + int64(size)*one
}

// Size returns the number of places; 0 of nil.
func (t *Table[T]) Size() int {
	if t == nil {
		return 0
	}
	return len(t.values)
}

// Find returns what is kept of a slot, nil if nothing is.
func (t *Table[T]) Find(slot uint32) *T {
	if t == nil {
		return nil
	}
	slot %= Slots
	place, found := slot, true
	if t.keys != nil {
		place, found = t.keys.search(slot)
	}
	if !found {
		return nil
	}
	return &t.values[place]
}

// search returns where a slot is, or would be.
func (k keys) search(slot uint32) (place uint32, found bool) {
	last := uint32(len(k) - 1)
	for place = slot & last; ; place = (place + 1) & last {
		if key := k[place].Load(); key == 0 || key == slot+1 {
			return place, key != 0
		}
	}
}

// Highest returns the highest number of these slots, 0 if they have none. It is Find for those
// whose time counts.
func Highest(t *Table[atomic.Uint32], slots []uint32) (highest uint32) {
	keys, values := t.keys, t.values
	for _, slot := range slots {
		slot %= Slots
		place, found := slot, true
		if keys != nil {
			place, found = keys.search(slot)
		}
		if found {
			highest = max(highest, values[place].Load())
		}
	}
	return highest
}

// Take returns what is kept of a slot, and begins to keep the zero T if nothing is. It returns
// nil if that takes a larger table.
func (t *Table[T]) Take(slot uint32) *T {
	if found := t.Find(slot); found != nil || t == nil {
		return found
	}
	if 4*(t.taken+1) > 3*len(t.keys) {
		return nil
	}
	t.taken++
	slot %= Slots
	place, _ := t.keys.search(slot)
	t.keys[place].Store(slot + 1)
	return &t.values[place]
}

// All returns the slots of which something is kept, and that; all slots of an array.
func (t *Table[T]) All() iter.Seq2[uint32, *T] {
	return func(yield func(uint32, *T) bool) {
		for place := range t.Size() {
			slot := uint32(place)
			if t.keys != nil {
				key := t.keys[place].Load()
				if key == 0 {
					continue
				}
				slot = key - 1
			}
			if !yield(slot, &t.values[place]) {
				return
			}
		}
	}
}
