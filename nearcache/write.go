package nearcache

import (
	"context"
	"errors"
	"fmt"
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
// [ErrInvalidKey] and [ErrClosed], this node has dropped its copy: see
// [ErrOutcomeUnknown], [ErrNotBroadcast], [ErrTooLarge] and [ErrEncode].
func (c *Cache[V]) Set(ctx context.Context, key string, v V) error {
	return c.SetEntry(ctx, key, Entry[V]{Value: v})
}

// SetEntry is Set for a value whose lifetimes differ from the cache's options.
func (c *Cache[V]) SetEntry(ctx context.Context, key string, e Entry[V]) error {
	if err := c.check(key); err != nil {
		return err
	}
	ttl, nearTTL, err := c.opts.lives(&e)
	if err != nil {
		return err
	}
	data, err := c.encode(e.Value)
	if err == nil && c.node.tier != nil && len(data) > c.node.tier.MaxValue() {
		c.tooLarge.Add(1)
		err = fmt.Errorf("%w: %q: %d bytes, more than %d", ErrTooLarge, key, len(data), c.node.tier.MaxValue())
	}
	if err != nil {
		// The source has most likely changed already.
		return errors.Join(err, c.drop(ctx, bus.OpInvalidate, []string{key}, true))
	}
	c.sets.Add(1)
	hash, settles := c.space.Hash(key), c.debts.now()
	w := c.space.Begin(key, hash)
	finish := func(rev shared.Revision) {
		entry := c.newEntry(key, e.Value, len(data), near.Stamp{}, rev)
		w.Finish(&entry.Entry, c.nearLife(nearTTL))
	}
	inv := bus.Invalidation{Op: bus.OpSet, Cache: c.name, Key: key}
	if c.node.tier == nil {
		return c.setBusOnly(ctx, inv, w, finish)
	}
	rev, announced, err := c.setShared(ctx, &inv, ttl, data)
	if err != nil {
		c.owe([]bus.Invalidation{inv}, false) // before readers may read again
		w.Abort()
		return c.abandon(ctx, []bus.Invalidation{inv}, err)
	}
	c.debts.settle(settles, key)
	finish(rev)
	if announced || c.node.bus == nil {
		return nil
	}
	inv.Epoch, inv.Revision = rev.Epoch, rev.Number
	return c.broadcast(ctx, []bus.Invalidation{inv})
}

func (c *Cache[V]) setShared(ctx context.Context, inv *bus.Invalidation, ttl time.Duration, data []byte) (rev shared.Revision, announced bool, err error) {
	clock, err := c.knownClock(ctx)
	if err != nil {
		return rev, false, err
	}
	put := shared.Put{Key: c.storeKey(inv.Key), TTL: ttl, Announce: c.announcement(inv), Record: shared.Record{
		Kind: shared.KindValue, Codec: c.opts.Codec.ID(), Clock: clock, Value: data,
	}}
	r := c.node.tier.Write(ctx, []shared.Put{put})[0]
	return r.Revision, put.Announce != nil, r.Err
}

func (c *Cache[V]) setBusOnly(ctx context.Context, inv bus.Invalidation, w *near.Write, finish func(shared.Revision)) error {
	if err := c.broadcast(ctx, []bus.Invalidation{inv}); err != nil {
		w.Abort()
		return err
	}
	finish(shared.Revision{})
	return nil
}

// Delete deletes keys everywhere. That a key is not there is no error. What it
// promises, and its errors, are those of [Cache.Set]; the error joins those of
// the keys that failed.
func (c *Cache[V]) Delete(ctx context.Context, keys ...string) error {
	return c.write(ctx, bus.OpDelete, keys)
}

// Invalidate says that the values of keys are stale: every tier drops them and
// the next reader loads. What it promises is what [Cache.Delete] does.
func (c *Cache[V]) Invalidate(ctx context.Context, keys ...string) error {
	return c.write(ctx, bus.OpInvalidate, keys)
}

func (c *Cache[V]) write(ctx context.Context, op bus.Op, keys []string) error {
	if err := c.check(keys...); err != nil {
		return err
	}
	if len(keys) == 0 {
		return nil
	}
	c.drops.Add(uint64(len(keys)))
	return c.drop(ctx, op, keys, true)
}

// drop makes keys absent in every tier, and announces it if asked to.
func (c *Cache[V]) drop(ctx context.Context, op bus.Op, keys []string, announce bool) error {
	settles := c.debts.now()
	invs := c.invalidations(op, keys)
	writes := make([]*near.Write, len(keys))
	for i, key := range keys {
		writes[i] = c.space.Begin(key, c.space.Hash(key))
	}
	announced, err := c.bury(ctx, invs, announce)
	switch {
	case err == nil:
		c.debts.settle(settles, keys...)
	case announce:
		c.owe(invs, false) // before readers may read again
	}
	for _, w := range writes {
		w.Abort()
	}
	switch {
	case err != nil && announce:
		return c.abandon(ctx, invs, err)
	case announced || !announce:
		return err
	default:
		return c.broadcast(ctx, invs)
	}
}

func (c *Cache[V]) invalidations(op bus.Op, keys []string) []bus.Invalidation {
	invs := make([]bus.Invalidation, len(keys))
	for i, key := range keys {
		invs[i] = bus.Invalidation{Op: op, Cache: c.name, Key: key}
	}
	return invs
}

// bury puts tombstones in the place of keys and enters their revisions into
// invs. One key is announced by the same step where the store can; more than
// one go out in one message afterwards.
func (c *Cache[V]) bury(ctx context.Context, invs []bus.Invalidation, announce bool) (announced bool, err error) {
	if c.node.tier == nil {
		return false, nil
	}
	puts := make([]shared.Put, len(invs))
	for i := range invs {
		puts[i] = shared.Put{Key: c.storeKey(invs[i].Key), Record: shared.Record{Kind: shared.KindTombstone}}
	}
	if announce && len(puts) == 1 {
		puts[0].Announce = c.announcement(&invs[0])
		announced = puts[0].Announce != nil
	}
	var errs []error
	for i, r := range c.node.tier.Write(ctx, puts) {
		invs[i].Epoch, invs[i].Revision = r.Revision.Epoch, r.Revision.Number
		if r.Err != nil {
			errs = append(errs, fmt.Errorf("%q: %w", invs[i].Key, r.Err))
		}
	}
	return announced, errors.Join(errs...)
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
	defer c.space.Clear()
	inv, err := c.raiseClock(ctx)
	if err != nil {
		c.owe([]bus.Invalidation{inv}, false) // before readers may read again
		return c.abandon(ctx, []bus.Invalidation{inv}, err)
	}
	c.debts.settleAll(settles)
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
	c.clock.learn(r.Revision.Number, at, forgot)
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
			c.owe(invs, true) // nothing else would tell the others
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
	return errors.Join(err, c.broadcast(ctx, invs))
}

// encode encodes a value for the shared tier.
func (c *Cache[V]) encode(v V) (data []byte, err error) {
	err = guard(func() (err error) {
		data, err = c.opts.Codec.Marshal(v)
		return err
	})
	if err != nil {
		c.unencodable.Add(1)
		return nil, fmt.Errorf("%w: cache %q: %w", ErrEncode, c.name, err)
	}
	return data, nil
}
