package nearcache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
)

// ErrNoBus is returned by Node.Barrier of a node without a bus: there is nobody
// to ask.
var ErrNoBus = errors.New("nearcache: the node has no bus")

// graceLag is for the ticks of the clock of another node, and its lag.
const graceLag = 100 * time.Millisecond

// BarrierOptions say what [Node.Barrier] waits for. The zero value waits for every live
// node, however many there are.
type BarrierOptions struct {
	// AtLeast is how many other nodes must have answered. A service that knows how large
	// its fleet is notices by it that it is alone where it should not be: on another
	// channel than the others, for one. Zero means that nobody has to be there.
	AtLeast int
}

// Barrier returns nil when every live node has applied every write that this
// node had returned from when it was called: from then on none of them answers
// with anything older. It follows any write that needs it:
//
//	err := users.Set(ctx, "42", u)
//	answered, err := node.Barrier(ctx, nearcache.BarrierOptions{})
//
// It returns how many other nodes have said so. If nobody is there it is 0, after the
// question was asked twice, 100 ms apart: that is no error, unless opts.AtLeast says so,
// and it says nothing of nodes on another channel.
//
// What this node owes, because a write failed, it waits for as [Node.Drain] does.
//
// The other nodes are asked, and asked again while they do not answer. Before a
// node answers, it reads the journal to its end, so a lost message does not
// matter; and it answers only if it has then read as far as this node knows the
// journal to go, in the same epoch: a node that reads another server, such as a primary
// that was deposed, does not answer. Without a journal a node flushes its near tier if it
// may have missed a message.
//
// Live is who is heard of on the bus, or answers. A node that is closed is not waited for
// any longer; nor is one that died, once it has been silent for
// [bus.Options.HeartbeatTimeout] and, with a journal, NodeOptions.MaxStaleness
// has passed since the call, within which a node that only cannot be heard has
// stopped to serve what it cannot confirm. (A node with ServeStale goes on.)
//
// Barrier does not wait for a node that was silent for that long before the call, which
// may have died or be cut off. Such a node goes on answering its own callers. With a
// journal that it can read, it applies the writes within JournalInterval. If it reaches
// neither the bus nor a journal, it may answer with something older for MaxStaleness
// after the call, and no longer (with ServeStale, for its near TTL): it keeps near for so
// long what it loads, or reads from Memcached. Whoever must know that it has none of these demands AtLeast.
//
// It takes a round trip of the bus and, with a journal, one read of that by each
// node. It takes longer when it is not known who lives: up to HeartbeatTimeout
// (3 s) after this node began to listen, at first or again after it lost the bus, and for
// as long as the bus is lost again meanwhile;
// and when a node died, the longer of HeartbeatTimeout + HeartbeatInterval (4 s)
// after it was last heard, and MaxStaleness (5 s) after the call. While a live node
// cannot read the journal, or this one cannot hear the bus, it waits for ctx to
// end.
//
// If ctx ends first, the error wraps its error, or a [bus.BarrierError], which names
// the nodes that have not answered. It is [ErrNoBus] without a bus, and [ErrClosed].
func (n *Node) Barrier(ctx context.Context, opts BarrierOptions) (answered int, err error) {
	switch {
	case n.ctx.Err() != nil:
		return 0, ErrClosed
	case n.bus == nil:
		return 0, ErrNoBus
	}
	if err := n.Drain(ctx); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.ctx, cancel)()
	asked := bus.BarrierOptions{AtLeast: opts.AtLeast}
	if n.journal != nil {
		asked.Grace, asked.Positions = n.opts.MaxStaleness+graceLag, n.journal.Known
	}
	answered, err = n.bus.Barrier(ctx, asked)
	switch {
	case err == nil:
		return answered, nil
	case n.ctx.Err() != nil || errors.Is(err, bus.ErrClosed):
		return answered, ErrClosed
	}
	return answered, fmt.Errorf("nearcache: %w", err)
}

// called is asked whether this node has applied all that was sent before. It
// runs on the goroutine of the bus, after all of that was handed to apply, and
// never blocks.
func (n *Node) called(call bus.BarrierRequest) {
	switch {
	case n.faults.Off(fault.Barriers):
		n.bus.Ack(call)
	case n.journal != nil:
		n.journal.Ask(call)
	default:
		// What a store announced has no number, so nobody notices its loss.
		if n.cut.Load() || n.announces {
			n.flush()
		}
		n.bus.Ack(call)
	}
}
