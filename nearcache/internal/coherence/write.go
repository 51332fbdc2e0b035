package coherence

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/nearcache/internal/telemetry"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// abandonTimeout bounds the announcement of a write that failed, whose caller
// may have no time left.
const abandonTimeout = 250 * time.Millisecond

// Value is a value that is to be written.
type Value struct {
	Key   string
	Data  []byte   // encoded
	Slots []uint32 // of its tags
	Lives Lifetimes
	Entry *near.Entry // for the near tier; Arrive sets what it rests on
}

// Lifetimes are how long a value lives.
type Lifetimes struct {
	TTL  time.Duration // in the shared tier
	Near time.Duration // in the near tier of this node

	// Told is the near TTL that the entry decided, which its record tells the other
	// nodes; 0: they go by their options.
	Told time.Duration

	// Ahead is how long before its end the value is to be refreshed.
	Ahead time.Duration
}

// Set is one round trip and one message of a write of one value or several. What is stored
// comes near.
func (k *Keyspace) Set(ctx context.Context, values []Value, failed *Failures) {
	if len(values) == 0 {
		return
	}
	k.Sets.Add(uint64(len(values)))
	settles := k.Pending.Checkpoint()
	writes := make([]*near.Write, len(values))
	b := batch{invs: make([]bus.Invalidation, len(values)), errs: make([]error, len(values))}
	for i := range values {
		key := values[i].Key
		hash := k.Space.Hash(key)
		writes[i] = k.Space.Begin(key, hash)
		k.Costs.Ended.Add(hash, key, k.node.Near.Now())
		b.invs[i] = bus.Invalidation{Op: bus.OpSet, Cache: k.Name, Key: key}
	}
	if k.node.Tier == nil {
		k.announce(ctx, &b, failed) // the others first: nothing is stored that could be read again
	} else {
		k.storeValues(ctx, values, &b)
		k.resolveOrRetry(settles, &b)
	}
	for i, w := range writes {
		if b.errs[i] != nil {
			w.Abort()
			continue
		}
		v := &values[i]
		k.Arrive(&Arrival{
			Way: WayWritten, Key: v.Key, Hash: w.Hash(), Entry: v.Entry, Life: v.Lives.Near, Write: w,
			Basis: Basis{Revision: revisionOf(&b.invs[i]), Clock: b.clock, TagClock: b.tagClock, Slots: v.Slots},
		})
	}
	if k.node.Tier != nil {
		k.announce(ctx, &b, failed)
	}
}

// storeValues writes values into the shared tier and enters what became of each into b.
func (k *Keyspace) storeValues(ctx context.Context, values []Value, b *batch) {
	var err error
	if b.clock, err = k.knownClock(ctx); err != nil {
		b.fail(err)
		return
	}
	var slots []uint32 // of all
	for i := range values {
		slots = append(slots, values[i].Slots...)
	}
	if b.tagClock, err = k.readyTags(ctx, slots); err != nil {
		b.fail(err)
		return
	}
	puts := make([]shared.Put, len(values))
	for i := range values {
		puts[i] = k.ValuePut(&values[i], b.clock, b.tagClock)
	}
	k.announceOne(ctx, b, puts)
	k.enter(b, k.node.Tier.Write(ctx, puts))
}

// ValuePut returns what stores v, by a write or a load that knew these clocks.
func (k *Keyspace) ValuePut(v *Value, clock, tagClock uint64) shared.Put {
	put := shared.Put{Key: k.StoreKey(v.Key), TTL: v.Lives.TTL, Keep: k.Options.StaleFor, Record: k.valueRecord(v)}
	put.Record.Clock = clock
	if len(v.Slots) > 0 {
		put.Record.TagClock = tagClock
	}
	return put
}

// valueRecord returns the record of v, as its entry alone has it.
func (k *Keyspace) valueRecord(v *Value) driver.Record {
	r := driver.Record{Kind: driver.KindValue, Codec: k.Options.Codec, Schema: k.Options.Schema, NearTTL: v.Lives.Told, Value: v.Data}
	if len(v.Slots) > 0 {
		r.Slots = v.Slots
	}
	if v.Lives.Ahead < k.Options.RefreshAhead { // or readers know it by their options
		r.Ahead = v.Lives.Ahead
	}
	return r
}

// Fits refuses a value that the shared tier does not take.
func (k *Keyspace) Fits(v *Value) error {
	record := k.valueRecord(v)
	if err := k.node.Tier.Fits(&record); err != nil {
		return fmt.Errorf("nearcache: cache %q: %w", k.Name, err)
	}
	return nil
}

// Invalidate drops keys for a caller, and returns why some of them failed. The error is that of all.
func (k *Keyspace) Invalidate(ctx context.Context, op bus.Op, keys []string) (failed Failures, err error) {
	keys, err = k.CheckEach(keys, &failed)
	if err != nil {
		return nil, err
	}
	keys = Distinct(keys)
	k.Invalidations.Add(uint64(len(keys)))
	k.Drop(ctx, op, keys, true, &failed)
	return failed, nil
}

// Drop makes keys absent in every tier, and announces it if asked to. It adds to what
// failed already.
func (k *Keyspace) Drop(ctx context.Context, op bus.Op, keys []string, announce bool, failed *Failures) {
	for part := range slices.Chunk(keys, MaxPart) {
		k.dropPart(ctx, op, part, announce, failed)
	}
}

// dropPart is one round trip and one message of Drop.
func (k *Keyspace) dropPart(ctx context.Context, op bus.Op, keys []string, announce bool, failed *Failures) {
	settles := k.Pending.Checkpoint()
	writes := make([]*near.Write, len(keys))
	for i, key := range keys {
		hash := k.Space.Hash(key)
		if op == bus.OpInvalidate {
			writes[i] = k.Space.BeginKeeping(key, hash)
		} else {
			writes[i] = k.Space.Begin(key, hash)
		}
		k.Costs.Ended.Add(hash, key, k.node.Near.Now())
	}
	b := batch{invs: k.invalidations(op, keys), errs: make([]error, len(keys))}
	k.writeTombstones(ctx, &b, announce)
	k.resolveOrRetry(settles, &b) // before readers may read again
	for i, w := range writes {
		rev := revisionOf(&b.invs[i])
		if op == bus.OpInvalidate && k.Options.StaleFor > 0 && k.node.Journal != nil {
			k.kept.Add(rev)
		}
		w.Invalidated(rev)
	}
	if announce {
		k.announce(ctx, &b, failed)
		return
	}
	for i, err := range b.errs {
		failed.Put(keys[i], err)
	}
}

func (k *Keyspace) invalidations(op bus.Op, keys []string) []bus.Invalidation {
	invs := make([]bus.Invalidation, len(keys))
	for i, key := range keys {
		invs[i] = bus.Invalidation{Op: op, Cache: k.Name, Key: key}
	}
	return invs
}

// writeTombstones puts tombstones in the place of the keys of b.
func (k *Keyspace) writeTombstones(ctx context.Context, b *batch, announce bool) {
	if k.node.Tier == nil {
		return
	}
	puts := make([]shared.Put, len(b.invs))
	for i := range b.invs {
		puts[i] = shared.Put{
			Key: k.StoreKey(b.invs[i].Key), Record: driver.Record{Kind: driver.KindTombstone},
			KeepStale: k.Options.StaleFor > 0 && b.invs[i].Op == bus.OpInvalidate,
		}
	}
	if announce {
		k.announceOne(ctx, b, puts)
	}
	k.enter(b, k.node.Tier.Write(ctx, puts))
}

// DropRefused invalidates keys whose values cannot be stored: the source has
// most likely changed already. What fails of that is added to what failed.
func (k *Keyspace) DropRefused(ctx context.Context, keys []string, failed *Failures) {
	var more Failures
	k.Drop(ctx, bus.OpDelete, keys, true, &more)
	for key, err := range more {
		failed.Put(key, fmt.Errorf("%w; %w", (*failed)[key], err))
	}
}

// Clear ends all values, and announces it.
func (k *Keyspace) Clear(ctx context.Context) error {
	if err := k.Check(); err != nil {
		return err
	}
	k.Clears.Add(1)
	settles := k.Pending.Checkpoint()
	k.Space.Clear()
	// Readers may have read old values since, so the marks are raised again
	// when the outcome is known.
	var inv bus.Invalidation
	defer func() {
		k.Space.Clear()
		k.Clock.Settle(inv.Revision)
	}()
	inv, err := k.raiseClock(ctx)
	if err != nil {
		k.retryLater([]bus.Invalidation{inv}, false, time.Time{}) // before readers may read again
		return k.abandon(ctx, []bus.Invalidation{inv}, err)
	}
	k.Pending.ResolveAll(settles, false)
	return k.broadcast(ctx, []bus.Invalidation{inv})
}

// raiseClock makes every value absent in the shared tier. That it does so here
// is up to the caller.
func (k *Keyspace) raiseClock(ctx context.Context) (inv bus.Invalidation, err error) {
	inv = bus.Invalidation{Op: bus.OpClear, Cache: k.Name}
	if k.node.Tier == nil {
		return inv, nil
	}
	known, _, forgot := k.Clock.Get()
	at := k.node.Near.Now()
	r := k.advanceClock(ctx, known+1)
	if r.Err != nil {
		return inv, r.Err
	}
	if k.Clock.Learn(r.Revision.Number, at, forgot) { // before others learn it, who end nothing then
		k.Space.Clear()
		k.Clock.Settle(r.Revision.Number)
	}
	inv.Revision = r.Revision.Number
	return inv, nil
}

// announcement returns the message that the shared tier is to publish with the
// write, or nil if it cannot.
func (k *Keyspace) announcement(inv *bus.Invalidation) *driver.Announcement {
	if !k.node.announces {
		return nil
	}
	channel, payload, at := k.node.Bus.Announcement(*inv)
	if payload == nil {
		return nil
	}
	return &driver.Announcement{Channel: channel, Payload: payload, RevisionAt: at}
}

// publish tells the other nodes.
func (n *Node) publish(ctx context.Context, invs []bus.Invalidation) error {
	began := time.Now()
	err := n.Bus.Publish(ctx, invs...)
	n.Took(telemetry.Publish, invs[0].Cache, len(invs), began, err)
	return err
}

func (k *Keyspace) broadcast(ctx context.Context, invs []bus.Invalidation) error {
	if k.node.Bus == nil {
		return nil
	}
	if err := k.node.tell(ctx, invs); err != nil {
		k.Unannounced.Add(1)
		if k.node.Journal == nil {
			k.retryLater(invs, true, time.Time{}) // nothing else would tell the others
		}
		return fmt.Errorf("%w: cache %q: %w", ErrNotBroadcast, k.Name, err)
	}
	return nil
}

// abandon ends a write that the shared tier failed with err. The write may
// have happened, or may still: other nodes are told to drop what they have.
func (k *Keyspace) abandon(ctx context.Context, invs []bus.Invalidation, err error) error {
	k.SharedErrors.Add(1)
	err = fmt.Errorf("%w: cache %q: %w", ErrOutcomeUnknown, k.Name, err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
	defer cancel()
	for i := range invs {
		invs[i].Epoch, invs[i].Revision = 0, 0
	}
	return alsoUnannounced(err, k.broadcast(ctx, invs))
}

// alsoUnannounced is the error of a write that the shared tier did not confirm when
// the other nodes could not be told either: it says so, and is not
// [errNotBroadcast], which means that the write is stored.
func alsoUnannounced(err, untold error) error {
	if untold == nil {
		return err
	}
	return fmt.Errorf("%w; nor could the other nodes be told", err)
}
