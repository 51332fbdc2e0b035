package journal

import (
	"strings"
	"sync"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/generation"
)

// busGrace is how much later than by the journal news may come by the bus.
const busGrace = 2 * time.Second

// heardGrace is how much later than by the bus news may come by the journal.
const heardGrace = time.Minute

// unheard are the writes that the journal told of before the bus did. That is no failure of
// the bus, which needs a moment, unless it has not told of them after busGrace. Own writes of
// the last busGrace are among them: the journal may tell of one that was answered, and that
// the near tier has not taken in yet.
//
// What the bus told of first is no failure either, whatever the journal takes out later: a load
// that does not store its value may have brought one in between, which no revision tells from an
// older one.
type unheard struct {
	mu     sync.Mutex // protects the fields below
	writes map[write]mention

	// What the bus told of and the journal did not yet. When heard is full, or as old as
	// heardGrace, it takes the place of older, which is forgotten: the journal never tells of
	// some of them.
	heard, older map[write]struct{}
	since        int64 // heard has nothing from before this time
}

// mention is when a write was told of first, and whether this node made it.
type mention struct {
	at  int64
	own bool
}

// write is one that the journal told of, by its cache and its number.
type write struct {
	cache  string
	number uint64
}

// maxHeard is how many writes fit into heard, and into older.
const maxHeard = generation.MaxHeard / 2

// add takes in a write that the journal tells of, before it is applied, at this time. It
// reports whether the bus had told of it, and if not, whether there is room to wait for that.
func (u *unheard) add(w write, at int64) (heard, waits bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, lately := u.heard[w]
	_, before := u.older[w]
	if lately || before {
		delete(u.heard, w)
		delete(u.older, w)
		return true, false
	}
	return false, u.addLocked(w, mention{at: at})
}

func (u *unheard) addLocked(w write, m mention) bool {
	if _, known := u.writes[w]; known {
		return true
	}
	if len(u.writes) >= generation.MaxHeard {
		return false
	}
	if u.writes == nil {
		u.writes = make(map[write]mention)
	}
	u.writes[w] = m
	return true
}

// own takes in an own write that was answered at this time.
func (u *unheard) own(w write, at int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, told := u.writes[w]; told {
		delete(u.writes, w)
	} else {
		u.addLocked(w, mention{at, true})
	}
}

// hear takes in that the bus told of w.
func (u *unheard) hear(w write) {
	u.mu.Lock()
	defer u.mu.Unlock()
	m, told := u.writes[w]
	delete(u.writes, w)
	if told && !m.own { // the journal did
		return
	}
	if u.heard == nil || len(u.heard) >= maxHeard {
		u.heard, u.older = make(map[write]struct{}), u.heard
	}
	u.heard[w] = struct{}{}
}

// drop takes w out: it took nothing out.
func (u *unheard) drop(w write) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.writes, w)
}

// oldest returns when the journal told first of what the bus did not tell of yet.
func (u *unheard) oldest() (at int64, waits bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, m := range u.writes {
		if !m.own && (!waits || m.at < at) {
			at, waits = m.at, true
		}
	}
	return at, waits
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
// many there were. It forgets what the journal should have told of.
func (u *unheard) overdue(now int64) (n uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if now-u.since >= int64(heardGrace) {
		u.heard, u.older, u.since = nil, u.heard, now
	}
	for w, m := range u.writes {
		if now-m.at < int64(busGrace) {
			continue
		}
		delete(u.writes, w)
		if !m.own {
			n++
		}
	}
	return n
}

// Heard says that the bus told of a write of a cache with this number, 0 if it did not say which.
// The follower keeps the name of the cache.
func (f *Follower) Heard(cache string, number uint64) {
	if f.conf.OnBus && number != 0 {
		f.unheard.hear(write{cache, number})
	}
}

// Wrote says that this node made a write of a cache with this number, which was answered just
// now.
func (f *Follower) Wrote(cache string, number uint64) {
	if f.conf.OnBus {
		f.unheard.own(write{cache, number}, f.conf.Owner.Now())
	}
}
