package nearcache

import (
	"cmp"
	"context"
	"errors"

	"github.com/nearbus/nearbus/bus"
)

// Invalidation names what [Node.Invalidate] ends in one cache.
type Invalidation struct {
	Cache string   // its name; the node must have it
	Keys  []string // as for [Cache.Invalidate]
	Tags  []string // as for [Cache.InvalidateTags]
	All   bool     // as [Cache.Clear] does; Keys and Tags need not be told then
}

// Invalidate does what [Cache.Invalidate], [Cache.InvalidateTags] and [Cache.Clear] do, of several
// caches at the same time, and tells the other nodes in one message, or in as few as its size
// allows: after one change in the source that concerns several caches. It returns an error for
// each of invs, in their order; nil where all of it is done. What each promises is what those
// methods do, each by itself: this is no transaction.
//
// The error of one is that of its methods, joined if both fail: a [KeysError] for keys,
// [ErrInvalidTag] or that of the call for tags. It says so if the node has no cache of the name,
// and is [ErrClosed] of a node that is closed. A name may come more than once.
func (n *Node) Invalidate(ctx context.Context, invs ...Invalidation) []error {
	errs := make([]error, len(invs))
	parts := make([][2]error, len(invs)) // of keys, and of tags
	var writes []func(context.Context)
	for i := range invs {
		inv, part := &invs[i], &parts[i]
		b, err := n.cache("Invalidate", inv.Cache)
		switch {
		case n.core.Context.Err() != nil:
			errs[i] = ErrClosed
		case err != nil:
			errs[i] = err
		case inv.All:
			writes = append(writes, func(ctx context.Context) { errs[i] = b.clear(ctx) })
		default:
			if len(inv.Keys) > 0 {
				writes = append(writes, func(ctx context.Context) { part[0] = b.drop(ctx, bus.OpInvalidate, inv.Keys) })
			}
			if len(inv.Tags) > 0 {
				writes = append(writes, func(ctx context.Context) { part[1] = b.invalidateTags(ctx, inv.Tags) })
			}
		}
	}
	n.core.Together(ctx, writes)
	for i, part := range parts {
		switch {
		case part[0] != nil && part[1] != nil:
			errs[i] = errors.Join(part[0], part[1])
		case part[0] != nil || part[1] != nil:
			errs[i] = cmp.Or(part[0], part[1])
		}
	}
	return errs
}
