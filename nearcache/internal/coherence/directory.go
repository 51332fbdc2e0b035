package coherence

import (
	"hash/maphash"
	"slices"
	"sync/atomic"
)

// directory has the caches of a node by name. What a cache costs that joins does not depend on how
// many there are, on average over all that join; one that leaves costs a walk through all. A
// look takes no lock.
type directory struct {
	seed maphash.Seed

	// places is a hash table with open addressing: a cache is at the place of its hash, or at
	// the first free one after that. Two thirds of the places are taken at most, so every
	// search ends. A place that is taken does not change; a larger table takes the place of
	// the whole one.
	places atomic.Pointer[[]atomic.Pointer[Keyspace]]

	list atomic.Pointer[[]*Keyspace] // in the order in which they joined

	changes atomic.Uint64 // how often one joined or left; counted after that
}

const smallestDirectory = 8 // places; a power of two, as all sizes are

func (d *directory) init() {
	d.seed = maphash.MakeSeed()
	d.places.Store(new(make([]atomic.Pointer[Keyspace], smallestDirectory)))
	d.list.Store(new([]*Keyspace))
}

// find returns the cache of a name, nil if there is none.
func (d *directory) find(name string) *Keyspace {
	_, k := d.place(*d.places.Load(), name)
	return k
}

// place returns where a name is among places, or would be, and the cache that was there: nil if none
// was. Another cache may have taken the place since.
func (d *directory) place(places []atomic.Pointer[Keyspace], name string) (int, *Keyspace) {
	last := uint64(len(places) - 1)
	for at := maphash.String(d.seed, name) & last; ; at = (at + 1) & last {
		if k := places[at].Load(); k == nil || k.Name == name {
			return int(at), k
		}
	}
}

// all returns all caches in the order in which they joined. Nobody may change the slice.
func (d *directory) all() []*Keyspace { return *d.list.Load() }

// add takes in a cache of a name that no other has. Callers take turns.
func (d *directory) add(k *Keyspace) {
	all := append(d.all(), k) // where those who have the shorter list do not look
	if places := *d.places.Load(); 3*len(all) > 2*len(places) {
		d.grow(2 * len(places))
	}
	places := *d.places.Load()
	at, _ := d.place(places, k.Name)
	places[at].Store(k)
	d.list.Store(&all)
	d.changes.Add(1)
}

// remove takes a cache out, and reports whether it was in. Callers take turns, also with those of add.
func (d *directory) remove(k *Keyspace) bool {
	if d.find(k.Name) != k {
		return false
	}
	all := slices.DeleteFunc(slices.Clone(d.all()), func(other *Keyspace) bool { return other == k })
	d.list.Store(&all)
	d.grow(len(*d.places.Load())) // a place that is taken does not change
	d.changes.Add(1)
	return true
}

// grow makes a table of so many places.
func (d *directory) grow(size int) {
	places := make([]atomic.Pointer[Keyspace], size)
	for _, k := range d.all() {
		at, _ := d.place(places, k.Name)
		places[at].Store(k)
	}
	d.places.Store(&places)
}
