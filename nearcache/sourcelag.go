package nearcache

import (
	"context"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/lag"
)

// sinceKey is the key of a recency in the context of a loader.
type sinceKey struct{}

// SinceInvalidated returns how long ago, at least, the key that a loader loads was
// invalidated, to be called with the loader's context. A loader that reads a replica of
// its database asks the primary while that is less than the replica may be behind: what
// the replica answers may be from before the invalidation. See [Options].SourceLag for
// those that cannot.
//
// It counts what the shared tier knows of, by the clock of its server: Invalidate and
// Delete of the key by any node for shared.Options.TombstoneTTL, Clear, and
// InvalidateTags where the value that was ended is still there. Where the load replaces a
// value that the node does not believe or cannot read, that value counts as an
// invalidation. For several keys it is the newest of any of them. Memcached does not tell when a key was invalidated: it is
// then taken to have been as the load was permitted. ok is false if no invalidation is
// known: none was, the shared tier is down, another node holds the lease of the key, or
// there is no shared tier.
func SinceInvalidated(ctx context.Context) (ago time.Duration, ok bool) {
	r, _ := ctx.Value(sinceKey{}).(*lag.Recency)
	if r == nil {
		return 0, false
	}
	return r.Now(), true
}

// withRecency is the context of a loader. It always says something, since the context of
// a caller may be that of another loader.
func withRecency(ctx context.Context, r lag.Recency) context.Context {
	var known *lag.Recency
	if r.Known {
		known = new(lag.Recency)
		*known = r
	}
	return context.WithValue(ctx, sinceKey{}, known)
}

// validateLag checks Options.SourceLag against what stands below the cache.
func (o *Options[V]) validateLag(n *Node) error {
	switch {
	case o.SourceLag == 0:
		return nil
	case n.tier == nil:
		return fmt.Errorf("nearcache: Options.SourceLag is %v, and the node has no shared tier", o.SourceLag)
	case o.SourceLag > n.tier.TombstoneTTL():
		return fmt.Errorf("nearcache: Options.SourceLag %v is longer than shared.Options.TombstoneTTL %v, for which an invalidation is known",
			o.SourceLag, n.tier.TombstoneTTL())
	}
	return nil
}
