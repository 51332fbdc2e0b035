package main

import (
	"cmp"
	"slices"
	"sort"
)

// settle gives answers that there is no value their version: that of the latest
// deletion that can have been known when the read ended. It may have been an
// earlier one, which is not held against the read.
func settle(h *history) {
	if !slices.ContainsFunc(h.lives, func(life []record) bool {
		return slices.ContainsFunc(life, func(r record) bool { return r.absent })
	}) {
		return
	}
	begun := begunWrites(h.lives)
	for _, life := range h.lives {
		for i := range life {
			if r := &life[i]; r.absent {
				r.version = h.deletion(begun[r.key], r.key, r.end)
			}
		}
	}
}

// writes are those of a key, in the order in which they began.
type writes struct {
	list  []record
	known map[int64]bool // versions
}

func begunWrites(lives [][]record) map[uint32]*writes {
	begun := make(map[uint32]*writes)
	for _, life := range lives {
		for i := range life {
			r := &life[i]
			if !written(r) {
				continue
			}
			w := begun[r.key]
			if w == nil {
				w = &writes{known: make(map[int64]bool)}
				begun[r.key] = w
			}
			w.list = append(w.list, *r)
			w.known[r.version] = true
		}
	}
	for _, w := range begun {
		slices.SortFunc(w.list, func(x, y record) int { return cmp.Compare(x.start, y.start) })
		for i := 1; i < len(w.list); i++ { // version becomes the highest so far
			w.list[i].version = max(w.list[i].version, w.list[i-1].version)
		}
	}
	return begun
}

// deletion returns the latest version at a time that says that there is no
// value, or -1. A process that was killed has not written down its last version,
// so versions that nobody wrote down may be there already.
func (h *history) deletion(w *writes, key uint32, at moment) int64 {
	if w == nil {
		w = &writes{}
	}
	version := int64(0)
	if i := sort.Search(len(w.list), func(i int) bool { return w.list[i].start > at }); i > 0 {
		version = w.list[i-1].version
	}
	if int(key) < len(h.latest) {
		for version < h.latest[key] && !w.known[version+1] {
			version++
		}
	}
	for version >= 0 && !absentAt(key, version) {
		version--
	}
	return version
}
