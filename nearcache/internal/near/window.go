package near

import "sync"

// window is the queue of entries that came in last. It keeps them in the index
// whatever the policy makes of them, so that a value just filled is there for
// the next read, and bounds what the policy does not account for.
type window struct {
	limit int64 // set once

	mu    sync.Mutex // protects the fields below
	bytes int64
	queue []*Entry // oldest first, from first on
	first int

	fresh      []*Entry // the last of the queue, which are yet to be offered to the policy
	freshBytes int64
}

// offersTogether is how many entries are offered to the policy at a time at most.
const offersTogether = 32

// push adds e. It returns the entries that it pushes out, and those that are to be
// offered to the policy now: long before they are pushed out themselves, and many
// at a time, since each offer to a policy that rests wakes a goroutine.
func (w *window) push(e *Entry) (fresh, out []*Entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.heirs == 0 {
		w.fresh = append(w.fresh, e)
		w.freshBytes += int64(e.cost)
	}
	if len(w.fresh) >= offersTogether || w.freshBytes > w.limit/8 {
		fresh, w.fresh, w.freshBytes = w.fresh, make([]*Entry, 0, offersTogether), 0
	}
	w.queue = append(w.queue, e)
	w.bytes += int64(e.cost)
	for w.bytes > w.limit {
		old := w.queue[w.first]
		w.queue[w.first] = nil
		w.first++
		w.bytes -= int64(old.cost)
		out = append(out, old)
	}
	if w.first > 64 && w.first > len(w.queue)/2 {
		n := copy(w.queue, w.queue[w.first:])
		clear(w.queue[n:])
		w.queue, w.first = w.queue[:n], 0
	}
	return fresh, out
}

// settledHeirs is how many entries in a row, less one, take the place of one that
// the policy has without a way through the window. It ends what the policy has
// lost without a word: ristretto may refuse what it was told to forget a moment
// before.
const settledHeirs = 16

// admit proposes an installed entry to the policy and puts it into the window.
// What leaves the window stays only if the policy has it by then. An heir need
// not be proposed: the policy goes by hash and has it. Nor need it be young, so
// that what is read again and again as its time runs out leaves the policy alone.
func (t *Tier) admit(e *Entry) {
	if e.state.Load()&young == 0 {
		return
	}
	fresh, out := t.window.push(e)
	for _, e := range fresh {
		if cost := t.cost(e.hash); cost > 0 { // it may have been taken out meanwhile
			t.policy.offer(e.hash, cost)
		}
	}
	for _, old := range out {
		// The flag falls first: an eviction that came before spared the entry
		// and shows in the check, one that comes after takes the entry out.
		old.state.And(^uint32(young))
		if !t.policy.holds(old.hash) {
			t.evict(old.hash) // also what took its place by now, and relies on the policy
		}
	}
}

// evict is called for a hash that the policy gives up, or does not have. Entries
// in the window stay: the window bounds them.
func (t *Tier) evict(hash uint64) {
	st := t.stripeOf(hash)
	st.mu.Lock()
	defer st.mu.Unlock()
	for e := t.head(hash).Load(); e != nil; e = e.next.Load() {
		if e.hash == hash && e.state.Load()&young == 0 {
			t.giveUpLocked(e)
		}
	}
}

func (t *Tier) giveUpLocked(e *Entry) {
	t.removeLocked(e)
	t.evicted.Add(1)
	t.notes.pay()
}
