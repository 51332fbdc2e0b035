package history

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"time"
)

// Acks are writes of each key, by version.
type Acks struct{ keys map[uint32][]ack }

type ack struct {
	version int64
	at      Moment // until seal: of this write; then: the earliest of this or a higher version
}

// Acknowledged returns the acknowledged writes of h; only those that the shared tier
// kept, if kept is set.
func (h *History) Acknowledged(kept bool) *Acks {
	a := newAcks()
	for _, life := range h.Lives {
		a.add(life, func(r *Record) bool { return r.acknowledged() && (!kept || !h.lost(r)) })
	}
	a.seal()
	return a
}

func newAcks() *Acks { return &Acks{keys: make(map[uint32][]ack)} }

// add takes in some writes of a life.
func (a *Acks) add(life []Record, which func(*Record) bool) {
	for i := range life {
		if r := &life[i]; which(r) {
			a.keys[r.Key] = append(a.keys[r.Key], ack{r.Version, r.End})
		}
	}
}

// Len returns how many there are.
func (a *Acks) Len() (n int) {
	for _, list := range a.keys {
		n += len(list)
	}
	return n
}

// Between reports whether there is a version of key in (above, upTo].
func (a *Acks) Between(key uint32, above, upTo int64) bool {
	list := a.keys[key]
	i := sort.Search(len(list), func(i int) bool { return list[i].version > above })
	return i < len(list) && list[i].version <= upTo
}

func (a *Acks) seal() {
	for _, list := range a.keys {
		slices.SortFunc(list, func(x, y ack) int { return cmp.Compare(x.version, y.version) })
		earliest := Moment(math.MaxInt64)
		for i := len(list) - 1; i >= 0; i-- {
			earliest = min(earliest, list[i].at)
			list[i].at = earliest
		}
	}
}

// Age returns how long before its beginning a read should have known better, and since
// when; 0 if it missed nothing.
func (a *Acks) Age(r *Record) (age time.Duration, since Moment) {
	list := a.keys[r.Key]
	i := sort.Search(len(list), func(i int) bool { return list[i].version > r.UpTo() })
	if i == len(list) || list[i].at >= r.Start {
		return 0, 0
	}
	return time.Duration(r.Start - list[i].at), list[i].at
}
