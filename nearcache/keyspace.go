package nearcache

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/nearcache/internal/outage"
	"github.com/nearbus/nearbus/nearcache/internal/pending"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// keyspace is what a cache is but for its values: its keys, what this node knows of their
// records, and what other nodes still have to be told of them.
type keyspace struct {
	node  *Node
	name  string
	opts  settings
	space *near.Space

	clock   generation.Clear
	tags    generation.Tags
	kept    generation.Kept
	owes    atomic.Bool // a Clear in the shared tier, see repeat
	pending pending.Queue
	failing outage.Outage // of loads, while old values are given
	floors  floors
	places  chan struct{} // holds one element for each loader that runs; nil: no limit

	counters
}

// settings are the options of a cache that do not depend on the type of its values.
type settings struct {
	Codec              shared.Codec
	Schema             uint32
	FailSafe           time.Duration
	RefreshAhead       time.Duration
	LoadTimeout        time.Duration
	SourceLag          time.Duration
	MaxConcurrentLoads int
	Tagged             bool // every value may have tags

	agreed []bus.Setting // that all nodes must have the same of
}

// init prepares k for use, but for its part of the near tier: see open.
func (k *keyspace) init(node *Node, name string, opts settings) {
	k.node, k.name, k.opts = node, name, opts
	k.pending.SlotOf = generation.SlotOf
	k.failing = outage.Outage{Patience: slowPatience, Quiet: loadsQuiet}
	if opts.MaxConcurrentLoads > 0 {
		k.places = make(chan struct{}, opts.MaxConcurrentLoads)
	}
}

// open gives k its part of the near tier.
func (k *keyspace) open() {
	k.space = k.node.near.Space(0)
	k.space.Place(k.clockPartition, func(slot uint32) int { return k.node.partition(k.slotKey(slot)) })
	k.space.Guard(k.floors.admits)
}

// storeKey is the name of a key in the shared tier. Names of caches have no
// colon in them.
func (k *keyspace) storeKey(key string) string { return k.name + ":" + key }

// storeKeys appends the names of keys to names. They are in one piece of memory.
func (k *keyspace) storeKeys(names, keys []string) []string {
	size := len(keys) * (len(k.name) + 1)
	for _, key := range keys {
		size += len(key)
	}
	var all strings.Builder
	all.Grow(size)
	for _, key := range keys {
		at := all.Len()
		all.WriteString(k.name)
		all.WriteByte(':')
		all.WriteString(key)
		names = append(names, all.String()[at:])
	}
	return names
}

// partition returns the partition of a key in the shared tier.
func (k *keyspace) partition(key string) int {
	if k.node.tier == nil || k.node.tier.Partitions() <= 1 {
		return 0 // no name need be made to tell that
	}
	return k.node.partition(k.storeKey(key))
}

// clockPartition returns the partition of the clock, which may be another one once
// shards have joined or left.
func (k *keyspace) clockPartition() int {
	if k.node.tier == nil || k.node.tier.Partitions() <= 1 {
		return 0
	}
	return k.node.partition(k.clockKey())
}

// maxKeyNamed is how much of a key that is too long an error has.
const maxKeyNamed = 64

// check refuses what no tier takes, and everything after Close.
func (k *keyspace) check(keys ...string) error {
	if k.node.ctx.Err() != nil {
		return ErrClosed
	}
	for _, key := range keys {
		if limit := shared.MaxKeySize - len(k.name) - 1; key == "" || len(key) > limit {
			return fmt.Errorf("%w: %q has %d bytes, in cache %q it may have 1 to %d",
				ErrInvalidKey, named(key), len(key), k.name, limit)
		}
	}
	return nil
}

// apply applies one invalidation of another node, or the echo of an own write.
// It runs on the goroutine of the bus.
func (k *keyspace) apply(m *bus.Message, inv *bus.Invalidation) {
	if m.Text {
		defer k.repeatLater(inv)
	}
	switch inv.Op {
	case bus.OpTag:
		k.applyTag(m, inv)
		return
	case bus.OpClear:
		// The new clock is read from the shared tier: a number on the bus could
		// be anybody's.
		k.node.heardOf(m, k.clockKey, driver.Revision{Epoch: k.node.epoch(k.clockPartition()), Number: inv.Revision})
		k.clock.Cleared(inv.Revision)
		k.space.Clear()
		return
	}
	rev := driver.Revision{Epoch: inv.Epoch, Number: inv.Revision}
	if k.node.heardOf(m, func() string { return k.storeKey(inv.Key) }, rev) {
		k.floors.raise(k.space.Hash(inv.Key), floor{rev.Number, k.node.near.Now()})
	}
	news := near.News{
		Revision: rev, Own: m.Own,
		Keep: inv.Op == bus.OpInvalidate || inv.Op == bus.OpSet,
	}
	if news.Keep && k.opts.FailSafe > 0 && k.node.journal != nil {
		k.kept.Add(news.Revision)
	}
	k.space.Apply(inv.Key, k.space.Hash(inv.Key), news)
}

// repair applies what the journal tells of a key, and reports whether that took anything
// out.
func (k *keyspace) repair(key string, rev driver.Revision) bool {
	if k.opts.FailSafe > 0 && k.kept.Take(rev) {
		return false // it is applied, and took out what it was to take out
	}
	return k.space.Apply(key, k.space.Hash(key), near.News{Revision: rev})
}

// advance applies what the journal tells of the clock, and reports whether that ended
// what was near. There may have been another Clear since the journal was read, so
// whether the clock is known stays as it was.
func (k *keyspace) advance(clock uint64) bool {
	if !k.clock.Raise(clock) {
		return false
	}
	k.space.Clear()
	k.clock.Settle(clock)
	return true
}

// repeatLater makes news that came as plain text true in the shared tier as
// well. When the worker is far behind, the whole cache is cleared.
func (k *keyspace) repeatLater(inv *bus.Invalidation) {
	if k.node.tier == nil {
		return
	}
	if !k.node.assign(chore{cache: k, op: inv.Op, key: strings.Clone(inv.Key)}) {
		k.owes.Store(true)
		k.node.flooded()
	}
}

// behind reports whether a Clear is to be repeated in the place of what there was
// no room for. It does so once.
func (k *keyspace) behind() bool { return k.owes.Swap(false) }

func (k *keyspace) repeat(ctx context.Context, ch chore) error {
	if ch.op == bus.OpClear || k.behind() {
		return k.clear(ctx)
	}
	if ch.op == bus.OpTag {
		return k.dropTags(ctx, []string{ch.key}, false)
	}
	return k.drop(ctx, ch.op, []string{ch.key}, false)
}
