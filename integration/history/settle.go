package history

import (
	"cmp"
	"slices"
	"sort"
)

// settle gives answers that there is no value their version: that of the latest
// deletion that can have been known when the read ended. It may have been an
// earlier one, which is not held against the read.
func (h *History) settle() {
	if h.AbsentAt == nil || !slices.ContainsFunc(h.Lives, func(life []Record) bool {
		return slices.ContainsFunc(life, func(r Record) bool { return r.Absent })
	}) {
		return
	}
	begun := begunWrites(h.Lives)
	for _, life := range h.Lives {
		for i := range life {
			if r := &life[i]; r.Absent {
				r.Version = h.deletion(begun[r.Key], r.Key, r.End)
			}
		}
	}
}

// writes are those of a key, in the order in which they began.
type writes struct {
	list  []Record
	known map[int64]bool // versions
}

func begunWrites(lives [][]Record) map[uint32]*writes {
	begun := make(map[uint32]*writes)
	for _, life := range lives {
		for i := range life {
			r := &life[i]
			if !r.written() {
				continue
			}
			w := begun[r.Key]
			if w == nil {
				w = &writes{known: make(map[int64]bool)}
				begun[r.Key] = w
			}
			w.list = append(w.list, *r)
			w.known[r.Version] = true
		}
	}
	for _, w := range begun {
		slices.SortFunc(w.list, func(x, y Record) int { return cmp.Compare(x.Start, y.Start) })
		for i := 1; i < len(w.list); i++ { // version becomes the highest so far
			w.list[i].Version = max(w.list[i].Version, w.list[i-1].Version)
		}
	}
	return begun
}

// deletion returns the latest version at a time that says that there is no
// value, or -1. A process that was killed has not written down its last version,
// so versions that nobody wrote down may be there already.
func (h *History) deletion(w *writes, key uint32, at Moment) int64 {
	if w == nil {
		w = &writes{}
	}
	version := int64(0)
	if i := sort.Search(len(w.list), func(i int) bool { return w.list[i].Start > at }); i > 0 {
		version = w.list[i-1].Version
	}
	if int(key) < len(h.Latest) {
		for version < h.Latest[key] && !w.known[version+1] {
			version++
		}
	}
	for version >= 0 && !h.AbsentAt(key, version) {
		version--
	}
	return version
}
