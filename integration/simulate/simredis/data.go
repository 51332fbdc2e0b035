package simredis

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// keyCost is what a key counts for beside its name and its value, in bytes.
const keyCost = 64

// An entry is a key and its value: text, or a stream.
type entry struct {
	key     string
	text    string
	stream  *stream // nil for text
	expires int64   // ms since 1970, 0 for never
	used    int64   // ms since 1970
	place   [2]int  // in the lists of keys
}

func (e *entry) size() int {
	n := keyCost + len(e.key) + len(e.text)
	if e.stream != nil {
		n += e.stream.bytes
	}
	return n
}

// expired reports whether e is gone at a time.
func (e *entry) expired(now int64) bool { return e.expires != 0 && e.expires < now }

// Lists of keys.
const (
	allKeys = iota
	volatileKeys
)

// data is a data set. It keeps keys in an order that does not depend on maps, so that
// chance is that of a seed.
type data struct {
	keys  map[string]*entry
	lists [2][]*entry
	bytes int
}

func newData() *data { return &data{keys: make(map[string]*entry)} }

// put adds e in place of the key of the same name.
func (d *data) put(e *entry) {
	d.remove(e.key)
	d.keys[e.key] = e
	d.bytes += e.size()
	d.list(e, allKeys)
	if e.expires != 0 {
		d.list(e, volatileKeys)
	}
}

// remove takes a key out, and returns whether it was there.
func (d *data) remove(key string) bool {
	e := d.keys[key]
	if e == nil {
		return false
	}
	delete(d.keys, key)
	d.bytes -= e.size()
	d.unlist(e, allKeys)
	if e.expires != 0 {
		d.unlist(e, volatileKeys)
	}
	return true
}

// change has f change the value of e.
func (d *data) change(e *entry, f func(*entry)) {
	before := e.size()
	f(e)
	d.bytes += e.size() - before
}

// expire sets when e expires.
func (d *data) expire(e *entry, at int64) {
	switch {
	case e.expires == 0 && at != 0:
		d.list(e, volatileKeys)
	case e.expires != 0 && at == 0:
		d.unlist(e, volatileKeys)
	}
	e.expires = at
}

func (d *data) list(e *entry, which int) {
	e.place[which] = len(d.lists[which])
	d.lists[which] = append(d.lists[which], e)
}

// unlist puts the last of the list in the place of e.
func (d *data) unlist(e *entry, which int) {
	list := d.lists[which]
	at, last := e.place[which], len(list)-1
	list[at] = list[last]
	list[at].place[which] = at
	list[last] = nil
	d.lists[which] = list[:last]
}

// sample returns the best of a few keys of a list, or nil if there are none; any of all
// if better is nil.
func (d *data) sample(r *rand.Rand, which int, better func(a, b *entry) bool) *entry {
	list := d.lists[which]
	switch {
	case len(list) == 0:
		return nil
	case better == nil:
		return list[r.IntN(len(list))]
	}
	first := 0
	if len(list) > samples {
		first = r.IntN(len(list))
	}
	best := list[first]
	for i := 1; i < min(samples, len(list)); i++ {
		next := i
		if len(list) > samples {
			next = r.IntN(len(list))
		}
		if better(list[next], best) {
			best = list[next]
		}
	}
	return best
}

// samples is how many keys are looked at to evict one: maxmemory-samples.
const samples = 5

// names returns all keys in order.
func (d *data) names() []string { return slices.Sorted(maps.Keys(d.keys)) }

// clone returns a copy that shares nothing that changes.
func (d *data) clone() *data {
	c := newData()
	for _, e := range d.lists[allKeys] {
		c.put(&entry{key: e.key, text: e.text, stream: e.stream.clone(), expires: e.expires, used: e.used})
	}
	return c
}
