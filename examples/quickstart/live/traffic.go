package live

import "sync"

// nowhere is where a message goes that is lost at its sender.
const nowhere = -1

// hop is a message that came to a server, or did not.
type hop struct {
	Number uint64 `json:"n"`
	Side   int    `json:"side"`
	From   int    `json:"from"`
	To     int    `json:"to"`
	Lost   bool   `json:"lost,omitempty"`
}

const keptHops = 64

// traffic keeps the latest hops, for those who look.
type traffic struct {
	side int

	mu   sync.Mutex // protects the following
	last uint64
	hops [keptHops]hop // by number
}

func (t *traffic) add(h hop) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	h.Number, h.Side = t.last, t.side
	t.hops[t.last%keptHops] = h
}

// since returns the hops after a number, as far as they are kept.
func (t *traffic) since(number uint64) (hops []hop) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n := max(number+1, t.last-min(t.last, keptHops)+1); n <= t.last; n++ {
		hops = append(hops, t.hops[n%keptHops])
	}
	return hops
}

// latest returns the number of the latest hop.
func (t *traffic) latest() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}
