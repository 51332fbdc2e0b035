package nearcache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
)

// ErrNoBus is returned by Node.Barrier of a node without a bus: there is nobody
// to ask.
var ErrNoBus = errors.New("nearcache: the node has no bus")

// graceLag is for the ticks of the clock of another node, and its lag.
const graceLag = 100 * time.Millisecond

// Barrier returns nil when every live node has applied every write that this
// node had returned from when it was called: from then on none of them answers
// with anything older. It follows any write that needs it:
//
//	err := users.Set(ctx, "42", u)
//	err = node.Barrier(ctx)
//
// What this node owes, because a write failed, it waits for as [Node.Drain] does.
//
// The other nodes are asked, and asked again while they do not answer. Before a
// node answers, it reads the journal to its end, so a lost message does not
// matter; without a journal it flushes its near tier if it may have missed one.
//
// Live is who is heard of on the bus. A node that is closed is not waited for
// any longer; nor is one that died, once it has been silent for
// [bus.Options.HeartbeatTimeout] and, with a journal, NodeOptions.MaxStaleness
// has passed since the call, within which a node that only cannot be heard has
// stopped to serve what it cannot confirm. (A node with ServeStale goes on.) One that
// was silent for that long before the call is not known any more, and not waited
// for: if only the bus does not reach it, it applies the writes by the journal,
// within RepairInterval.
//
// It takes a round trip of the bus and, with a journal, one read of that by each
// node. It takes longer when it is not known who lives: up to HeartbeatTimeout
// (3 s) after this node began to listen, at first or again after it lost the bus;
// and when a node died, the longer of HeartbeatTimeout + HeartbeatInterval (4 s)
// after it was last heard, and MaxStaleness (5 s) after the call. While a live node
// cannot read the journal, or this one cannot hear the bus, it waits for ctx to
// end.
//
// If ctx ends first, the error wraps its error, or a [bus.BarrierError], which names
// the nodes that have not answered. It is [ErrNoBus] without a bus, and [ErrClosed].
func (n *Node) Barrier(ctx context.Context) error {
	switch {
	case n.ctx.Err() != nil:
		return ErrClosed
	case n.bus == nil:
		return ErrNoBus
	}
	if err := n.Drain(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.ctx, cancel)()
	grace := n.opts.MaxStaleness + graceLag
	if n.repairs == nil {
		grace = 0
	}
	err := n.bus.Barrier(ctx, grace)
	switch {
	case err == nil:
		return nil
	case n.ctx.Err() != nil || errors.Is(err, bus.ErrClosed):
		return ErrClosed
	}
	return fmt.Errorf("nearcache: %w", err)
}

// called is asked whether this node has applied all that was sent before. It
// runs on the goroutine of the bus, after all of that was handed to apply, and
// never blocks.
func (n *Node) called(call bus.Call) {
	switch {
	case n.faults.Off(fault.Barriers):
		n.bus.Arrive(call)
	case n.repairs != nil:
		n.repairs.call(call)
	default:
		// What a store announced has no number, so nobody notices its loss.
		if n.cut.Load() || n.announces {
			n.flush()
		}
		n.bus.Arrive(call)
	}
}

// maxCalls is how many questions wait for the journal to be read. Who is not
// answered asks again.
const maxCalls = 1024

// calls are the questions of other nodes that wait for the journal to be read.
type calls struct {
	mu      sync.Mutex // protects waiting
	waiting []waitingCall
}

type waitingCall struct {
	call  bus.Call
	round uint64 // the latest that had begun; a later one reads what was written before the question
}

// call has the journal read to its end, and call answered after that.
func (r *repairer) call(call bus.Call) {
	r.calls.mu.Lock()
	known := slices.ContainsFunc(r.calls.waiting, func(w waitingCall) bool { return w.call == call })
	if !known && len(r.calls.waiting) < maxCalls {
		r.calls.waiting = append(r.calls.waiting, waitingCall{call, r.turns.count()})
	}
	r.calls.mu.Unlock()
	r.soon()
}

// answer answers the questions that came before this round, which has read all
// journals, began.
func (r *repairer) answer(round uint64) {
	r.calls.mu.Lock()
	defer r.calls.mu.Unlock()
	r.calls.waiting = slices.DeleteFunc(r.calls.waiting, func(w waitingCall) bool {
		if w.round >= round {
			return false
		}
		r.node.bus.Arrive(w.call)
		return true
	})
}
