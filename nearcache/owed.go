package nearcache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/bus"
)

const (
	maxOwed      = 4096 // keys of a cache; more than that is a Clear
	owedBatch    = 64   // keys paid at a time
	firstRetry   = 50 * time.Millisecond
	longestRetry = 2 * time.Second
)

// errOwed is why a key is not read from the shared tier: what is there may be
// older than what a caller of this node was told of.
var errOwed = fmt.Errorf("%w, and the key has not been invalidated since", ErrOutcomeUnknown)

// debts are the invalidations of a cache that could not be delivered. They are
// tried again until they are, or until a later write of the key succeeds.
// Until then this node reads what is owed from the source.
type debts struct {
	some atomic.Bool // there are any; for readers

	mu         sync.Mutex // protects the fields below
	generation uint64     // of the latest debt
	keys       map[string]debt
	all        uint64 // generation of a Clear that is owed; 0 if none is
	allTold    bool   // as in debt, of that Clear
}

type debt struct {
	generation uint64
	told       bool // the shared tier has it; other nodes have not heard of it
}

// owe takes in what could not be delivered. told says that only other nodes
// have not heard.
func (d *debts) owe(invs []bus.Invalidation, told bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.some.Store(true)
	d.generation++
	for i := range invs {
		old, known := d.keys[invs[i].Key]
		switch {
		case invs[i].Op == bus.OpClear || !known && len(d.keys) >= maxOwed:
			d.allTold = told && (d.all == 0 || d.allTold)
			d.all = d.generation
		case d.keys == nil:
			d.keys = make(map[string]debt)
			fallthrough
		default:
			d.keys[invs[i].Key] = debt{generation: d.generation, told: told && (!known || old.told)}
		}
	}
}

// now returns the generation of the latest debt. What succeeds from here on
// settles debts up to it.
func (d *debts) now() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.generation
}

// settle removes the debts of keys up to a generation.
func (d *debts) settle(upTo uint64, keys ...string) {
	if !d.some.Load() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range keys {
		if old, ok := d.keys[key]; ok && old.generation <= upTo {
			delete(d.keys, key)
		}
	}
	d.some.Store(len(d.keys) > 0 || d.all > 0)
}

// settleAll removes all debts up to a generation. told says that only other
// nodes were told: what the shared tier does not have stays.
func (d *debts) settleAll(upTo uint64, told bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, old := range d.keys {
		if old.generation <= upTo && (old.told || !told) {
			delete(d.keys, key)
		}
	}
	if d.all <= upTo && (d.allTold || !told) {
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
	old, ok := d.keys[key]
	return d.all > 0 && !d.allTold || ok && !old.told
}

// next returns some debts of one kind, or that a Clear is owed.
func (d *debts) next() (keys []string, told, all bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all > 0 {
		return nil, d.allTold, true
	}
	for key, old := range d.keys {
		switch {
		case len(keys) == owedBatch:
			return keys, told, false
		case len(keys) == 0:
			told = old.told
		case old.told != told:
			continue
		}
		keys = append(keys, key)
	}
	return keys, told, false
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

// owe keeps what could not be delivered, for the node to try again.
func (c *Cache[V]) owe(invs []bus.Invalidation, told bool) {
	if c.node.faults.NoDebts {
		return
	}
	c.debts.owe(invs, told)
	select {
	case c.node.owing <- struct{}{}:
	default:
	}
}

func (c *Cache[V]) owed() int { return c.debts.len() }

// pay tries to deliver some of what is owed. What is near of keys that are
// owed came from the source since, and stays. Once the shared tier has it, it is
// not put there again: others may have written since.
func (c *Cache[V]) pay(ctx context.Context) error {
	upTo := c.debts.now()
	keys, told, all := c.debts.next()
	if len(keys) == 0 && !all {
		return nil
	}
	b := batch{invs: c.invalidations(bus.OpInvalidate, keys), errs: make([]error, len(keys))}
	if all {
		b.invs, b.errs = []bus.Invalidation{{Op: bus.OpClear, Cache: c.name}}, make([]error, 1)
	}
	switch {
	case told:
	case all:
		b.invs[0], b.errs[0] = c.raiseClock(ctx)
	default:
		c.bury(ctx, &b, true)
	}
	if err := errors.Join(b.errs...); err != nil {
		return err
	}
	if all {
		c.space.Clear() // others may have raised the clock as well
		c.debts.settleAll(upTo, told)
	} else {
		c.debts.settle(upTo, keys...)
	}
	if b.told || c.node.bus == nil {
		return nil
	}
	err := c.node.bus.Publish(ctx, b.invs...)
	if err == nil || c.node.repairs != nil {
		return nil
	}
	c.owe(b.invs, true) // nothing else would tell the others
	return err
}

// payDebts pays what the caches owe, with pauses that grow while nothing can be
// paid. It ends with the node.
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
			if sleep(n.ctx, pause-rand.N(pause/4)) != nil {
				return
			}
			pause = min(2*pause, longestRetry)
		default:
			pause = firstRetry
		}
	}
}
