package coherence

import (
	"context"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/pause"
)

// drainPause is how often Drain looks what is still pending.
const drainPause = 10 * time.Millisecond

// Drain waits until every invalidation that could not be delivered has been. The error wraps
// that of ctx, or is errClosed.
func (n *Node) Drain(ctx context.Context) error {
	for {
		pending := n.pending()
		switch {
		case n.Context.Err() != nil:
			return ErrClosed
		case pending == 0:
			return nil
		}
		if err := pause.Sleep(ctx, drainPause); err != nil {
			return fmt.Errorf("nearcache: %d invalidations could not be delivered yet: %w", pending, err)
		}
	}
}

// pending returns how many invalidations are pending in all caches.
func (n *Node) pending() (pending int) {
	for _, c := range n.caches.all() {
		pending += c.Pending.Len()
	}
	return pending
}
