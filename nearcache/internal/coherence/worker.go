package coherence

import (
	"context"
	"time"

	"github.com/nearbus/nearbus/bus"
)

// chore is a write that the worker repeats in the shared tier, because the
// news of it came from somebody who changed nothing there.
type chore struct {
	cache *Keyspace
	op    bus.Op
	key   string
}

// choreTimeout bounds one chore.
const choreTimeout = 5 * time.Second

// assign hands c to the worker without waiting for it, and reports whether
// there was room.
func (n *Node) assign(c chore) bool {
	select {
	case n.chores <- c:
		return true
	default:
		return false
	}
}

// signal leaves a signal in a channel with room for one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// flooded has the worker ask all caches whether they are behind.
func (n *Node) flooded() {
	signal(n.flood)
}

func (n *Node) work() {
	for {
		select {
		case <-n.Context.Done():
			return
		case c := <-n.chores:
			n.do(c)
		case <-n.flood:
			for _, c := range *n.caches.Load() {
				if c.behind() {
					n.do(chore{cache: c, op: bus.OpClear})
				}
			}
		}
	}
}

func (n *Node) do(c chore) {
	ctx, cancel := context.WithTimeout(n.Context, choreTimeout)
	defer cancel()
	if err := c.cache.repeat(ctx, c); err != nil {
		n.FailedChores.Add(1)
		n.Options.Logger.Error("nearcache: a plain-text message was not carried out in the shared tier", "error", err)
	}
}
