package coherence

import (
	"context"
	"errors"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/pending"
	"github.com/nearbus/nearbus/nearcache/internal/telemetry"
)

// ErrPending is why a key is not read from the shared tier: what is there may be
// older than what a caller of this node was told of.
var ErrPending error = pendingError{}

// errOpen is why nothing can be delivered yet.
var errOpen = errors.New("nearcache: what failed to be written may arrive yet")

// openUntil returns until when a write that failed with err may take effect.
func openUntil(err error) (t time.Time) {
	var open interface{ OpenUntil() time.Time }
	if errors.As(err, &open) {
		t = open.OpenUntil()
	}
	return t
}

// retryLater keeps invalidations that could not be delivered, for the node to try again, but
// not before open. inShared says that only other nodes have not heard of them.
func (k *Keyspace) retryLater(invs []bus.Invalidation, inShared bool, open time.Time) {
	if k.node.Faults.Off(fault.Debts) {
		return
	}
	k.Pending.Add(invs, inShared, open)
	signal(k.node.added)
	if k.node.Notes != nil {
		k.node.Happened(telemetry.Note{Kind: telemetry.Pending, Cache: k.Name, Count: k.node.pending()})
	}
}

// deliver tries to deliver some of what is pending. What is near of the keys came from the
// source since, and stays. Once the shared tier has it, it is not put there again: others
// may have written since.
func (k *Keyspace) deliver(ctx context.Context) error {
	upTo := k.Pending.Checkpoint()
	next, ok := k.Pending.Next(upTo)
	if !ok {
		return errOpen
	}
	b := batch{invs: k.invalidations(bus.OpDelete, next.Names), errs: make([]error, len(next.Names))}
	switch {
	case next.All:
		b.invs, b.errs = []bus.Invalidation{{Op: bus.OpClear, Cache: k.Name}}, make([]error, 1)
	case next.Tags:
		b.invs = k.invalidations(bus.OpTag, next.Names)
	}
	switch {
	case next.Shared:
	case next.All:
		b.invs[0], b.errs[0] = k.raiseClock(ctx)
	case next.Tags:
		b.announced, b.errs[0] = k.raiseSlots(ctx, b.invs, true)
	default:
		k.writeTombstones(ctx, &b, true)
	}
	if err := errors.Join(b.errs...); err != nil {
		return err
	}
	if next.All {
		k.Space.Clear() // others may have raised the clock as well
		k.Clock.Settle(b.invs[0].Revision)
	}
	if !next.Shared {
		k.Pending.Stored(upTo, next)
	}
	if !b.announced && k.node.Bus != nil {
		err := k.node.publish(ctx, b.invs)
		if err != nil && k.node.Journal == nil {
			return err // nothing else would tell the others
		}
	}
	if next.All {
		k.Pending.ResolveAll(upTo, next.Shared)
	} else {
		k.Pending.Resolve(upTo, next.Tags, next.Names...)
	}
	return nil
}

// deliverPending tries to deliver what is pending in all caches.
func (n *Node) deliverPending(ctx context.Context) (left int, failed bool) {
	tried, failure := false, error(nil)
	for _, k := range n.caches.all() {
		if k.Pending.Len() == 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, jobTimeout)
		err := k.deliver(ctx)
		cancel()
		if err != nil {
			failed, failure = true, err
		}
		left += k.Pending.Len()
		tried = true
	}
	if tried && left == 0 {
		n.Happened(telemetry.Note{Kind: telemetry.Pending})
	}
	n.undelivered.look(n, left, failure)
	return left, failed
}

// deliveryPatience is how long invalidations are pending before that is told: shorter
// outages have lines of their own.
const deliveryPatience = time.Minute

// undelivered is since when invalidations are pending, for the log. It belongs to the
// goroutine that delivers them.
type undelivered struct {
	since time.Time // zero: none are
	told  bool
}

// look takes in how many are left, and why the last attempt failed.
func (u *undelivered) look(n *Node, left int, failure error) {
	switch {
	case left > 0 && u.since.IsZero():
		u.since = time.Now()
	case left > 0 && !u.told && failure != nil && time.Since(u.since) >= deliveryPatience:
		u.told = true
		n.Options.Logger.Warn("nearcache: invalidations could not be delivered for more than a minute", "pending", left, "error", failure)
	case left == 0:
		if u.told {
			n.Options.Logger.Info("nearcache: all invalidations are delivered", "after", time.Since(u.since).Round(time.Millisecond))
		}
		*u = undelivered{}
	}
}

// retryPending ends with the node.
func (n *Node) retryPending() { pending.Retry(n.own, n.added, n.restored, n.deliverPending) }
