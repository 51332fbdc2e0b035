package near

import (
	"sync"
	"sync/atomic"
)

// order decides which entries stay. It is S3-FIFO (Yang et al., "FIFO queues are all you
// need for cache eviction", SOSP 2023), counted in bytes, with a core that ristretto
// rules, see core:
//
//   - An entry that comes in is on probation. If it was a hit when its turn comes to
//     leave, it moves to the main queue; if not, its key becomes a ghost.
//   - An entry whose key is a ghost comes into the main queue at once.
//   - An entry of the main queue that was a hit when its turn comes goes to the end of
//     the queue, up to three times for as many hits.
//
// Nothing leaves before all of them together exceed the limit. So what was just loaded
// stays if it fits, however much comes at a time.
//
// Each entry of the index is in one of the queues, and nothing else is, but for entries
// about to be taken out: an entry leaves its queue before it leaves the index.
type order struct {
	limit  atomic.Int64 // of entries and tables
	policy *policy      // set once
	tables *tables      // likewise
	used   atomic.Int64 // cost of all entries in queues; written under mu

	mu     sync.Mutex // protects the fields below, and where entries say that they are
	slots  slots
	queues [queues]queue
	ghosts ghosts
	news   []news // for the policy
	turns  uint64 // so far
	due    int    // grows until an entry of the core has its turn
}

// news is that an entry was a hit so many times since its last turn.
type news struct {
	entry *Entry
	hits  uint32
}

func (o *order) init(policy *policy, tables *tables) {
	o.policy, o.tables = policy, tables
	o.slots.init()
}

// The queues. The zero place of an entry is in none of them.
const (
	nowhere = iota
	probation
	mainQueue
	coreQueue
	queues
)

type queue struct {
	bytes   int64
	entries int
}

// The parts of Entry.state.
const (
	hitsMask = 3 // hits since the entry came in or had its turn, as far as they matter

	placeAt  = 2 // from this bit on, the queue
	placeEnd = 2 // bits

	slotAt = placeAt + placeEnd // from this bit on, the slot in the queue
)

const maxSlots = 1<<(32-slotAt) - 1

const (
	// probationShare is which part of all bytes may be on probation when an entry of the
	// main queue has to go.
	probationShare = 10

	// maxTurns bounds how many entries have their turn at a time. Without it, whoever
	// comes first after long quiet would wait for a walk through all.
	maxTurns = 64

	// slackShare is which part of the limit there may be too much before one goes that
	// was a hit: as much as comes while every entry has its turn.
	slackShare = 64
)

func place(state uint32) int     { return int(state >> placeAt & (1<<placeEnd - 1)) }
func slotOf(state uint32) uint32 { return state >> slotAt }

// Hit says that e was given to a reader. It costs next to nothing where e is read often.
func (e *Entry) Hit() {
	if e.state.Load()&hitsMask != hitsMask {
		e.countHit()
	}
}

func (e *Entry) countHit() {
	old := e.state.Load()
	if old&hitsMask != hitsMask {
		e.state.CompareAndSwap(old, old+1) // a hit that is lost to another one is no loss
	}
}

// set puts hits and place of e, which readers may be counting hits of.
func (e *Entry) set(hits uint32, queue int, slot uint32) {
	e.state.Store(hits | uint32(queue)<<placeAt | slot<<slotAt)
}

// comeLocked gives e a place: that of old, the entry of its key which it replaces, or one
// of its own. The lock of the stripe must be held.
func (o *order) come(e, old *Entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if old != nil {
		if state := old.state.Load(); place(state) != nowhere {
			o.slots.of(slotOf(state)).entry = e
			o.count(place(state), -1, old)
			o.count(place(state), 1, e)
			e.state.Store(state)
			old.set(0, nowhere, 0)
			return
		}
	}
	if o.ghosts.take(e.hash) {
		o.enter(e, mainQueue, 0)
	} else {
		o.enter(e, probation, 0)
	}
}

// leave takes e out of its queue and reports from which. The key of an entry that was
// worth keeping is remembered: it may come back with a newer value.
func (o *order) leave(e *Entry) (from int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	from = place(e.state.Load())
	if from == nowhere {
		return nowhere
	}
	o.exit(e)
	if from != probation {
		o.ghosts.add(e.hash)
	}
	return from
}

func (o *order) enter(e *Entry, queue int, hits uint32) {
	slot := o.slots.push(queue, e)
	e.set(hits, queue, slot)
	o.count(queue, 1, e)
}

func (o *order) exit(e *Entry) {
	state := e.state.Load()
	o.slots.remove(slotOf(state))
	o.count(place(state), -1, e)
	e.set(0, nowhere, 0)
}

func (o *order) count(queue, entries int, e *Entry) {
	cost := int64(entries) * costIn(queue, e)
	o.queues[queue].entries += entries
	o.queues[queue].bytes += cost
	o.used.Store(o.used.Load() + cost)
}

// costIn returns what e costs in a queue.
func costIn(queue int, e *Entry) int64 {
	if queue == coreQueue {
		return int64(e.cost) + coreOverhead
	}
	return int64(e.cost)
}

// full reports whether something has to go.
func (o *order) full() bool { return o.used.Load() > o.room() }

// room returns what entries may cost now. Whoever makes a table larger has some leave.
func (o *order) room() int64 { return o.limit.Load() - o.tables.bytes.Load() }

// shrink takes out of their queues what has to go, some entries at a time, and returns
// them beside what the policy is to be told. It may leave a little too much to those who
// come next, see maxTurns.
func (o *order) shrink() (out []*Entry, told []news) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ghosts.fit(o.entries())
	for turns := 0; turns < maxTurns && o.full(); turns++ {
		queue := probation
		if o.queues[mainQueue].entries > 0 && o.queues[probation].bytes*probationShare <= o.used.Load() {
			queue = mainQueue
		}
		e := o.slots.oldest(queue)
		if e == nil {
			break // the core has it all
		}
		if o.turn(queue, e) {
			out = append(out, e)
		}
	}
	if len(out) == 0 && o.used.Load() > o.room()+o.limit.Load()/slackShare {
		out = o.any()
	}
	told, o.news = o.news, nil
	return out, told
}

// any takes the oldest entry of a queue out, although it may have been a hit.
func (o *order) any() []*Entry {
	for queue := probation; queue < queues; queue++ {
		if e := o.slots.oldest(queue); e != nil {
			o.exit(e)
			return []*Entry{e}
		}
	}
	return nil
}

// turn moves e, the oldest of its queue, to where it belongs, and reports whether it is
// in no queue any more.
func (o *order) turn(queue int, e *Entry) (out bool) {
	hits := e.state.Load() & hitsMask
	o.turns++
	if queue == mainQueue {
		o.turnCore()
	}
	o.exit(e)
	switch {
	case queue == probation && hits == 0:
		o.ghosts.add(e.hash)
		return true
	case queue == probation:
		o.enter(e, mainQueue, 0)
	case hits == 0:
		return true
	case o.policy.holds(e.hash):
		o.enter(e, coreQueue, 0)
	default:
		if hits == hitsMask && o.policy.limit > 0 {
			o.news = append(o.news, news{e, hits})
		}
		o.enter(e, mainQueue, hits-1)
	}
	return false
}

// turnCore has the oldest entry of the core tell of its hits, if it is due: an entry of the
// core has a turn as often as one of the main queue. Without hits, it goes back to the main
// queue, as one does that the policy has lost without a word.
func (o *order) turnCore() {
	o.due += o.queues[coreQueue].entries
	if o.due < o.queues[mainQueue].entries || o.queues[coreQueue].entries == 0 {
		return
	}
	o.due = 0
	e := o.slots.oldest(coreQueue)
	hits := e.state.Load() & hitsMask
	o.exit(e)
	switch {
	case !o.policy.holds(e.hash):
		o.enter(e, mainQueue, hits)
	case hits == 0:
		o.policy.drop(e.hash)
		o.enter(e, mainQueue, 0)
	default:
		o.news = append(o.news, news{e, hits})
		o.enter(e, coreQueue, 0)
	}
}

// expel takes e, which the policy gave up, out of the core, and reports whether it is in
// no queue any more: it was no hit since its last turn.
func (o *order) expel(e *Entry) (out bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	state := e.state.Load()
	if place(state) != coreQueue {
		return false
	}
	o.exit(e)
	if state&hitsMask == 0 {
		return true
	}
	o.enter(e, mainQueue, 0)
	return false
}

func (o *order) entries() (n int) {
	for _, q := range o.queues {
		n += q.entries
	}
	return n
}

// slots are the places in the queues: lists that are linked both ways by numbers. The
// zero value is ready.
type slots struct {
	pages [](*[slotPageSize]slot)
	free  uint32 // the first of a list; 0 if there is none
	used  uint32 // slots from here on were never used
}

// slot has 16 bytes. The first ones are the ends of the queues and hold no entry.
type slot struct {
	entry      *Entry
	prev, next uint32 // newer, older
}

const slotPageSize = 256

func (s *slots) of(n uint32) *slot { return &s.pages[n/slotPageSize][n%slotPageSize] }

// init makes the ends of the queues.
func (s *slots) init() {
	s.pages, s.used = append(s.pages, new([slotPageSize]slot)), queues
	for end := range uint32(queues) {
		*s.of(end) = slot{prev: end, next: end}
	}
}

// push puts e at the new end of a queue.
func (s *slots) push(queue int, e *Entry) (n uint32) {
	n = s.take()
	end := s.of(uint32(queue))
	*s.of(n) = slot{entry: e, prev: uint32(queue), next: end.next}
	s.of(end.next).prev = n
	end.next = n
	return n
}

// take returns a slot that is free.
func (s *slots) take() (n uint32) {
	if n = s.free; n != 0 {
		s.free = s.of(n).next
		return n
	}
	if n = s.used; n > maxSlots {
		panic("near: more entries than slots")
	}
	if int(n)/slotPageSize == len(s.pages) {
		s.pages = append(s.pages, new([slotPageSize]slot))
	}
	s.used++
	return n
}

func (s *slots) remove(n uint32) {
	at := s.of(n)
	s.of(at.prev).next, s.of(at.next).prev = at.next, at.prev
	*at = slot{next: s.free}
	s.free = n
}

// oldest returns the entry whose turn it is, nil if the queue is empty.
func (s *slots) oldest(queue int) *Entry { return s.of(s.of(uint32(queue)).prev).entry }
