package generation

import (
	"sync"

	"github.com/nearbus/nearbus/shared/driver"
)

// MaxHeard bounds what is remembered of news that came by one of bus and journal and not
// yet by the other.
const MaxHeard = 1 << 14

// Heard are the revisions of what the bus told, until the journal tells the same: that is
// no news then. Only the very same revision counts. A number on the bus could be anybody's,
// and one that is too high must not keep out what the journal has to tell.
type Heard map[driver.Revision]struct{}

// Add takes in a revision, zero if it is not known.
func (h *Heard) Add(r driver.Revision) {
	if r.Number == 0 {
		return
	}
	if *h == nil || len(*h) >= MaxHeard {
		*h = make(Heard)
	}
	(*h)[r] = struct{}{}
}

// Take reports whether r was heard, and forgets it.
func (h Heard) Take(r driver.Revision) bool {
	_, found := h[r]
	delete(h, r)
	return found
}

// Kept are the writes that old values of a cache were kept through, or would have
// been. The journal does not tell what a write was, and would take them out.
type Kept struct {
	mu    sync.Mutex // protects heard
	heard Heard
}

// Add takes in such a write.
func (k *Kept) Add(r driver.Revision) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.heard.Add(r)
}

// Take reports whether r was such a write, and forgets it.
func (k *Kept) Take(r driver.Revision) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.heard.Take(r)
}
