package near

import (
	"sync"
	"sync/atomic"
)

// tablesShare is which part of all bytes the tables of tags may take. A table that finds no
// room for a larger one forgets in the safe direction: nothing ended is served for that.
const tablesShare = 2

// tables is what the tables of the tags of all caches take, here and elsewhere. Entries have
// the rest of the bytes, so that both together are bounded.
//
// Beyond the limit, each cache may have the smallest tables that there are.
type tables struct {
	limit, bytes atomic.Int64

	mu sync.Mutex // held by who changes what a space has, and for whom it does not count any more
}

// Resize says that a table of the space had has bytes and is to have wants. It reports false,
// and nothing changes, if there is no room for more, unless it must be.
func (s *Space) Resize(has, wants int64, must bool) bool {
	t := &s.tier.tables
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.mark.Load() == closed {
		return true // nobody reads them
	}
	if now := t.bytes.Add(wants - has); now > t.limit.Load() && wants > has && !must {
		t.bytes.Add(has - wants)
		return false
	}
	s.share.tables.Add(wants - has)
	return true
}

// release has what a space that was closed has count no more.
func (t *tables) release(s *Space) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes.Add(-s.share.tables.Swap(0))
}
