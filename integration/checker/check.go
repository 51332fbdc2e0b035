package main

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"time"
)

// history is what the processes of a run saw, each life of a process on its
// own, and when the fault was there.
type history struct {
	lives  [][]record
	faults []span
	losses []loss
	latest []int64 // version of each key at the end, nil if it is known from the lives
}

type span struct{ start, end moment }

// verdict is what a history shows.
type verdict struct {
	reads, writes       int // answered reads, acknowledged writes
	failedReads, gaveUp int // calls that returned an error

	stale     []time.Duration // age of each read that missed an acknowledged write, sorted
	late      int             // stale reads older than the bound
	back      int             // reads older than what their process had returned before
	ownMisses int             // reads older than what their process had written before
	staleRest int             // stale reads after everything had come to rest
	lost      int             // acknowledged writes that the shared tier lost
	excused   int             // reads like late, back and ownMisses that missed nothing else, in time
	recovery  time.Duration   // longest time from the end of a fault to the last late or disturbed read
	flagged   int             // answers that said that they may be old
	absent    int             // answers that said that there is no value
	broken    []broken        // some of the reads that broke a promise
}

// broken is a read that broke a promise.
type broken struct {
	promise string
	life    int
	read    record
	known   moment // when the process, or for a late read any, first knew better
	fault   int    // the last one that had begun, -1 for none
}

// maxBroken is how many are kept as examples.
const maxBroken = 20

func (v *verdict) breaks(h *history, promise string, life int, r *record, known moment) {
	if len(v.broken) < maxBroken {
		fault := sort.Search(len(h.faults), func(i int) bool { return h.faults[i].start > r.start }) - 1
		v.broken = append(v.broken, broken{promise, life, *r, known, fault})
	}
}

// disturbed is how old a read must be to count as not recovered: more than a
// message takes on its way.
const disturbed = 100 * time.Millisecond

// check goes through a history. A read is as old as the earliest acknowledged
// write of a higher version: at the time when it began, every process should
// have known of that for so long. Versions of a key grow in the order in which
// the truth changed.
func check(h history, bound time.Duration) verdict {
	var v verdict
	settle(&h)
	everybody, kept := newAcks(), newAcks()
	for _, life := range h.lives {
		everybody.add(life, acknowledged)
		kept.add(life, func(r *record) bool { return acknowledged(r) && !h.lost(r) })
	}
	v.lost = everybody.len() - kept.len()
	everybody.seal()
	kept.seal()
	last := make([]moment, len(h.faults)) // the last disturbed read after each fault
	for n, life := range h.lives {
		goneBack(life, func(r, before *record) {
			if h.excuses(r, bound) && !kept.between(r.key, r.version, before.version) {
				v.excused++
				return
			}
			v.back++
			v.breaks(&h, "back in time", n, r, before.end)
		})
		v.checkOwn(&h, n, bound)
		for i := range life {
			v.count(&h, n, &life[i], everybody, kept, bound)
			noteDisturbed(h.faults, last, &life[i], everybody)
		}
	}
	slices.Sort(v.stale)
	for i := range last {
		v.recovery = max(v.recovery, time.Duration(last[i]-h.faults[i].end))
	}
	return v
}

func (v *verdict) count(h *history, life int, r *record, everybody, kept *acks, bound time.Duration) {
	switch r.kind {
	case failed:
		v.failedReads++
	case acked:
		v.writes++
	case gaveUp:
		v.gaveUp++
	case read, atRest:
		v.reads++
		if r.absent {
			v.absent++
		}
		if r.stale {
			v.flagged++
			return
		}
		age, known := everybody.age(r)
		if age > 0 {
			v.stale = append(v.stale, age)
		}
		keptAge, _ := kept.age(r)
		switch {
		case age <= bound:
		case keptAge <= bound && h.excuses(r, bound):
			v.excused++
		default:
			v.late++
			v.breaks(h, "later than the bound", life, r, known)
		}
		if age > 0 && r.kind == atRest {
			v.staleRest++
			v.breaks(h, "stale at rest", life, r, known)
		}
	}
}

// checkOwn counts the reads of a life that miss its own writes. It is bound by
// those that failed, too.
func (v *verdict) checkOwn(h *history, life int, bound time.Duration) {
	own, kept := newAcks(), newAcks()
	own.add(h.lives[life], written)
	kept.add(h.lives[life], func(r *record) bool { return written(r) && !h.lost(r) })
	own.seal()
	kept.seal()
	for i := range h.lives[life] {
		r := &h.lives[life][i]
		if r.kind != read && r.kind != atRest || r.stale {
			continue
		}
		missed, known := own.age(r)
		keptMissed, _ := kept.age(r)
		switch {
		case missed == 0:
		case keptMissed == 0 && h.excuses(r, bound):
			v.excused++
		default:
			v.ownMisses++
			v.breaks(h, "own write missed", life, r, known)
		}
	}
}

func acknowledged(r *record) bool { return r.kind == acked }

func written(r *record) bool { return r.kind == acked || r.kind == gaveUp }

// noteDisturbed finds the last fault that ended before a read that is older
// than usual.
func noteDisturbed(faults []span, last []moment, r *record, everybody *acks) {
	if r.kind != read || r.stale || len(faults) == 0 {
		return
	}
	i := sort.Search(len(faults), func(i int) bool { return faults[i].end > r.start }) - 1
	if i < 0 || i+1 < len(faults) && faults[i+1].start <= r.start {
		return // before the first, or the next one is there
	}
	if age, _ := everybody.age(r); age > disturbed {
		last[i] = max(last[i], r.start)
	}
}

// acks are the writes of each key, by version.
type acks struct{ keys map[uint32][]ack }

type ack struct {
	version int64
	at      moment // until seal: of this write; then: the earliest of this or a higher version
}

func newAcks() *acks { return &acks{keys: make(map[uint32][]ack)} }

// add takes in some writes of a life.
func (a *acks) add(life []record, which func(*record) bool) {
	for i := range life {
		if r := &life[i]; which(r) {
			a.keys[r.key] = append(a.keys[r.key], ack{r.version, r.end})
		}
	}
}

func (a *acks) len() (n int) {
	for _, list := range a.keys {
		n += len(list)
	}
	return n
}

// between reports whether there is a version in (above, upTo].
func (a *acks) between(key uint32, above, upTo int64) bool {
	list := a.keys[key]
	i := sort.Search(len(list), func(i int) bool { return list[i].version > above })
	return i < len(list) && list[i].version <= upTo
}

func (a *acks) seal() {
	for _, list := range a.keys {
		slices.SortFunc(list, func(x, y ack) int { return cmp.Compare(x.version, y.version) })
		earliest := moment(math.MaxInt64)
		for i := len(list) - 1; i >= 0; i-- {
			earliest = min(earliest, list[i].at)
			list[i].at = earliest
		}
	}
}

// age returns how long before its beginning a read should have known better,
// and since when.
func (a *acks) age(r *record) (time.Duration, moment) {
	list := a.keys[r.key]
	i := sort.Search(len(list), func(i int) bool { return list[i].version > r.version })
	if i == len(list) || list[i].at >= r.start {
		return 0, 0
	}
	return time.Duration(r.start - list[i].at), list[i].at
}

// goneBack finds the reads of a process that returned less than a read had
// returned that ended before they began. That holds for answers that are flagged
// as stale, too.
func goneBack(life []record, found func(r, before *record)) {
	byEnd := make([]*record, 0, len(life))
	for i := range life {
		if life[i].kind == read || life[i].kind == atRest {
			byEnd = append(byEnd, &life[i])
		}
	}
	byStart := slices.Clone(byEnd)
	slices.SortStableFunc(byEnd, func(x, y *record) int { return cmp.Compare(x.end, y.end) })
	slices.SortStableFunc(byStart, func(x, y *record) int { return cmp.Compare(x.start, y.start) })
	highest := make(map[uint32]*record)
	for _, r := range byStart {
		for ; len(byEnd) > 0 && byEnd[0].end < r.start; byEnd = byEnd[1:] {
			if byEnd[0].absent { // it may have been an earlier version than settle says
				continue
			}
			if h := highest[byEnd[0].key]; h == nil || h.version < byEnd[0].version {
				highest[byEnd[0].key] = byEnd[0]
			}
		}
		if h := highest[r.key]; h != nil && r.version < h.version {
			found(r, h)
		}
	}
}

// quantile returns the age that this share of all reads did not exceed.
func (v *verdict) quantile(q float64) time.Duration {
	i := int(math.Ceil(q*float64(v.reads))) - 1 - (v.reads - len(v.stale))
	if i < 0 || len(v.stale) == 0 {
		return 0
	}
	return v.stale[min(i, len(v.stale)-1)]
}

// violations is how many reads broke a promise.
func (v *verdict) violations() int { return v.late + v.back + v.ownMisses + v.staleRest }
