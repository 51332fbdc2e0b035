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
	share := max(1, len(t.heads)/int(sweepRound/sweepEvery))
	at := 0
	for {
		select {
		case <-t.stop:
			return
		case hash := <-t.policy.drops:
			t.forget(hash)
		case <-ticker.C:
			t.makeRoom() // for tables that grew, if nothing has come in since
			for range share {
				t.sweep(uint64(at))
				at = (at + 1) % len(t.heads)
			}
		}
	}
}

// forget takes a hash that left the core out of the policy, unless another entry of the
// hash has come into the core meanwhile.
func (t *Tier) forget(hash uint64) {
	for e := t.head(hash).Load(); e != nil; e = e.next.Load() {
		if e.hash == hash && place(e.state.Load()) == coreQueue {
			return
		}
	}
	t.policy.forget(hash)
}

// sweep takes the dead entries of one chain out.
func (t *Tier) sweep(head uint64) {
	if t.heads[head].Load() == nil {
		return
	}
	st, now := t.stripeOf(head), t.coarseLocked()
	st.mu.Lock()
	defer st.mu.Unlock()
	for e := t.heads[head].Load(); e != nil; e = e.next.Load() {
		if !t.spaceOf(e).keeps(e, now) {
			t.removeLocked(e)
			t.expired.Add(1)
		}
	}
}
