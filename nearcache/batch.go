package nearcache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/nearcache/internal/pending"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// What one round trip of a batch carries at most, and one call of the loader of
// FetchMany, and one message. A larger batch is worked through in parts, one
// after the other.
const (
	maxPart      = 1024    // keys
	maxPartBytes = 4 << 20 // encoded values to be written, except for a single one that is larger
)

// SetMany is Set for several keys: one round trip to the shared tier and one
// message to the other nodes, or one each for every 1,024 keys or 4 MiB of
// values. What it promises, it promises for each key as Set does: they are not
// changed in one step.
//
// When some keys fail, the others are stored all the same and the error is a
// [KeysError]: the source has most likely changed for all of them. For an invalid key or
// entry nothing is done.
func (c *Cache[V]) SetMany(ctx context.Context, values map[string]V) error {
	entries := make(map[string]Entry[V], len(values))
	for key, v := range values {
		entries[key] = Entry[V]{Value: v}
	}
	return c.SetEntryMany(ctx, entries)
}

// SetEntryMany is SetMany for values that differ from the cache's options.
func (c *Cache[V]) SetEntryMany(ctx context.Context, entries map[string]Entry[V]) error {
	var failed KeysError
	keys := slices.Sorted(maps.Keys(entries)) // so that no two batches take turns in each other's way
	keys, err := c.keys.checkEach(keys, &failed)
	if err != nil {
		return err
	}
	if c.opts.Tags != nil {
		entries = maps.Clone(entries) // they get more tags
	}
	keys = slices.DeleteFunc(keys, func(key string) bool {
		e := entries[key]
		err := c.readyToWrite(key, &e)
		if c.opts.Tags != nil {
			entries[key] = e
		}
		failed.put(key, err)
		return err != nil
	})
	for len(keys) > 0 {
		part, refused, rest := c.encodePart(keys, entries, &failed)
		c.setPart(ctx, part, &failed)
		c.keys.dropRefused(ctx, refused, &failed)
		keys = rest
	}
	return failed.err()
}

// readyToWrite refuses an entry that cannot be written, and gives it all of its tags.
func (c *Cache[V]) readyToWrite(key string, e *Entry[V]) error {
	_, err := c.opts.lives(e)
	if err = errors.Join(err, e.checkWritten()); err != nil {
		return err
	}
	return c.addTags(key, e)
}

// item is one key of a Set.
type item[V any] struct {
	key   string
	entry Entry[V]
	data  []byte // the encoded value

	lives lifetimes
}

// encodePart encodes the values of the first keys, as many as one round trip
// carries. It returns the keys whose value cannot be stored apart, and those
// that are left.
func (c *Cache[V]) encodePart(keys []string, entries map[string]Entry[V], failed *KeysError) (part []item[V], refused, rest []string) {
	bytes := 0
	for i, key := range keys {
		if i == maxPart || bytes >= maxPartBytes {
			return part, refused, keys[i:]
		}
		e := entries[key]
		lives, _ := c.opts.lives(&e)
		data, err := c.encodeFitting(key, &e, lives)
		if err != nil {
			failed.put(key, err)
			refused = append(refused, key)
			continue
		}
		bytes += len(data)
		part = append(part, item[V]{key: key, entry: e, data: data, lives: lives})
	}
	return part, refused, nil
}

// dropRefused invalidates keys whose values cannot be stored: the source has
// most likely changed already. What fails of that is added to what failed.
func (k *keyspace) dropRefused(ctx context.Context, keys []string, failed *KeysError) {
	var more KeysError
	k.dropMany(ctx, bus.OpDelete, keys, true, &more)
	for key, err := range more {
		failed.put(key, fmt.Errorf("%w; %w", (*failed)[key], err))
	}
}

// setPart is one round trip and one message of a Set of one key or several.
func (c *Cache[V]) setPart(ctx context.Context, part []item[V], failed *KeysError) {
	if len(part) == 0 {
		return
	}
	c.keys.sets.Add(uint64(len(part)))
	settles := c.keys.pending.Checkpoint()
	keys, writes := make([]string, len(part)), make([]*near.Write, len(part))
	for i := range part {
		keys[i] = part[i].key
		writes[i] = c.keys.space.Begin(keys[i], c.keys.space.Hash(keys[i]))
	}
	b := batch{invs: c.keys.invalidations(bus.OpSet, keys), errs: make([]error, len(part))}
	if c.node.tier == nil {
		c.keys.tell(ctx, &b, failed) // the others first: nothing is stored that could be read again
	} else {
		c.storePart(ctx, part, &b)
		c.keys.resolveOrRetry(settles, &b)
	}
	for i, w := range writes {
		if b.errs[i] != nil {
			w.Abort()
			continue
		}
		it := &part[i]
		rests := basis{revision: revisionOf(&b.invs[i]), clock: b.clock, tagClock: b.tagClock, slots: generation.SlotsOf(it.entry.Tags)}
		entry := c.newEntry(it.key, it.entry.Value, len(it.data), near.Stamp{}, rests.revision)
		c.extend(entry, it.lives.ttl, it.lives.ahead)
		c.written(w, entry, it.lives.near, rests)
	}
	if c.node.tier != nil {
		c.keys.tell(ctx, &b, failed)
	}
}

// storePart writes a part into the shared tier and enters what became of each
// key into b.
func (c *Cache[V]) storePart(ctx context.Context, part []item[V], b *batch) {
	var err error
	if b.clock, err = c.keys.knownClock(ctx); err != nil {
		b.fail(err)
		return
	}
	var slots []uint32 // of all
	for i := range part {
		slots = append(slots, generation.SlotsOf(part[i].entry.Tags)...)
	}
	if b.tagClock, err = c.keys.readyTags(ctx, slots); err != nil {
		b.fail(err)
		return
	}
	puts := make([]shared.Put, len(part))
	for i := range part {
		puts[i] = c.keys.valuePut(part[i].key, part[i].lives, b.clock, part[i].data)
		putTags(&puts[i], generation.SlotsOf(part[i].entry.Tags), b.tagClock)
	}
	c.keys.announceOne(b, puts)
	c.keys.take(b, c.node.tier.Write(ctx, puts))
}

// batch is what several keys are told to the shared tier and the other nodes,
// and how that went.
type batch struct {
	invs []bus.Invalidation
	errs []error // in the order of invs; those of the shared tier
	told bool    // the shared tier announced what it confirmed

	clock, tagClock uint64 // of the cache, as known before values were written
}

// take enters what the shared tier answered.
func (k *keyspace) take(b *batch, receipts []driver.Receipt) {
	for i := range receipts {
		b.errs[i] = receipts[i].Err
		b.invs[i].Epoch, b.invs[i].Revision = receipts[i].Revision.Epoch, receipts[i].Revision.Number
	}
}

// announceOne has the store announce a write of one key in the same step, where it can.
// More than one go out in one message afterwards.
func (k *keyspace) announceOne(b *batch, puts []shared.Put) {
	if len(puts) == 1 {
		puts[0].Announce = k.announcement(&b.invs[0])
		b.told = puts[0].Announce != nil
	}
}

func (b *batch) fail(err error) {
	for i := range b.errs {
		b.errs[i] = err
	}
}

// split returns the invalidations of the keys that the shared tier confirmed,
// and of those that it did not.
func (b *batch) split() (confirmed, open []bus.Invalidation) {
	for i, err := range b.errs {
		if err == nil {
			confirmed = append(confirmed, b.invs[i])
		} else {
			open = append(open, b.invs[i])
		}
	}
	return confirmed, open
}

// openUntil returns until when a value of b that was not confirmed may take effect.
// A tombstone may at any time.
func (b *batch) openUntil() (latest time.Time) {
	for i, err := range b.errs {
		if t := openUntil(err); b.invs[i].Op == bus.OpSet && t.After(latest) {
			latest = t
		}
	}
	return latest
}

// resolveOrRetry resolves the pending invalidations of the keys that the shared tier
// confirmed, and adds those of the others. It is called before readers may read again.
func (k *keyspace) resolveOrRetry(settles pending.Checkpoint, b *batch) {
	confirmed, open := b.split()
	for i := range confirmed {
		k.pending.Resolve(settles, false, confirmed[i].Key)
	}
	if len(open) > 0 {
		k.retryLater(open, false, b.openUntil())
	}
}

// tell tells the other nodes of all keys of b: also of those whose write was not
// confirmed, which may have happened, or may still. It notes in failed what
// became of each key.
func (k *keyspace) tell(ctx context.Context, b *batch, failed *KeysError) {
	open := 0
	for i := range b.errs {
		if b.errs[i] != nil {
			b.errs[i] = fmt.Errorf("%w: cache %q: %w", ErrOutcomeUnknown, k.name, b.errs[i])
			b.invs[i].Epoch, b.invs[i].Revision = 0, 0
			open++
		}
	}
	if open > 0 {
		k.sharedErrors.Add(1)
		var cancel context.CancelFunc // the caller may have no time left
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
		defer cancel()
	}
	var untold error
	if open > 0 || !b.told {
		untold = k.broadcast(ctx, b.invs)
	}
	for i := range b.errs {
		if b.errs[i] == nil {
			b.errs[i] = untold
		} else {
			b.errs[i] = alsoUntold(b.errs[i], untold)
		}
		failed.put(b.invs[i].Key, b.errs[i])
	}
}

func revisionOf(inv *bus.Invalidation) driver.Revision {
	return driver.Revision{Epoch: inv.Epoch, Number: inv.Revision}
}

// checkEach is check for several keys, each by itself: it returns those that are valid,
// and notes in failed what is wrong with the others.
func (k *keyspace) checkEach(keys []string, failed *KeysError) (valid []string, err error) {
	if err := k.check(); err != nil {
		return nil, err
	}
	valid = make([]string, 0, len(keys))
	for _, key := range keys {
		if err := k.check(key); err != nil {
			failed.put(key, err)
			continue
		}
		valid = append(valid, key)
	}
	return valid, nil
}

// distinct returns keys without repetitions, in their order.
func distinct(keys []string) []string {
	seen := make(map[string]struct{}, len(keys))
	out := make([]string, 0, len(keys))
	for _, key := range keys {
		if _, ok := seen[key]; !ok {
			seen[key] = struct{}{}
			out = append(out, key)
		}
	}
	return out
}
