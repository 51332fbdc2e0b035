package near

import "fmt"

// CheckInvariants stops the world and holds the index, its counters and the order
// against each other. Nobody may be about to take an entry out.
func (t *Tier) CheckInvariants() error {
	for i := range t.stripe {
		t.stripe[i].mu.Lock()
		defer t.stripe[i].mu.Unlock()
	}
	t.order.mu.Lock()
	defer t.order.mu.Unlock()
	var entries, bytes int64
	shares := map[uint32]Share{}
	var found [queues]queue
	for i := range t.heads {
		seen := map[string]bool{}
		for e := t.heads[i].Load(); e != nil; e = e.next.Load() {
			if id := fmt.Sprintf("%d %s", e.space, e.Key()); seen[id] {
				return fmt.Errorf("two entries of %q", e.Key())
			} else {
				seen[id] = true
			}
			if t.head(e.hash) != &t.heads[i] {
				return fmt.Errorf("%q is in the wrong chain", e.Key())
			}
			entries++
			bytes += int64(e.cost)
			of := shares[e.space]
			of.Entries, of.Bytes = of.Entries+1, of.Bytes+int64(e.cost)
			shares[e.space] = of
			in := place(e.state.Load())
			found[in].entries++
			found[in].bytes += costIn(in, e)
			if in != nowhere && t.order.slots.of(slotOf(e.state.Load())).entry != e {
				return fmt.Errorf("%q is not where it says", e.Key())
			}
		}
	}
	if entries != t.entries.Load() || bytes != t.bytes.Load() {
		return fmt.Errorf("%d entries of %d bytes, counted %d of %d", entries, bytes, t.entries.Load(), t.bytes.Load())
	}
	evicted := uint64(0)
	for number, s := range *t.spaces.Load() {
		has, counted := shares[uint32(number)], s.Share()
		if has.Entries != counted.Entries || has.Bytes != counted.Bytes {
			return fmt.Errorf("space %d has %+v, and counts %+v", number, has, counted)
		}
		evicted += counted.Evicted
	}
	if evicted != t.evicted.Load() {
		return fmt.Errorf("%d entries were evicted, counted %d", t.evicted.Load(), evicted)
	}
	return t.order.checkInvariants(found)
}

// checkInvariants holds the order against what is found in the index.
func (o *order) checkInvariants(found [queues]queue) error {
	if found[nowhere].entries > 0 {
		return fmt.Errorf("%d entries are in no queue", found[nowhere].entries)
	}
	used := int64(0)
	for q := probation; q < queues; q++ {
		listed := 0
		for at := o.slots.of(uint32(q)).next; at != uint32(q); at = o.slots.of(at).next {
			listed++
		}
		if found[q] != o.queues[q] || listed != found[q].entries {
			return fmt.Errorf("queue %d has %+v, of which %d are in its list, and counts %+v", q, found[q], listed, o.queues[q])
		}
		used += found[q].bytes
	}
	if used != o.used.Load() || used > o.room()+o.limit.Load()/slackShare {
		return fmt.Errorf("%d bytes are used of %d, and counted %d", used, o.limit.Load(), o.used.Load())
	}
	return nil
}

// LosePolicy has the policy hold nothing from now on, without a word. Nobody else may use
// the tier at the moment.
func (t *Tier) LosePolicy() { t.policy.limit = 0 }

// Queue returns the name of the queue of e.
func (e *Entry) Queue() string {
	return [queues]string{"none", "probation", "main", "core"}[place(e.state.Load())]
}

// Opened reports whether there is a policy.
func (t *Tier) Opened() bool {
	t.policy.mu.RLock()
	defer t.policy.mu.RUnlock()
	return t.policy.cache != nil
}

// Turns returns how many entries had their turn.
func (t *Tier) Turns() int { return int(t.order.turns) }

// Hits returns how many hits of e count until its next turn.
func (e *Entry) Hits() uint32 { return e.state.Load() & hitsMask }

// Invalidations has the tier count invalidations from n on, if that is higher than the count.
func (t *Tier) Invalidations(n uint64) { t.count.Store(max(n, t.count.Load())) }

// Mark returns the mark of a slot.
func (s *Space) Mark(slot uint32) uint64 { return s.slots.of(slot) }

// Count returns the number of invalidations.
func (t *Tier) Count() uint64 { return t.count.Load() }

// Numbers returns how many numbers of spaces there are.
func (t *Tier) Numbers() int { return len(*t.spaces.Load()) }
