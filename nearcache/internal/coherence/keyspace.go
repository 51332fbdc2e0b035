package coherence

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/nearcache/internal/pending"
	"github.com/nearbus/nearbus/nearcache/internal/telemetry"
	"github.com/nearbus/nearbus/nearcache/internal/topk"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// Keyspace is what a cache is but for its values: its keys, what this node knows of their
// records, and what other nodes still have to be told of them. It writes, and takes in what
// other nodes have written; its Records read.
type Keyspace struct {
	Records

	kept       generation.Kept
	writing    writing
	overflowed atomic.Bool // a Clear in the shared tier, see repeat
	Floors     floors
	Costs      Costs
}

// Records are the keys of a cache, and what decides which of their records are valid: it reads
// them from the shared tier, and judges them by clocks, watermarks and what is pending.
type Records struct {
	node    *Node
	Name    string
	Options Settings
	Space   *near.Space

	Context context.Context // ends with the keyspace or its node, and has no values; for loads
	cancel  context.CancelFunc

	Clock   generation.Clear
	Tags    generation.Tags
	Pending pending.Queue

	counters
	Durations [telemetry.Kinds]telemetry.Histogram
}

// Costs are the keys that cost most. Hits are not among what is counted.
type Costs struct {
	Misses, Loads topk.Sketch
	Ended         topk.Sketch // by writes of this node, and those that it heard of
}

// Settings are the options of a keyspace, with all defaults set.
type Settings struct {
	Codec        uint8 // that writes its records
	Schema       uint32
	StaleFor     time.Duration
	StaleTags    bool // what a tag has ended is kept as well
	RefreshAhead time.Duration
	Tagged       bool // every value may have tags

	Agreed []bus.Setting // that all nodes must have the same of
}

// Init prepares k for use, but for its part of the near tier: see join.
func (k *Keyspace) Init(node *Node, name string, opts Settings) {
	k.node, k.Name, k.Options = node, name, opts
	k.Pending.SlotOf = generation.SlotOf
}

// open gives k its part of the near tier.
func (k *Keyspace) open() {
	k.Context, k.cancel = context.WithCancel(k.node.Context)
	k.Space = k.node.Near.Space(0)
	k.Space.Place(k.clockPartition, func(slot uint32) int { return k.node.partition(k.slotKey(slot)) })
	k.Space.Guard(k.Floors.admits)
	k.Tags.Count(k.Space.Resize)
}

// StoreKey is the name of a key in the shared tier. Names of caches have no
// colon in them.
func (rs *Records) StoreKey(key string) string { return rs.Name + ":" + key }

// storeKeys appends the names of keys to names. They are in one piece of memory.
func (rs *Records) storeKeys(names, keys []string) []string {
	size := len(keys) * (len(rs.Name) + 1)
	for _, key := range keys {
		size += len(key)
	}
	var all strings.Builder
	all.Grow(size)
	for _, key := range keys {
		at := all.Len()
		all.WriteString(rs.Name)
		all.WriteByte(':')
		all.WriteString(key)
		names = append(names, all.String()[at:])
	}
	return names
}

// Partition returns the partition of a key in the shared tier.
func (rs *Records) Partition(key string) int {
	if rs.node.Tier == nil || rs.node.Tier.Partitions() <= 1 {
		return 0 // no name need be made to tell that
	}
	return rs.node.partition(rs.StoreKey(key))
}

// clockPartition returns the partition of the clock, which may be another one once
// shards have joined or left.
func (rs *Records) clockPartition() int {
	if rs.node.Tier == nil || rs.node.Tier.Partitions() <= 1 {
		return 0
	}
	return rs.node.partition(rs.clockKey())
}

// maxKeyNamed is how much of a key that is too long an error has.
const maxKeyNamed = 64

// Named returns as much of key as an error has.
func Named(key string) string { return key[:min(len(key), maxKeyNamed)] }

// checkKey refuses what no tier takes, of the cache of a name.
func checkKey(name, key string) error {
	if limit := shared.MaxKeySize - len(name) - 1; key == "" || len(key) > limit {
		return fmt.Errorf("%w: %q has %d bytes, in cache %q it may have 1 to %d",
			shared.ErrInvalidKey, Named(key), len(key), name, limit)
	}
	return nil
}

// Check refuses what no tier takes, and everything after Close of the keyspace or its node.
func (rs *Records) Check(keys ...string) error {
	if rs.Context.Err() != nil {
		return ErrClosed
	}
	for _, key := range keys {
		if err := checkKey(rs.Name, key); err != nil {
			return err
		}
	}
	return nil
}

// apply applies one invalidation of another node, or the echo of an own write.
// It runs on the goroutine of the bus.
func (k *Keyspace) apply(m *bus.Message, inv *bus.Invalidation) {
	if m.Text {
		defer k.enqueueText(inv)
	}
	switch inv.Op {
	case bus.OpTag:
		k.applyTag(m, inv)
		return
	case bus.OpClear:
		// The new clock is read from the shared tier: a number on the bus could
		// be anybody's.
		k.node.heardOf(m, k.clockKey, driver.Revision{Epoch: k.node.epoch(k.clockPartition()), Number: inv.Revision})
		k.Clock.Cleared(inv.Revision)
		k.Space.Clear()
		return
	}
	rev := driver.Revision{Epoch: inv.Epoch, Number: inv.Revision}
	if k.node.heardOf(m, func() string { return k.StoreKey(inv.Key) }, rev) {
		k.raiseFloor(inv.Key, k.Space.Hash(inv.Key))
	}
	news := near.News{
		Revision: rev, Own: m.Own,
		Keep: inv.Op == bus.OpInvalidate || inv.Op == bus.OpSet,
	}
	if news.Keep && k.Options.StaleFor > 0 && k.node.Journal != nil {
		k.kept.Add(news.Revision)
	}
	hash := k.Space.Hash(inv.Key)
	k.Space.Apply(inv.Key, hash, news)
	if !m.Own { // or it was counted when it was made
		k.Costs.Ended.Add(hash, inv.Key, k.node.Near.Now())
	}
}

// repair applies what the journal tells of a key, and reports whether that took anything
// out.
func (k *Keyspace) repair(key string, rev driver.Revision) bool {
	if k.Options.StaleFor > 0 && k.kept.Take(rev) {
		return false // it is applied, and took out what it was to take out
	}
	return k.Space.Apply(key, k.Space.Hash(key), near.News{Revision: rev})
}

// advance applies what the journal tells of the clock, and reports whether that ended
// what was near. There may have been another Clear since the journal was read, so
// whether the clock is known stays as it was.
func (k *Keyspace) advance(clock uint64) bool {
	if !k.Clock.Raise(clock) {
		return false
	}
	k.Space.Clear()
	k.Clock.Settle(clock)
	return true
}

// enqueueText makes news that came as plain text true in the shared tier as
// well. When the worker is far behind, the whole cache is cleared.
func (k *Keyspace) enqueueText(inv *bus.Invalidation) {
	if k.node.Tier == nil {
		return
	}
	select {
	case k.node.jobs <- textJob{cache: k, op: inv.Op, key: strings.Clone(inv.Key)}:
	default:
		k.overflowed.Store(true)
		signal(k.node.overflows) // has the worker ask all caches whether they are behind
	}
}

// takeOverflow reports whether a Clear is to be repeated in the place of what there was
// no room for. It does so once.
func (k *Keyspace) takeOverflow() bool { return k.overflowed.Swap(false) }

func (k *Keyspace) applyText(ctx context.Context, ch textJob) error {
	if ch.op == bus.OpClear || k.takeOverflow() {
		return k.Clear(ctx)
	}
	if ch.op == bus.OpTag {
		return k.dropTags(ctx, []string{ch.key}, false)
	}
	var failed Failures
	k.Drop(ctx, ch.op, []string{ch.key}, false, &failed)
	return failed[ch.key]
}

// Cleared reports whether the record found was there before a Clear that this node
// knows of.
func (rs *Records) Cleared(found *shared.Found) bool {
	clock, _, _ := rs.Clock.Get()
	return found.Clock < clock && !rs.node.Faults.Off(fault.Clock)
}

// SharedFailed counts a failure of the shared tier and names it.
func (rs *Records) SharedFailed(err error) error {
	rs.SharedErrors.Add(1)
	return fmt.Errorf("nearcache: cache %q: shared tier: %w", rs.Name, err)
}
