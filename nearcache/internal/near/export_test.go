package near

import "fmt"

// Check stops the world and holds the index against its counters.
func (t *Tier) Check() error {
	for i := range t.stripe {
		t.stripe[i].mu.Lock()
		defer t.stripe[i].mu.Unlock()
	}
	var entries, bytes int64
	for i := range t.heads {
		seen := map[string]bool{}
		for e := t.heads[i].Load(); e != nil; e = e.next.Load() {
			if id := fmt.Sprintf("%d %s", e.space, e.Key()); seen[id] {
				return fmt.Errorf("two entries of %q", e.Key())
			} else {
				seen[id] = true
			}
			entries++
			bytes += int64(e.cost)
		}
	}
	if entries != t.entries.Load() || bytes != t.bytes.Load() {
		return fmt.Errorf("%d entries of %d bytes, counted %d of %d", entries, bytes, t.entries.Load(), t.bytes.Load())
	}
	return nil
}

// Lose makes the policy forget a hash behind the tier's back.
func (t *Tier) Lose(hash uint64) { t.policy.forget(hash) }

// Young reports whether the entry is in the window.
func (e *Entry) Young() bool { return e.state.Load()&young != 0 }

// Holds reports whether the policy has a hash.
func (t *Tier) Holds(hash uint64) bool { return t.policy.holds(hash) }

// HoldPolicy has everybody who asks the policy wait until release is called.
func (t *Tier) HoldPolicy() (release func()) {
	t.policy.mu.Lock()
	return t.policy.mu.Unlock
}
