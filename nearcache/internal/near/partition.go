package near

import "sync/atomic"

// partitions are the marks of the partitions of the shared tier's keys. A look does not
// compare them: what they end is taken out of the index.
type partitions struct {
	marks   []atomic.Uint64
	highest atomic.Uint64 // of marks
}

// FlushPartitions takes out every entry whose key, or the watermark of one of whose slots, is
// in one of these partitions, and fences the loads and writes of such under way. lost has an
// element for each partition. What a cache's clock decides is up to the caller.
//
// The marks come first: whatever comes in from then on is compared with them under the lock
// of its stripe, and what came in before is there for the walk, which begins when each lock was free.
func (t *Tier) FlushPartitions(lost []bool) {
	n := t.count.Add(1)
	for p := range lost {
		if lost[p] {
			raise(&t.parts.marks[p], n)
		}
	}
	raise(&t.parts.highest, n)
	t.awaitStripes()
	for head := range t.heads {
		if t.heads[head].Load() == nil {
			continue
		}
		st := t.stripeOf(uint64(head))
		st.mu.Lock()
		for e := t.heads[head].Load(); e != nil; e = e.next.Load() {
			if !t.spaceOf(e).passesPartitions(e) {
				t.removeLocked(e)
				t.expired.Add(1)
			}
		}
		st.mu.Unlock()
	}
}

// awaitStripes waits for whoever holds the lock of a stripe, and may have compared with the marks of
// before what it puts in now. A walk may go by empty heads after that.
func (t *Tier) awaitStripes() {
	for i := range t.stripe {
		t.stripe[i].await()
	}
}

func (st *stripe) await() {
	st.mu.Lock()
	defer st.mu.Unlock()
}

// passesPartitions reports whether no partition that decides on e, which is of s, was flushed
// since its stamp.
func (s *Space) passesPartitions(e *Entry) bool {
	parts := &s.tier.parts
	if e.Stamp.count >= parts.highest.Load() {
		return true
	}
	if e.Stamp.count < parts.marks[e.Partition].Load() {
		return false
	}
	if e.tagged {
		for _, slot := range e.rare.slots {
			if e.Stamp.count < parts.marks[s.slotPart(slot)].Load() {
				return false
			}
		}
	}
	return true
}
