package near

// makeRoom takes out what the order gives up. No lock of a stripe may be held.
func (t *Tier) makeRoom() {
	for t.order.full() {
		out, told := t.order.shrink()
		for _, e := range out {
			t.giveUp(e)
		}
		for _, news := range told {
			t.policy.offer(news.entry, news.hits)
		}
		if len(out) == 0 {
			return
		}
	}
}

// giveUp takes e, which has left its queue, out of the index, where another entry may
// have taken its place.
func (t *Tier) giveUp(e *Entry) {
	st := t.stripeOf(e.hash)
	st.mu.Lock()
	defer st.mu.Unlock()
	if t.removeLocked(e) {
		t.countEvicted(e)
	}
}

// countEvicted counts e, which was taken out to make room.
func (t *Tier) countEvicted(e *Entry) {
	t.evicted.Add(1)
	t.spaceOf(e).share.evicted.Add(1)
}

// expel is called for a hash that the policy gives up.
func (t *Tier) expel(hash uint64) {
	st := t.stripeOf(hash)
	st.mu.Lock()
	defer st.mu.Unlock()
	for e := t.head(hash).Load(); e != nil; e = e.next.Load() {
		if e.hash == hash && t.order.expel(e) && t.removeLocked(e) {
			t.countEvicted(e)
		}
	}
}
