package nearcache

import (
	"context"
	"fmt"
	"time"
)

// drainPause is how often Drain looks what is still pending.
const drainPause = 10 * time.Millisecond

// Drain waits until every invalidation that could not be delivered has been: until
// [Health.PendingInvalidations] is 0. Close does it where a program ends, once nothing writes any more: what is
// pending then ends with the process, and the other nodes keep what they have until it expires
// or is written again.
//
// What is owed is tried again every 2 s at least, and when the journal is read again.
// The error wraps that of ctx, or is [ErrClosed].
func (n *Node) Drain(ctx context.Context) error {
	for {
		pending := n.pending()
		switch {
		case n.ctx.Err() != nil:
			return ErrClosed
		case pending == 0:
			return nil
		}
		if err := sleep(ctx, drainPause); err != nil {
			return fmt.Errorf("nearcache: %d invalidations could not be delivered yet: %w", pending, err)
		}
	}
}

// pending returns how many invalidations are pending in all caches.
func (n *Node) pending() (pending int) {
	for _, c := range *n.caches.Load() {
		pending += c.pending.Len()
	}
	return pending
}
