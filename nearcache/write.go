package nearcache

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/nearcache/internal/generation"
)

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
	if err := c.keys.Check(key); err != nil {
		return err
	}
	if err := c.keys.BeginWrite(); err != nil {
		return err
	}
	defer c.keys.EndWrite()
	lives, err := c.opts.lives(e.TTL, e.NearTTL)
	if err != nil {
		return err
	}
	if e.Tags, err = c.allTags(key, e.Value, e.Tags); err != nil {
		return err
	}
	var failed coherence.Failures
	one, err := c.encodeFitting(key, &e, lives)
	if err != nil {
		// The source has most likely changed already.
		c.keys.Drop(ctx, bus.OpDelete, []string{key}, true, &failed)
		return errors.Join(err, keysError(failed))
	}
	c.keys.Set(ctx, []coherence.Value{one}, &failed)
	return failed[key]
}

// Delete deletes keys everywhere. That a key is not there is no error. What it
// promises, and what a key may fail with, is what [Cache.Set] says; the error is
// a [KeysError], also of a single key: of an invalid key it has [ErrInvalidKey], and the
// others are deleted all the same. Several keys are one round
// trip to the shared tier and one message to the other nodes, or one each for every
// 1,024.
func (c *Cache[V]) Delete(ctx context.Context, keys ...string) error {
	return c.drop(ctx, bus.OpDelete, keys)
}

// Invalidate says that the values of keys are stale: every tier drops them and
// the next reader loads. What it promises is what [Cache.Delete] does. With
// Options.Stale, who cannot get another value may still be given such a one,
// as a stale answer.
func (c *Cache[V]) Invalidate(ctx context.Context, keys ...string) error {
	return c.drop(ctx, bus.OpInvalidate, keys)
}

// Clear makes every value of the cache absent in every tier, in one step
// whatever their number. What it promises is what [Cache.Delete] does.
func (c *Cache[V]) Clear(ctx context.Context) error { return c.clear(ctx) }

func (b *base) clear(ctx context.Context) error {
	if err := b.keys.BeginWrite(); err != nil {
		return err
	}
	defer b.keys.EndWrite()
	return b.keys.Clear(ctx)
}

// drop is Delete and Invalidate.
func (b *base) drop(ctx context.Context, op bus.Op, keys []string) error {
	if err := b.keys.BeginWrite(); err != nil {
		return err
	}
	defer b.keys.EndWrite()
	failed, err := b.keys.Invalidate(ctx, op, keys)
	if err != nil {
		return err
	}
	return keysError(failed)
}

// encodeFitting encodes a value that is to be written, and refuses what the
// shared tier does not take. With Options.Clone it makes the value the cache's own. What it returns
// has the entry for the near tier.
func (c *values[V]) encodeFitting(key string, e *Entry[V], l coherence.Lifetimes) (v coherence.Value, err error) {
	if e.Value, err = c.give(key, e.Value); err != nil {
		return v, err
	}
	data, err := c.encode(key, e.Value)
	if err != nil {
		return v, err
	}
	v = coherence.Value{Key: key, Data: data, Slots: generation.SlotsOf(e.Tags), Lives: l}
	if c.node.Tier != nil {
		if err = c.keys.Fits(&v); err != nil {
			c.tooLarge.Add(1)
			return v, err
		}
	}
	entry := newNamed[V](key)
	entry.value = e.Value
	c.complete(entry, data, c.opts.Codec, l.TTL, l.Ahead)
	v.Entry = &entry.Entry
	return v, nil
}

// InvalidateTags says that every value with one of these tags is stale: every
// tier drops them and the next reader loads, whatever their number and wherever
// they are. It costs two round trips to the shared tier and a message. What it
// promises is what [Cache.Delete] does. The error is [ErrInvalidTag] for a tag
// that is empty or longer than 256 bytes, and for more than 1,024 tags.
//
// Tags share 65,536 slots: of the values with other tags, it drops those in the
// same slot as well, about one in 65,536.
func (c *Cache[V]) InvalidateTags(ctx context.Context, tags ...string) error {
	return c.invalidateTags(ctx, tags)
}

func (b *base) invalidateTags(ctx context.Context, tags []string) error {
	if err := b.keys.BeginWrite(); err != nil {
		return err
	}
	defer b.keys.EndWrite()
	return b.keys.InvalidateTags(ctx, tags)
}

// allTags returns tags with those that the cache gives every value.
func (c *values[V]) allTags(key string, v V, tags []string) ([]string, error) {
	if c.with.Tags != nil {
		var more []string
		if err := c.guard(callbackTags, key, func() error { more = c.with.Tags(key, v); return nil }); err != nil {
			return tags, err
		}
		tags = slices.Concat(tags, more)
	}
	return tags, coherence.CheckTags(tags, coherence.MaxTags)
}

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
	if err := c.keys.BeginWrite(); err != nil {
		return err
	}
	defer c.keys.EndWrite()
	var failed coherence.Failures
	keys := slices.Sorted(maps.Keys(entries)) // so that no two batches take turns in each other's way
	keys, err := c.keys.CheckEach(keys, &failed)
	if err != nil {
		return err
	}
	if c.with.Tags != nil {
		entries = maps.Clone(entries) // they get more tags
	}
	keys = slices.DeleteFunc(keys, func(key string) bool {
		e := entries[key]
		err := c.readyToWrite(key, &e)
		if c.with.Tags != nil {
			entries[key] = e
		}
		failed.Put(key, err)
		return err != nil
	})
	for len(keys) > 0 {
		part, refused, rest := c.encodePart(keys, entries, &failed)
		c.keys.Set(ctx, part, &failed)
		c.keys.DropRefused(ctx, refused, &failed)
		keys = rest
	}
	return keysError(failed)
}

// readyToWrite refuses an entry that cannot be written, and gives it all of its tags.
func (c *Cache[V]) readyToWrite(key string, e *Entry[V]) (err error) {
	if _, err := c.opts.lives(e.TTL, e.NearTTL); err != nil {
		return err
	}
	e.Tags, err = c.allTags(key, e.Value, e.Tags)
	return err
}

// encodePart encodes the values of the first keys, as many as one round trip
// carries. It returns the keys whose value cannot be stored apart, and those
// that are left.
func (c *Cache[V]) encodePart(keys []string, entries map[string]Entry[V], failed *coherence.Failures) (part []coherence.Value, refused, rest []string) {
	bytes := 0
	for i, key := range keys {
		if i == coherence.MaxPart || bytes >= coherence.MaxPartBytes {
			return part, refused, keys[i:]
		}
		e := entries[key]
		lives, _ := c.opts.lives(e.TTL, e.NearTTL)
		v, err := c.encodeFitting(key, &e, lives)
		if err != nil {
			failed.Put(key, err)
			refused = append(refused, key)
			continue
		}
		bytes += len(v.Data)
		part = append(part, v)
	}
	return part, refused, nil
}
