package live

import (
	"sync"
	"sync/atomic"
	"time"
)

// pulse is how often acknowledged writes grow older, and by how much.
const pulse = 10 * time.Millisecond

// acked are the writes that were acknowledged less than Bound ago. Their age is counted in pulses:
// while this process does not run, a node cannot know how long that was, and no answer gets older.
type acked struct {
	mu     sync.Mutex // protects the following
	pulses int
	writes []write // in the order of due
}

type write struct {
	key     int
	version int64
	due     int // the pulse at which it is older than Bound
}

func (a *acked) add(key int, version int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.writes = append(a.writes, write{key, version, a.pulses + int(Bound/pulse)})
}

// age is called at each pulse. It raises the versions of keys to those that are due.
func (a *acked) age(settled *[keys]atomic.Int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pulses++
	for len(a.writes) > 0 && a.writes[0].due <= a.pulses {
		w := a.writes[0]
		a.writes = a.writes[1:]
		settled[w.key].Store(max(settled[w.key].Load(), w.version)) // by nobody else
	}
}
