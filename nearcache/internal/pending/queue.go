package pending

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/bus"
)

const (
	maxPending = 4096 // keys and tags of a queue; more than that is a Clear
	batchSize  = 64   // keys or tags that are delivered at a time
)

// Queue is the pending invalidations of a cache. Only SlotOf must be set. It is safe for use
// by many goroutines.
type Queue struct {
	SlotOf func(tag string) uint32

	some atomic.Bool // there are any; for readers

	mu         sync.Mutex // protects the fields below
	generation uint64     // of the latest that was added
	entries    map[name]entry
	slots      map[uint32]int // how many tags of a slot the shared tier has not heard of

	// all is the generation of a pending Clear, 0 if there is none. allShared is as in
	// entry, of that Clear.
	all       uint64
	allShared bool
}

// name is what is to be invalidated.
type name struct {
	tag  bool
	text string // the tag, or the key
}

type entry struct {
	generation uint64
	shared     bool      // the shared tier has it; other nodes have not heard of it
	open       time.Time // until then, a value whose write failed may still arrive
}

// Checkpoint marks the pending invalidations that a write which begins now resolves, if it
// succeeds.
type Checkpoint struct {
	generation uint64
	at         time.Time
}

// resolves reports whether a write that began at c resolves e. It does not if a value may
// arrive after that write.
func (c Checkpoint) resolves(e entry) bool {
	return e.generation <= c.generation && !e.open.After(c.at)
}

// Add adds invalidations that could not be delivered. inShared says that the shared tier has
// them, and only other nodes have not heard. Until open, a value whose write failed may still
// arrive in the shared tier.
func (q *Queue) Add(invs []bus.Invalidation, inShared bool, open time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.some.Store(true)
	q.generation++
	for i := range invs {
		n := name{invs[i].Op == bus.OpTag, invs[i].Key}
		old, known := q.entries[n]
		switch {
		case invs[i].Op == bus.OpClear || !known && len(q.entries) >= maxPending:
			q.allShared = inShared && (q.all == 0 || q.allShared)
			q.all = q.generation
		case q.entries == nil:
			q.entries, q.slots = make(map[name]entry), make(map[uint32]int)
			fallthrough
		default:
			if old.open.After(open) {
				open = old.open
			}
			q.dropLocked(n)
			q.putLocked(n, entry{generation: q.generation, shared: inShared && (!known || old.shared), open: open})
		}
	}
}

func (q *Queue) putLocked(n name, e entry) {
	q.entries[n] = e
	if n.tag && !e.shared {
		q.slots[q.SlotOf(n.text)]++
	}
}

func (q *Queue) dropLocked(n name) {
	if old, ok := q.entries[n]; ok && n.tag && !old.shared {
		slot := q.SlotOf(n.text)
		if q.slots[slot]--; q.slots[slot] == 0 {
			delete(q.slots, slot)
		}
	}
	delete(q.entries, n)
}

// Checkpoint returns the checkpoint of a write that begins now.
func (q *Queue) Checkpoint() Checkpoint {
	at := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	return Checkpoint{q.generation, at}
}

// Resolve removes the invalidations of keys, or of tags, that a write resolved.
func (q *Queue) Resolve(upTo Checkpoint, tags bool, names ...string) {
	if !q.some.Load() {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, text := range names {
		n := name{tags, text}
		if old, ok := q.entries[n]; ok && upTo.resolves(old) {
			q.dropLocked(n)
		}
	}
	q.someLocked()
}

// ResolveAll removes all invalidations up to a checkpoint, also those of values that may
// still arrive: the clock of such a value is old. onlyShared says that other nodes were
// told, and no more: what the shared tier does not have stays.
func (q *Queue) ResolveAll(upTo Checkpoint, onlyShared bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for n, old := range q.entries {
		if old.generation <= upTo.generation && (old.shared || !onlyShared) {
			q.dropLocked(n)
		}
	}
	if q.all <= upTo.generation && (q.allShared || !onlyShared) {
		q.all = 0
	}
	q.someLocked()
}

func (q *Queue) someLocked() { q.some.Store(len(q.entries) > 0 || q.all > 0) }

// Stored says that the shared tier has the invalidations of b up to a checkpoint. Other nodes
// have not heard of them yet.
func (q *Queue) Stored(upTo Checkpoint, b Batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if b.All {
		q.allShared = q.allShared || q.all <= upTo.generation
		for n := range q.entries {
			q.storedLocked(upTo, n)
		}
	}
	for _, text := range b.Names {
		q.storedLocked(upTo, name{b.Tags, text})
	}
}

func (q *Queue) storedLocked(upTo Checkpoint, n name) {
	if e, ok := q.entries[n]; ok && e.generation <= upTo.generation {
		q.dropLocked(n)
		e.shared = true
		q.putLocked(n, e)
	}
}

// Some reports whether anything is pending.
func (q *Queue) Some() bool { return q.some.Load() }

// HasKey reports whether the shared tier may have an old value of key.
func (q *Queue) HasKey(key string) bool {
	if !q.some.Load() {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	old, ok := q.entries[name{text: key}]
	return q.all > 0 && !q.allShared || ok && !old.shared
}

// HasSlots reports whether the shared tier may take a record with these slots for live that
// a tag has ended.
func (q *Queue) HasSlots(slots []uint32) bool {
	if !q.some.Load() {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, slot := range slots {
		if q.slots[slot] > 0 {
			return true
		}
	}
	return false
}

// Batch is some pending invalidations of one kind: a Clear, or keys, or tags.
type Batch struct {
	Names  []string
	Tags   bool // Names are tags
	Shared bool // the shared tier has them
	All    bool // it is a Clear
}

// Next returns invalidations that can be delivered at a checkpoint. ok is false if there are
// none now.
func (q *Queue) Next(at Checkpoint) (b Batch, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.all > 0 {
		return Batch{Shared: q.allShared, All: true}, true
	}
	for n, e := range q.entries {
		switch {
		case e.open.After(at.at):
			continue
		case len(b.Names) == batchSize:
			return b, true
		case len(b.Names) == 0:
			b.Tags, b.Shared = n.tag, e.shared
		case e.shared != b.Shared || n.tag != b.Tags:
			continue
		}
		b.Names = append(b.Names, n.text)
	}
	return b, len(b.Names) > 0
}

// Len returns how many invalidations are pending.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.entries)
	if q.all > 0 {
		n++
	}
	return n
}
