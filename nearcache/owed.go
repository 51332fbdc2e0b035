package nearcache

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
)

const (
	maxOwed      = 4096 // keys and tags of a cache; more than that is a Clear
	owedBatch    = 64   // keys or tags paid at a time
	firstRetry   = 50 * time.Millisecond
	longestRetry = 2 * time.Second
)

// errOwed is why a key is not read from the shared tier: what is there may be
// older than what a caller of this node was told of.
var errOwed error = owedError{}

// errOpen is why nothing can be paid yet.
var errOpen = errors.New("nearcache: what failed to be written may arrive yet")

// openUntil returns until when a write that failed with err may take effect.
func openUntil(err error) (t time.Time) {
	var open interface{ OpenUntil() time.Time }
	if errors.As(err, &open) {
		t = open.OpenUntil()
	}
	return t
}

// debts are the invalidations of a cache that could not be delivered. They are
// tried again until they are, or until a later write of the key succeeds.
// Until then this node reads what is owed from the source.
type debts struct {
	some atomic.Bool // there are any; for readers

	mu         sync.Mutex // protects the fields below
	generation uint64     // of the latest debt
	keys       map[owed]debt
	slots      map[uint32]int // how many tags of a slot are owed to the shared tier
	all        uint64         // generation of a Clear that is owed; 0 if none is
	allTold    bool           // as in debt, of that Clear
}

// owed is what is to be invalidated.
type owed struct {
	tag  bool
	name string // of the tag, or the key
}

type debt struct {
	generation uint64
	told       bool      // the shared tier has it; other nodes have not heard of it
	open       time.Time // until then a value that failed to be written may arrive
}

// moment is what debts are settled up to by a write that begins then.
type moment struct {
	generation uint64
	at         time.Time
}

// settles reports whether a write that began at m settles old. What may arrive
// after it is not settled.
func (m moment) settles(old debt) bool {
	return old.generation <= m.generation && !old.open.After(m.at)
}

// owe takes in what could not be delivered. told says that only other nodes
// have not heard; open is as in debt.
func (d *debts) owe(invs []bus.Invalidation, told bool, open time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.some.Store(true)
	d.generation++
	for i := range invs {
		name := owed{invs[i].Op == bus.OpTag, invs[i].Key}
		old, known := d.keys[name]
		switch {
		case invs[i].Op == bus.OpClear || !known && len(d.keys) >= maxOwed:
			d.allTold = told && (d.all == 0 || d.allTold)
			d.all = d.generation
		case d.keys == nil:
			d.keys, d.slots = make(map[owed]debt), make(map[uint32]int)
			fallthrough
		default:
			if old.open.After(open) {
				open = old.open
			}
			d.dropLocked(name)
			d.putLocked(name, debt{generation: d.generation, told: told && (!known || old.told), open: open})
		}
	}
}

func (d *debts) putLocked(name owed, due debt) {
	d.keys[name] = due
	if name.tag && !due.told {
		d.slots[slotOf(name.name)]++
	}
}

func (d *debts) dropLocked(name owed) {
	if old, ok := d.keys[name]; ok && name.tag && !old.told {
		slot := slotOf(name.name)
		if d.slots[slot]--; d.slots[slot] == 0 {
			delete(d.slots, slot)
		}
	}
	delete(d.keys, name)
}

// now returns this moment. What succeeds from here on settles debts up to it.
func (d *debts) now() moment {
	at := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	return moment{d.generation, at}
}

// settle removes the debts of keys up to a moment.
func (d *debts) settle(upTo moment, keys ...string) { d.settleNames(upTo, false, keys) }

// settleTags removes the debts of tags up to a moment.
func (d *debts) settleTags(upTo moment, tags ...string) { d.settleNames(upTo, true, tags) }

func (d *debts) settleNames(upTo moment, tags bool, names []string) {
	if !d.some.Load() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range names {
		due := owed{tags, name}
		if old, ok := d.keys[due]; ok && upTo.settles(old) {
			d.dropLocked(due)
		}
	}
	d.some.Store(len(d.keys) > 0 || d.all > 0)
}

// tell says that the shared tier has what was owed of these names up to a moment, or
// of all. The other nodes have not heard of it yet.
func (d *debts) tell(upTo moment, all, tags bool, names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if all {
		d.allTold = d.allTold || d.all <= upTo.generation
		for name := range d.keys {
			d.tellLocked(upTo, name)
		}
	}
	for _, name := range names {
		d.tellLocked(upTo, owed{tags, name})
	}
}

func (d *debts) tellLocked(upTo moment, name owed) {
	if due, ok := d.keys[name]; ok && due.generation <= upTo.generation {
		d.dropLocked(name)
		due.told = true
		d.putLocked(name, due)
	}
}

// settleAll removes all debts up to a moment, also those of values that may
// arrive yet: they have an old clock. told says that only other nodes were told:
// what the shared tier does not have stays.
func (d *debts) settleAll(upTo moment, told bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, old := range d.keys {
		if old.generation <= upTo.generation && (old.told || !told) {
			d.dropLocked(key)
		}
	}
	if d.all <= upTo.generation && (d.allTold || !told) {
		d.all = 0
	}
	d.some.Store(len(d.keys) > 0 || d.all > 0)
}

// suspect reports whether the shared tier may have an old value of key.
func (d *debts) suspect(key string) bool {
	if !d.some.Load() {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	old, ok := d.keys[owed{name: key}]
	return d.all > 0 && !d.allTold || ok && !old.told
}

// owesSlots reports whether the shared tier may take a record with these slots
// for live that is not.
func (d *debts) owesSlots(slots []uint32) bool {
	if !d.some.Load() {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, slot := range slots {
		if d.slots[slot] > 0 {
			return true
		}
	}
	return false
}

// next returns some debts of one kind that can be paid at a moment, or that a
// Clear is owed.
func (d *debts) next(at moment) (names []string, tags, told, all bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all > 0 {
		return nil, false, d.allTold, true
	}
	for due, old := range d.keys {
		switch {
		case old.open.After(at.at):
			continue
		case len(names) == owedBatch:
			return names, tags, told, false
		case len(names) == 0:
			tags, told = due.tag, old.told
		case old.told != told || due.tag != tags:
			continue
		}
		names = append(names, due.name)
	}
	return names, tags, told, false
}

func (d *debts) len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.keys)
	if d.all > 0 {
		n++
	}
	return n
}

// owe keeps what could not be delivered, for the node to try again, but not
// before open.
func (k *keyspace) owe(invs []bus.Invalidation, told bool, open time.Time) {
	if k.node.faults.Off(fault.Debts) {
		return
	}
	k.debts.owe(invs, told, open)
	signal(k.node.owing)
}

func (k *keyspace) owed() int { return k.debts.len() }

// pay tries to deliver some of what is owed. What is near of keys that are
// owed came from the source since, and stays. Once the shared tier has it, it is
// not put there again: others may have written since.
func (k *keyspace) pay(ctx context.Context) error {
	upTo := k.debts.now()
	names, tags, told, all := k.debts.next(upTo)
	if len(names) == 0 && !all {
		return errOpen
	}
	b := batch{invs: k.invalidations(bus.OpDelete, names), errs: make([]error, len(names))}
	switch {
	case all:
		b.invs, b.errs = []bus.Invalidation{{Op: bus.OpClear, Cache: k.name}}, make([]error, 1)
	case tags:
		b.invs = k.invalidations(bus.OpTag, names)
	}
	switch {
	case told:
	case all:
		b.invs[0], b.errs[0] = k.raiseClock(ctx)
	case tags:
		b.told, b.errs[0] = k.raiseSlots(ctx, b.invs, true)
	default:
		k.bury(ctx, &b, true)
	}
	if err := errors.Join(b.errs...); err != nil {
		return err
	}
	if all {
		k.space.Clear() // others may have raised the clock as well
		k.clock.settle(b.invs[0].Revision)
	}
	if !told {
		k.debts.tell(upTo, all, tags, names)
	}
	if !b.told && k.node.bus != nil {
		err := k.node.bus.Publish(ctx, b.invs...)
		if err != nil && k.node.repairs == nil {
			return err // nothing else would tell the others
		}
	}
	if all {
		k.debts.settleAll(upTo, told)
	} else {
		k.debts.settleNames(upTo, tags, names)
	}
	return nil
}

// payDebts pays what the caches owe, with pauses that grow while nothing can be
// paid, and at once when the journal is read again. It ends with the node.
func (n *Node) payDebts() {
	pause := firstRetry
	for {
		left, failed := 0, false
		for _, c := range *n.caches.Load() {
			if c.owed() == 0 {
				continue
			}
			ctx, cancel := context.WithTimeout(n.ctx, choreTimeout)
			failed = c.pay(ctx) != nil || failed
			cancel()
			left += c.owed()
		}
		switch {
		case left == 0:
			pause = firstRetry
			select {
			case <-n.ctx.Done():
				return
			case <-n.owing:
			}
		case failed:
			timer := time.NewTimer(pause - rand.N(pause/4))
			select {
			case <-n.ctx.Done():
			case <-timer.C:
				pause = min(2*pause, longestRetry)
			case <-n.payable:
				pause = firstRetry
			}
			timer.Stop()
			if n.ctx.Err() != nil {
				return
			}
		default:
			pause = firstRetry
		}
	}
}
