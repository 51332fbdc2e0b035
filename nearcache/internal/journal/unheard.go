package journal

import (
	"strings"
	"sync"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/generation"
)

// busGrace is how much later than by the journal news may come by the bus.
const busGrace = 2 * time.Second

// unheard are the writes that the journal told of before the bus did. That is no failure of
// the bus, which needs a moment, unless it has not told of them after busGrace.
type unheard struct {
	mu     sync.Mutex // protects writes
	writes map[write]int64
}

// write is one that the journal told of, by its cache and its number.
type write struct {
	cache  string
	number uint64
}

// add takes in a write, before it is applied, at this time. It reports whether there is
// room.
func (u *unheard) add(w write, at int64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.writes) >= generation.MaxHeard {
		return false
	}
	if u.writes == nil {
		u.writes = make(map[write]int64)
	}
	u.writes[w] = at
	return true
}

// drop takes w out: the bus told of it, this node made it, or it took nothing out.
func (u *unheard) drop(w write) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.writes, w)
}

// writeOf returns the write that put this number under a key of the shared tier.
func writeOf(storeKey string, number uint64) write {
	name, _ := SplitKey(storeKey)
	return write{name, number}
}

// SplitKey returns the name of the cache that a key of the shared tier is of, which has
// neither of these marks in it, and what follows.
func SplitKey(storeKey string) (name, rest string) {
	if at := strings.IndexAny(storeKey, ":!"); at >= 0 {
		return storeKey[:at], storeKey[at:]
	}
	return "", storeKey
}

// overdue takes out the writes that the bus should have told of by now, and returns how
// many there were.
func (u *unheard) overdue(now int64) (n uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for w, at := range u.writes {
		if now-at >= int64(busGrace) {
			delete(u.writes, w)
			n++
		}
	}
	return n
}

// Heard says that the bus told of a write of a cache with this number, or that this node made
// it.
func (f *Follower) Heard(cache string, number uint64) { f.unheard.drop(write{cache, number}) }
