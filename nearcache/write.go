package nearcache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared"
)

// abandonTimeout bounds the announcement of a write that failed, whose caller
// may have no time left.
const abandonTimeout = 250 * time.Millisecond

// Set stores v in the shared tier and makes every other node drop what it has.
// Without a shared tier, v is kept on this node only.
//
// When Set returns nil, this node never again returns an older value, and
// neither does another node once it has heard of it. After any error but
// [ErrInvalidKey], [ErrInvalidTag], [ErrClosed] and that of an [Entry] which cannot be
// written, this node has dropped its copy: see
// [ErrOutcomeUnknown], [ErrNotBroadcast], [ErrTooLarge] and [ErrEncode].
func (c *Cache[V]) Set(ctx context.Context, key string, v V) error {
	return c.SetEntry(ctx, key, Entry[V]{Value: v})
}

// SetEntry is Set for a value with tags, or whose lifetimes differ from the
// cache's options.
func (c *Cache[V]) SetEntry(ctx context.Context, key string, e Entry[V]) error {
	if err := c.check(key); err != nil {
		return err
	}
	if err := e.checkWritten(); err != nil {
		return err
	}
	lives, err := c.opts.lives(&e)
	if err != nil {
		return err
	}
	if err := c.addTags(key, &e); err != nil {
		return err
	}
	data, err := c.encodeFitting(key, &e, lives)
	if err != nil {
		// The source has most likely changed already.
		return errors.Join(err, c.drop(ctx, bus.OpDelete, []string{key}, true))
	}
	c.sets.Add(1)
	hash, settles, slots := c.space.Hash(key), c.debts.now(), slotsOf(e.Tags)
	w := c.space.Begin(key, hash)
	finish := func(b basis) {
		entry := c.newEntry(key, e.Value, len(data), near.Stamp{}, b.revision)
		c.extend(entry, lives.ttl, lives.ahead)
		c.written(w, entry, lives.near, b)
	}
	inv := bus.Invalidation{Op: bus.OpSet, Cache: c.name, Key: key}
	if c.node.tier == nil {
		return c.setBusOnly(ctx, inv, w, func() { finish(basis{slots: slots}) })
	}
	b, announced, err := c.setShared(ctx, &inv, lives, data, slots)
	if err != nil {
		c.owe([]bus.Invalidation{inv}, false, openUntil(err)) // before readers may read again
		w.Abort()
		return c.abandon(ctx, []bus.Invalidation{inv}, err)
	}
	c.debts.settle(settles, key)
	finish(b)
	if announced || c.node.bus == nil {
		return nil
	}
	inv.Epoch, inv.Revision = b.revision.Epoch, b.revision.Number
	return c.broadcast(ctx, []bus.Invalidation{inv})
}

// written puts what w has written near, which rests on b.
func (c *Cache[V]) written(w *near.Write, e *entry[V], life time.Duration, b basis) {
	e.Tag(b.slots)
	c.arrive(&arrival{way: wayWritten, key: e.Key(), hash: w.Hash(), entry: &e.Entry, life: c.nearLife(life), basis: b, write: w})
}

// setShared stores what was encoded, and returns what that rests on.
func (c *Cache[V]) setShared(ctx context.Context, inv *bus.Invalidation, lives lifetimes, data []byte, slots []uint32) (b basis, announced bool, err error) {
	b.slots = slots
	if b.clock, err = c.knownClock(ctx); err != nil {
		return b, false, err
	}
	if b.tagClock, err = c.readyTags(ctx, slots); err != nil {
		return b, false, err
	}
	put := c.valuePut(inv.Key, lives, b.clock, data)
	putTags(&put, slots, b.tagClock)
	put.Announce = c.announcement(inv)
	r := c.node.tier.Write(ctx, []shared.Put{put})[0]
	b.revision = r.Revision
	return b, put.Announce != nil, r.Err
}

// valuePut returns what stores a value that was encoded, by a write that knew
// the clock.
func (c *Cache[V]) valuePut(key string, l lifetimes, clock uint64, data []byte) shared.Put {
	put := shared.Put{Key: c.storeKey(key), TTL: l.ttl, Keep: c.opts.FailSafe, Record: c.valueRecord(l, data)}
	put.Record.Clock = clock
	return put
}

// valueRecord returns the record of a value that was encoded, as its entry alone has it.
func (c *Cache[V]) valueRecord(l lifetimes, data []byte) shared.Record {
	return shared.Record{
		Kind: shared.KindValue, Codec: c.opts.Codec.ID(), Schema: c.opts.Schema,
		NearTTL: l.told, Ahead: c.opts.toldAhead(l), Value: data,
	}
}

func (c *Cache[V]) setBusOnly(ctx context.Context, inv bus.Invalidation, w *near.Write, finish func()) error {
	if err := c.broadcast(ctx, []bus.Invalidation{inv}); err != nil {
		w.Abort()
		return err
	}
	finish()
	return nil
}

// Delete deletes keys everywhere. That a key is not there is no error. What it
// promises, and what a key may fail with, is what [Cache.Set] says; the error is
// a [KeysError], also of a single key: of an invalid key it has [ErrInvalidKey], and the
// others are deleted all the same. Several keys are one round
// trip to the shared tier and one message to the other nodes, or one each for every
// 1,024.
func (c *Cache[V]) Delete(ctx context.Context, keys ...string) error {
	return c.write(ctx, bus.OpDelete, keys)
}

// Invalidate says that the values of keys are stale: every tier drops them and
// the next reader loads. What it promises is what [Cache.Delete] does. With
// Options.FailSafe, who cannot get another value may still be given such a one,
// as a stale answer.
func (c *Cache[V]) Invalidate(ctx context.Context, keys ...string) error {
	return c.write(ctx, bus.OpInvalidate, keys)
}

func (c *Cache[V]) write(ctx context.Context, op bus.Op, keys []string) error {
	var failed KeysError
	keys, err := c.checkEach(keys, &failed)
	if err != nil {
		return err
	}
	keys = distinct(keys)
	c.drops.Add(uint64(len(keys)))
	c.dropMany(ctx, op, keys, true, &failed)
	return failed.err()
}

// drop makes keys absent in every tier, and announces it if asked to.
func (c *Cache[V]) drop(ctx context.Context, op bus.Op, keys []string, announce bool) error {
	var failed KeysError
	c.dropMany(ctx, op, keys, announce, &failed)
	return failed.err()
}

// dropMany is drop that adds to what failed already.
func (c *Cache[V]) dropMany(ctx context.Context, op bus.Op, keys []string, announce bool, failed *KeysError) {
	for part := range slices.Chunk(keys, maxPart) {
		c.dropPart(ctx, op, part, announce, failed)
	}
}

// dropPart is one round trip and one message of drop.
func (c *Cache[V]) dropPart(ctx context.Context, op bus.Op, keys []string, announce bool, failed *KeysError) {
	settles := c.debts.now()
	writes := make([]*near.Write, len(keys))
	for i, key := range keys {
		if op == bus.OpInvalidate {
			writes[i] = c.space.BeginKeeping(key, c.space.Hash(key))
		} else {
			writes[i] = c.space.Begin(key, c.space.Hash(key))
		}
	}
	b := batch{invs: c.invalidations(op, keys), errs: make([]error, len(keys))}
	c.bury(ctx, &b, announce)
	c.settleOrOwe(settles, &b) // before readers may read again
	for i, w := range writes {
		rev := revisionOf(&b.invs[i])
		if op == bus.OpInvalidate && c.opts.FailSafe > 0 && c.node.repairs != nil {
			c.kept.add(rev)
		}
		w.Invalidated(rev)
	}
	if announce {
		c.tell(ctx, &b, failed)
		return
	}
	for i, err := range b.errs {
		failed.put(keys[i], err)
	}
}

func (c *Cache[V]) invalidations(op bus.Op, keys []string) []bus.Invalidation {
	invs := make([]bus.Invalidation, len(keys))
	for i, key := range keys {
		invs[i] = bus.Invalidation{Op: op, Cache: c.name, Key: key}
	}
	return invs
}

// bury puts tombstones in the place of the keys of b. One key is announced by
// the same step where the store can; more than one go out in one message
// afterwards.
func (c *Cache[V]) bury(ctx context.Context, b *batch, announce bool) {
	if c.node.tier == nil {
		return
	}
	puts := make([]shared.Put, len(b.invs))
	for i := range b.invs {
		puts[i] = shared.Put{
			Key: c.storeKey(b.invs[i].Key), Record: shared.Record{Kind: shared.KindTombstone},
			KeepStale: c.opts.FailSafe > 0 && b.invs[i].Op == bus.OpInvalidate,
		}
	}
	if announce && len(puts) == 1 {
		puts[0].Announce = c.announcement(&b.invs[0])
		b.told = puts[0].Announce != nil
	}
	c.take(b, c.node.tier.Write(ctx, puts))
}

// Clear makes every value of the cache absent in every tier, in one step
// whatever their number. What it promises is what [Cache.Delete] does.
func (c *Cache[V]) Clear(ctx context.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	c.clears.Add(1)
	settles := c.debts.now()
	c.space.Clear()
	// Readers may have read old values since, so the marks are raised again
	// when the outcome is known.
	var inv bus.Invalidation
	defer func() {
		c.space.Clear()
		c.clock.settle(inv.Revision)
	}()
	inv, err := c.raiseClock(ctx)
	if err != nil {
		c.owe([]bus.Invalidation{inv}, false, time.Time{}) // before readers may read again
		return c.abandon(ctx, []bus.Invalidation{inv}, err)
	}
	c.debts.settleAll(settles, false)
	return c.broadcast(ctx, []bus.Invalidation{inv})
}

// raiseClock makes every value absent in the shared tier. That it does so here
// is up to the caller.
func (c *Cache[V]) raiseClock(ctx context.Context) (inv bus.Invalidation, err error) {
	inv = bus.Invalidation{Op: bus.OpClear, Cache: c.name}
	if c.node.tier == nil {
		return inv, nil
	}
	known, _, forgot := c.clock.get()
	at := c.node.near.Now()
	r := c.advanceClock(ctx, known+1)
	if r.Err != nil {
		return inv, r.Err
	}
	if c.clock.learn(r.Revision.Number, at, forgot) { // before others learn it, who end nothing then
		c.space.Clear()
		c.clock.settle(r.Revision.Number)
	}
	inv.Revision = r.Revision.Number
	return inv, nil
}

// announcement returns the message that the shared tier is to publish with the
// write, or nil if it cannot.
func (c *Cache[V]) announcement(inv *bus.Invalidation) *shared.Announcement {
	if !c.node.announces {
		return nil
	}
	channel, payload, at := c.node.bus.Announcement(*inv)
	if payload == nil {
		return nil
	}
	return &shared.Announcement{Channel: channel, Payload: payload, RevisionAt: at}
}

func (c *Cache[V]) broadcast(ctx context.Context, invs []bus.Invalidation) error {
	if c.node.bus == nil {
		return nil
	}
	if err := c.node.bus.Publish(ctx, invs...); err != nil {
		c.unannounced.Add(1)
		if c.node.repairs == nil {
			c.owe(invs, true, time.Time{}) // nothing else would tell the others
		}
		return fmt.Errorf("%w: cache %q: %w", ErrNotBroadcast, c.name, err)
	}
	return nil
}

// abandon ends a write that the shared tier failed with err. The write may
// have happened, or may still: other nodes are told to drop what they have.
func (c *Cache[V]) abandon(ctx context.Context, invs []bus.Invalidation, err error) error {
	c.sharedErrors.Add(1)
	err = fmt.Errorf("%w: cache %q: %w", ErrOutcomeUnknown, c.name, err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
	defer cancel()
	for i := range invs {
		invs[i].Epoch, invs[i].Revision = 0, 0
	}
	return alsoUntold(err, c.broadcast(ctx, invs))
}

// alsoUntold is the error of a write that the shared tier did not confirm when
// the other nodes could not be told either: it says so, and is not
// [ErrNotBroadcast], which means that the write is stored.
func alsoUntold(err, untold error) error {
	if untold == nil {
		return err
	}
	return fmt.Errorf("%w; nor could the other nodes be told", err)
}

// encodeFitting encodes a value that is to be written, and refuses what the
// shared tier does not take. With Options.Clone it makes the value the cache's
// own.
func (c *Cache[V]) encodeFitting(key string, e *Entry[V], l lifetimes) (data []byte, err error) {
	if e.Value, err = c.give(key, e.Value); err != nil {
		return nil, err
	}
	data, err = c.encode(key, e.Value)
	if err != nil || c.node.tier == nil {
		return data, err
	}
	record := c.valueRecord(l, data)
	record.Slots = slotsOf(e.Tags)
	if err = c.node.tier.Fits(&record); err != nil {
		c.tooLarge.Add(1)
		err = fmt.Errorf("nearcache: cache %q: %w", c.name, err)
	}
	return data, err
}

// encode encodes the value of key for the shared tier.
func (c *Cache[V]) encode(key string, v V) (data []byte, err error) {
	err = c.guard(callbackCodec, key, func() (err error) {
		data, err = c.opts.Codec.Marshal(v)
		return err
	})
	if err != nil {
		if c.unencodable.Add(1) == 1 { // the error of a codec may carry the value
			c.node.opts.Logger.Warn("nearcache: a value cannot be encoded, and is not cached",
				"cache", c.name, "type", fmt.Sprintf("%T", v), "codec", c.opts.Codec.ID())
		}
		return nil, fmt.Errorf("%w: cache %q: %w", ErrEncode, c.name, err)
	}
	return data, nil
}
