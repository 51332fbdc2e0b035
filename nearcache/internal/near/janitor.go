package near

import "time"

const (
	sweepEvery = time.Second
	sweepRound = time.Minute // in which every chain is looked at once
)

// runJanitor keeps the policy in step with the index, and frees the memory of
// entries that nobody asks for any more.
func (t *Tier) runJanitor() {
	defer t.done.Done()
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	share := max(1, len(t.heads)*int(sweepEvery)/int(sweepRound))
	at := 0
	for {
		select {
		case <-t.stop:
			return
		case hash := <-t.policy.drops:
			t.forget(hash)
		case <-ticker.C:
			for range share {
				t.sweep(uint64(at))
				at = (at + 1) % len(t.heads)
			}
		}
	}
}

// forget takes a hash that left the index out of the policy. An entry of the
// same hash may come in meanwhile: it is offered to the policy after it is in
// the index, so either its offer comes last or it is seen here.
func (t *Tier) forget(hash uint64) {
	if t.cost(hash) > 0 || !t.policy.holds(hash) {
		return
	}
	t.policy.forget(hash)
	if cost := t.cost(hash); cost > 0 {
		t.policy.offer(hash, cost)
	}
}

// cost returns the cost of what the index holds under the hash.
func (t *Tier) cost(hash uint64) (sum int64) {
	st := t.stripeOf(hash)
	st.mu.Lock()
	defer st.mu.Unlock()
	for e := t.head(hash).Load(); e != nil; e = e.next.Load() {
		if e.hash == hash {
			sum += int64(e.cost)
		}
	}
	return sum
}

// sweep takes the dead entries of one chain out.
func (t *Tier) sweep(head uint64) {
	if t.heads[head].Load() == nil {
		return
	}
	st, now := t.stripeOf(head), t.coarseLocked()
	var out []*Entry
	st.mu.Lock()
	for e := t.heads[head].Load(); e != nil; e = e.next.Load() {
		if !t.spaceOf(e).keeps(e, now) {
			t.removeLocked(e)
			t.expired.Add(1)
			out = append(out, e)
		}
	}
	st.mu.Unlock()
	for _, e := range out {
		t.forget(e.hash)
	}
}
