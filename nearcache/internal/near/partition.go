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
func (t *Tier) FlushPartitions(lost []bool) {
	n := t.count.Add(1)
	for p := range lost {
		if lost[p] {
			raise(&t.parts.marks[p], n)
		}
	}
	raise(&t.parts.highest, n)
	t.takeOut(func(e *Entry) bool {
		lost := !t.spaceOf(e).passesPartitions(e)
		if lost {
			t.expired.Add(1)
		}
		return lost
	})
}

// takeOut takes out all entries that concerns is true of. The caller has raised a mark that they do
// not pass: whatever comes in from then on is compared with it under the lock of its stripe, and
// what came in before is there for the walk, which begins when each lock was free, and may go by
// heads that are empty.
func (t *Tier) takeOut(concerns func(*Entry) bool) {
	for i := range t.stripe {
		t.stripe[i].await()
	}
	for head := range t.heads {
		if t.heads[head].Load() == nil {
			continue
		}
		st := t.stripeOf(uint64(head))
		st.mu.Lock()
		for e := t.heads[head].Load(); e != nil; e = e.next.Load() {
			if concerns(e) {
				t.removeLocked(e)
			}
		}
		st.mu.Unlock()
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
