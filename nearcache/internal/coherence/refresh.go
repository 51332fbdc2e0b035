package coherence

import (
	"context"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared/driver"
)

// Refreshed tells everybody of a value that was loaded and stored with this revision, which is
// zero if it is not known: what is older goes, here and on the other nodes.
func (k *Keyspace) Refreshed(ctx context.Context, key string, rev driver.Revision) error {
	k.Space.Apply(key, k.Space.Hash(key), near.News{Revision: rev, Keep: true})
	return k.broadcast(ctx, []bus.Invalidation{{
		Op: bus.OpSet, Cache: k.Name, Key: key, Epoch: rev.Epoch, Revision: rev.Number,
	}})
}
