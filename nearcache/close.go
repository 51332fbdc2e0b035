package nearcache

import (
	"context"
	"fmt"
)

// Close takes the cache off its node, which goes on with the others. It first waits until every
// invalidation that could not be delivered has been, and for writes under way, until ctx ends at
// the latest: what is pending then ends with the cache, and the error says how many invalidations
// there were. Nobody should write through the cache any more by then. A context that has ended
// closes at once.
//
// The methods of the cache return ErrClosed from here on, callers who wait for a load too. What it
// has in the near tier goes, the loads under way end, and their leases are given back, which takes
// up to 500 ms when the shared tier does not answer. Close does not wait for loaders that go on
// after their context ended. The shared tier keeps what it has: other nodes go on, and so does
// a cache of the same name that is opened on this node afterwards. That is another cache: nothing
// that this one has answered binds it. Writes that go on after Close end what it has near.
//
// It may be called at any time, also twice; another call waits for the first one. A node that is
// closed closes its caches.
func (c *Cache[V]) Close(ctx context.Context) error { return c.close(ctx) }

func (b *base) close(ctx context.Context) error {
	b.closing.Do(func() { // others wait for it
		if pending := b.keys.Close(ctx); pending > 0 {
			b.undelivered = fmt.Errorf("nearcache: cache %q: %d invalidations could not be delivered", b.keys.Name, pending)
		}
		b.owner.leave(b)
	})
	return b.undelivered
}

// leave forgets a cache that was closed.
func (n *Node) leave(b *base) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if name := b.keys.Name; n.caches[name] == b {
		delete(n.caches, name)
	}
}
