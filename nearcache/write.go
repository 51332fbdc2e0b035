package nearcache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
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
	if err := c.keys.check(key); err != nil {
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
		return errors.Join(err, c.keys.drop(ctx, bus.OpDelete, []string{key}, true))
	}
	var failed KeysError
	c.setPart(ctx, []item[V]{{key: key, entry: e, data: data, lives: lives}}, &failed)
	return failed[key]
}

// written puts what w has written near, which rests on b.
func (c *Cache[V]) written(w *near.Write, e *entry[V], life time.Duration, b basis) {
	e.Tag(b.slots)
	c.keys.arrive(&arrival{way: wayWritten, key: e.Key(), hash: w.Hash(), entry: &e.Entry, life: life, basis: b, write: w})
}

// valuePut returns what stores a value that was encoded, by a write that knew
// the clock.
func (k *keyspace) valuePut(key string, l lifetimes, clock uint64, data []byte) shared.Put {
	put := shared.Put{Key: k.storeKey(key), TTL: l.ttl, Keep: k.opts.FailSafe, Record: k.valueRecord(l, data)}
	put.Record.Clock = clock
	return put
}

// valueRecord returns the record of a value that was encoded, as its entry alone has it.
func (k *keyspace) valueRecord(l lifetimes, data []byte) driver.Record {
	r := driver.Record{Kind: driver.KindValue, Codec: k.opts.Codec.ID(), Schema: k.opts.Schema, NearTTL: l.told, Value: data}
	if l.ahead < k.opts.RefreshAhead { // or readers know it by their options
		r.Ahead = l.ahead
	}
	return r
}

// Delete deletes keys everywhere. That a key is not there is no error. What it
// promises, and what a key may fail with, is what [Cache.Set] says; the error is
// a [KeysError], also of a single key: of an invalid key it has [ErrInvalidKey], and the
// others are deleted all the same. Several keys are one round
// trip to the shared tier and one message to the other nodes, or one each for every
// 1,024.
func (c *Cache[V]) Delete(ctx context.Context, keys ...string) error {
	return c.keys.write(ctx, bus.OpDelete, keys)
}

// Invalidate says that the values of keys are stale: every tier drops them and
// the next reader loads. What it promises is what [Cache.Delete] does. With
// Options.FailSafe, who cannot get another value may still be given such a one,
// as a stale answer.
func (c *Cache[V]) Invalidate(ctx context.Context, keys ...string) error {
	return c.keys.write(ctx, bus.OpInvalidate, keys)
}

func (k *keyspace) write(ctx context.Context, op bus.Op, keys []string) error {
	var failed KeysError
	keys, err := k.checkEach(keys, &failed)
	if err != nil {
		return err
	}
	keys = distinct(keys)
	k.drops.Add(uint64(len(keys)))
	k.dropMany(ctx, op, keys, true, &failed)
	return failed.err()
}

// drop makes keys absent in every tier, and announces it if asked to.
func (k *keyspace) drop(ctx context.Context, op bus.Op, keys []string, announce bool) error {
	var failed KeysError
	k.dropMany(ctx, op, keys, announce, &failed)
	return failed.err()
}

// dropMany is drop that adds to what failed already.
func (k *keyspace) dropMany(ctx context.Context, op bus.Op, keys []string, announce bool, failed *KeysError) {
	for part := range slices.Chunk(keys, maxPart) {
		k.dropPart(ctx, op, part, announce, failed)
	}
}

// dropPart is one round trip and one message of drop.
func (k *keyspace) dropPart(ctx context.Context, op bus.Op, keys []string, announce bool, failed *KeysError) {
	settles := k.pending.Checkpoint()
	writes := make([]*near.Write, len(keys))
	for i, key := range keys {
		if op == bus.OpInvalidate {
			writes[i] = k.space.BeginKeeping(key, k.space.Hash(key))
		} else {
			writes[i] = k.space.Begin(key, k.space.Hash(key))
		}
	}
	b := batch{invs: k.invalidations(op, keys), errs: make([]error, len(keys))}
	k.bury(ctx, &b, announce)
	k.resolveOrRetry(settles, &b) // before readers may read again
	for i, w := range writes {
		rev := revisionOf(&b.invs[i])
		if op == bus.OpInvalidate && k.opts.FailSafe > 0 && k.node.journal != nil {
			k.kept.Add(rev)
		}
		w.Invalidated(rev)
	}
	if announce {
		k.tell(ctx, &b, failed)
		return
	}
	for i, err := range b.errs {
		failed.put(keys[i], err)
	}
}

func (k *keyspace) invalidations(op bus.Op, keys []string) []bus.Invalidation {
	invs := make([]bus.Invalidation, len(keys))
	for i, key := range keys {
		invs[i] = bus.Invalidation{Op: op, Cache: k.name, Key: key}
	}
	return invs
}

// bury puts tombstones in the place of the keys of b.
func (k *keyspace) bury(ctx context.Context, b *batch, announce bool) {
	if k.node.tier == nil {
		return
	}
	puts := make([]shared.Put, len(b.invs))
	for i := range b.invs {
		puts[i] = shared.Put{
			Key: k.storeKey(b.invs[i].Key), Record: driver.Record{Kind: driver.KindTombstone},
			KeepStale: k.opts.FailSafe > 0 && b.invs[i].Op == bus.OpInvalidate,
		}
	}
	if announce {
		k.announceOne(b, puts)
	}
	k.take(b, k.node.tier.Write(ctx, puts))
}

// Clear makes every value of the cache absent in every tier, in one step
// whatever their number. What it promises is what [Cache.Delete] does.
func (c *Cache[V]) Clear(ctx context.Context) error { return c.keys.clear(ctx) }

func (k *keyspace) clear(ctx context.Context) error {
	if err := k.check(); err != nil {
		return err
	}
	k.clears.Add(1)
	settles := k.pending.Checkpoint()
	k.space.Clear()
	// Readers may have read old values since, so the marks are raised again
	// when the outcome is known.
	var inv bus.Invalidation
	defer func() {
		k.space.Clear()
		k.clock.Settle(inv.Revision)
	}()
	inv, err := k.raiseClock(ctx)
	if err != nil {
		k.retryLater([]bus.Invalidation{inv}, false, time.Time{}) // before readers may read again
		return k.abandon(ctx, []bus.Invalidation{inv}, err)
	}
	k.pending.ResolveAll(settles, false)
	return k.broadcast(ctx, []bus.Invalidation{inv})
}

// raiseClock makes every value absent in the shared tier. That it does so here
// is up to the caller.
func (k *keyspace) raiseClock(ctx context.Context) (inv bus.Invalidation, err error) {
	inv = bus.Invalidation{Op: bus.OpClear, Cache: k.name}
	if k.node.tier == nil {
		return inv, nil
	}
	known, _, forgot := k.clock.Get()
	at := k.node.near.Now()
	r := k.advanceClock(ctx, known+1)
	if r.Err != nil {
		return inv, r.Err
	}
	if k.clock.Learn(r.Revision.Number, at, forgot) { // before others learn it, who end nothing then
		k.space.Clear()
		k.clock.Settle(r.Revision.Number)
	}
	inv.Revision = r.Revision.Number
	return inv, nil
}

// announcement returns the message that the shared tier is to publish with the
// write, or nil if it cannot.
func (k *keyspace) announcement(inv *bus.Invalidation) *driver.Announcement {
	if !k.node.announces {
		return nil
	}
	channel, payload, at := k.node.bus.Announcement(*inv)
	if payload == nil {
		return nil
	}
	return &driver.Announcement{Channel: channel, Payload: payload, RevisionAt: at}
}

func (k *keyspace) broadcast(ctx context.Context, invs []bus.Invalidation) error {
	if k.node.bus == nil {
		return nil
	}
	if err := k.node.bus.Publish(ctx, invs...); err != nil {
		k.unannounced.Add(1)
		if k.node.journal == nil {
			k.retryLater(invs, true, time.Time{}) // nothing else would tell the others
		}
		return fmt.Errorf("%w: cache %q: %w", ErrNotBroadcast, k.name, err)
	}
	return nil
}

// abandon ends a write that the shared tier failed with err. The write may
// have happened, or may still: other nodes are told to drop what they have.
func (k *keyspace) abandon(ctx context.Context, invs []bus.Invalidation, err error) error {
	k.sharedErrors.Add(1)
	err = fmt.Errorf("%w: cache %q: %w", ErrOutcomeUnknown, k.name, err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
	defer cancel()
	for i := range invs {
		invs[i].Epoch, invs[i].Revision = 0, 0
	}
	return alsoUntold(err, k.broadcast(ctx, invs))
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
	record := c.keys.valueRecord(l, data)
	record.Slots = generation.SlotsOf(e.Tags)
	if err = c.node.tier.Fits(&record); err != nil {
		c.keys.tooLarge.Add(1)
		err = fmt.Errorf("nearcache: cache %q: %w", c.keys.name, err)
	}
	return data, err
}

// encode encodes the value of key for the shared tier.
func (c *Cache[V]) encode(key string, v V) (data []byte, err error) {
	err = c.keys.guard(callbackCodec, key, func() (err error) {
		data, err = c.opts.Codec.Marshal(v)
		return err
	})
	if err != nil {
		if c.keys.unencodable.Add(1) == 1 { // the error of a codec may carry the value
			c.node.opts.Logger.Warn("nearcache: a value cannot be encoded, and is not cached",
				"cache", c.keys.name, "type", fmt.Sprintf("%T", v), "codec", c.opts.Codec.ID())
		}
		return nil, fmt.Errorf("%w: cache %q: %w", ErrEncode, c.keys.name, err)
	}
	return data, nil
}
