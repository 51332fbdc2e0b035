package generation

import (
	"sync"

	"github.com/nearbus/nearbus/shared/driver"
)

// Acked are the highest revisions that this node was told of as answers to its
// own writes.
type Acked struct {
	mu        sync.Mutex        // protects revisions
	revisions []driver.Revision // by partition
}

// NewAcked returns the acknowledged revisions of so many partitions, of which there are none yet.
func NewAcked(partitions int) *Acked { return &Acked{revisions: make([]driver.Revision, partitions)} }

// Get returns the highest revision of a partition, zero if there is none.
func (a *Acked) Get(partition int) driver.Revision {
	if a == nil {
		return driver.Revision{}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.revisions[partition]
}

// Raise notes a revision, if it is the highest. Epochs of a partition rise.
func (a *Acked) Raise(partition int, rev driver.Revision) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := &a.revisions[partition]
	if rev.Epoch > old.Epoch || rev.Epoch == old.Epoch && rev.Number > old.Number {
		*old = rev
	}
}

// Forget drops what is noted of later epochs than this one.
func (a *Acked) Forget(partition int, epoch uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.revisions[partition].Epoch > epoch {
		a.revisions[partition] = driver.Revision{}
	}
}
