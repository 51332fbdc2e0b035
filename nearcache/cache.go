package nearcache

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared"
)

// Cache is a named, typed view over a [Node]. It is safe for use by many
// goroutines. Values that come from the near tier are shared by all callers,
// who must not change what they point to, unless Options.Clone is set.
type Cache[V any] struct {
	node  *Node
	name  string
	opts  Options[V]
	space *near.Space

	flights   flights[V]
	clock     cacheClock
	tags      tagTable
	kept      keptThrough
	owes      atomic.Bool // a Clear in the shared tier, see repeat
	debts     debts
	failing   outage // of loads, while old values are given
	floors    floors
	places    chan struct{} // holds one element for each loader that runs; nil: no limit
	refreshes chan struct{} // holds one element for each refresh that runs; nil: there are none
	late      bool          // there may be entries that are no hits, see late.go

	counters
}

// New returns the cache of this name on node. Caches of one name on the nodes
// of a fleet are one cache; they must have one type and should have one set of
// options. A node has one cache of a name, which has 1 to 64 of A-Z a-z 0-9 . _ -
// and begins with a letter or a digit. A key has 1 to 1024 - len(name) - 1 bytes
// of any kind.
//
// A type of which the codec can keep no value is an error, and fields of it that the
// codec does not store are logged: see [shared.Inspector].
func New[V any](node *Node, name string, opts Options[V]) (*Cache[V], error) {
	if node == nil {
		return nil, fmt.Errorf("nearcache: New %q: the node is nil", name)
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := opts.validate(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults(node.bus != nil)
	if err := opts.validate(); err != nil {
		return nil, err
	}
	if err := opts.validateLag(node); err != nil {
		return nil, err
	}
	c := &Cache[V]{node: node, name: name, opts: opts, failing: outage{patience: slowPatience, quiet: loadsQuiet}}
	dropped, err := c.inspect()
	if err != nil {
		return nil, err
	}
	c.flights.init()
	if opts.MaxLoads > 0 {
		c.places = make(chan struct{}, opts.MaxLoads)
	}
	c.late = opts.NotFoundTTL > 0 || opts.FailSafe > 0 || opts.RefreshAhead > 0
	if opts.RefreshAhead > 0 {
		c.refreshes = make(chan struct{}, maxRefreshes)
	}
	err = node.join(name, c, func() {
		c.space = node.near.Space(0)
		c.space.Place(c.clockPartition, func(slot uint32) int { return node.partition(c.slotKey(slot)) })
		c.space.Guard(c.floors.admits)
	})
	if err != nil {
		return nil, err
	}
	c.warnDropped(dropped)
	return c, nil
}

// hit returns the entry that the near tier may serve, or nil. This is the hot
// path: a hash, a look into the index, a counter. It returns the entry so that
// a value is copied once.
func (c *Cache[V]) hit(key string, hash uint64) *entry[V] {
	e := c.space.Find(key, hash)
	if e == nil {
		return nil
	}
	if c.node.near.Notes(c.hits.add()) {
		c.node.near.Touch(hash, e)
	}
	return (*entry[V])(unsafe.Pointer(e))
}

// missed counts a read that the near tier did not answer.
func (c *Cache[V]) missed(hash uint64) {
	if c.node.near.Notes(c.misses.Add(1)) {
		c.node.near.Touch(hash, nil)
	}
}

// storeKey is the name of a key in the shared tier. Names of caches have no
// colon in them.
func (c *Cache[V]) storeKey(key string) string { return c.name + ":" + key }

// storeKeys appends the names of keys to names. They are in one piece of memory.
func (c *Cache[V]) storeKeys(names, keys []string) []string {
	size := len(keys) * (len(c.name) + 1)
	for _, key := range keys {
		size += len(key)
	}
	var all strings.Builder
	all.Grow(size)
	for _, key := range keys {
		at := all.Len()
		all.WriteString(c.name)
		all.WriteByte(':')
		all.WriteString(key)
		names = append(names, all.String()[at:])
	}
	return names
}

// partition returns the partition of a key in the shared tier.
func (c *Cache[V]) partition(key string) int {
	if c.node.tier == nil || c.node.tier.Partitions() <= 1 {
		return 0 // no name need be made to tell that
	}
	return c.node.partition(c.storeKey(key))
}

// clockPartition returns the partition of the clock, which may be another one once
// shards have joined or left.
func (c *Cache[V]) clockPartition() int {
	if c.node.tier == nil || c.node.tier.Partitions() <= 1 {
		return 0
	}
	return c.node.partition(c.clockKey())
}

// maxKeyNamed is how much of a key that is too long an error has.
const maxKeyNamed = 64

// check refuses what no tier takes, and everything after Close.
func (c *Cache[V]) check(keys ...string) error {
	if c.node.ctx.Err() != nil {
		return ErrClosed
	}
	for _, key := range keys {
		if limit := shared.MaxKeySize - len(c.name) - 1; key == "" || len(key) > limit {
			return fmt.Errorf("%w: %q has %d bytes, in cache %q it may have 1 to %d",
				ErrInvalidKey, named(key), len(key), c.name, limit)
		}
	}
	return nil
}

// nearLife shortens the near lifetime where this node may be missing news.
func (c *Cache[V]) nearLife(life time.Duration) time.Duration {
	if c.node.repairs == nil && c.node.cut.Load() {
		return min(life, c.node.opts.MaxStaleness)
	}
	return life
}

// apply applies one invalidation of another node, or the echo of an own write.
// It runs on the goroutine of the bus.
func (c *Cache[V]) apply(m *bus.Message, inv *bus.Invalidation) {
	if m.Text {
		defer c.repeatLater(inv)
	}
	switch inv.Op {
	case bus.OpTag:
		c.applyTag(inv, m.Own)
		return
	case bus.OpClear:
		// The new clock is read from the shared tier: a number on the bus could
		// be anybody's.
		c.node.heardOf(c.clockKey, shared.Revision{Epoch: c.node.epoch(c.clockPartition()), Number: inv.Revision})
		c.clock.cleared(inv.Revision)
		c.space.Clear()
		return
	}
	rev := shared.Revision{Epoch: inv.Epoch, Number: inv.Revision}
	if c.node.heardOf(func() string { return c.storeKey(inv.Key) }, rev) {
		c.floors.raise(c.space.Hash(inv.Key), floor{rev.Number, c.node.near.Now()})
	}
	news := near.News{
		Revision: rev, Own: m.Own,
		Keep: inv.Op == bus.OpInvalidate || inv.Op == bus.OpSet,
	}
	if news.Keep && c.opts.FailSafe > 0 && c.node.repairs != nil {
		c.kept.add(news.Revision)
	}
	c.space.Apply(inv.Key, c.space.Hash(inv.Key), news)
}

// repair applies what the journal tells of a key, and reports whether that took anything
// out.
func (c *Cache[V]) repair(key string, rev shared.Revision) bool {
	if c.opts.FailSafe > 0 && c.kept.take(rev) {
		return false // it is applied, and took out what it was to take out
	}
	return c.space.Apply(key, c.space.Hash(key), near.News{Revision: rev})
}

// advance applies what the journal tells of the clock, and reports whether that ended
// what was near. There may have been another Clear since the journal was read, so
// whether the clock is known stays as it was.
func (c *Cache[V]) advance(clock uint64) bool {
	if !c.clock.raise(clock) {
		return false
	}
	c.space.Clear()
	c.clock.settle(clock)
	return true
}

// repeatLater makes news that came as plain text true in the shared tier as
// well. When the worker is far behind, the whole cache is cleared.
func (c *Cache[V]) repeatLater(inv *bus.Invalidation) {
	if c.node.tier == nil {
		return
	}
	if !c.node.assign(chore{cache: c, op: inv.Op, key: strings.Clone(inv.Key)}) {
		c.owes.Store(true)
		c.node.flooded()
	}
}

// behind reports whether a Clear is to be repeated in the place of what there was
// no room for. It does so once.
func (c *Cache[V]) behind() bool { return c.owes.Swap(false) }

func (c *Cache[V]) repeat(ctx context.Context, ch chore) error {
	if ch.op == bus.OpClear || c.behind() {
		return c.Clear(ctx)
	}
	if ch.op == bus.OpTag {
		return c.dropTags(ctx, []string{ch.key}, false)
	}
	return c.drop(ctx, ch.op, []string{ch.key}, false)
}
