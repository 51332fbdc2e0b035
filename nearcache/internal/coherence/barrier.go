package coherence

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
)

// graceLag is for the ticks of the clock of another node, and its lag.
const graceLag = 100 * time.Millisecond

// Barrier returns nil when every live node has applied every write that this node had
// returned from when it was called, and how many other nodes have said so: atLeast have to.
func (n *Node) Barrier(ctx context.Context, atLeast int) (answered int, err error) {
	switch {
	case n.Context.Err() != nil:
		return 0, ErrClosed
	case n.Bus == nil:
		return 0, ErrNoBus
	}
	if err := n.Drain(ctx); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.Context, cancel)()
	asked := bus.BarrierOptions{AtLeast: atLeast}
	if n.Journal != nil {
		asked.Grace, asked.Positions = n.Options.MaxStaleness+graceLag, n.Journal.Known
	}
	answered, err = n.Bus.Barrier(ctx, asked)
	switch {
	case err == nil:
		return answered, nil
	case n.Context.Err() != nil || errors.Is(err, bus.ErrClosed):
		return answered, ErrClosed
	}
	return answered, fmt.Errorf("nearcache: %w", err)
}

// called is asked whether this node has applied all that was sent before. It
// runs on the goroutine of the bus, after all of that was handed to apply, and
// never blocks.
func (n *Node) called(call bus.BarrierRequest) {
	switch {
	case n.Faults.Off(fault.Barriers):
		n.Bus.Ack(call)
	case n.Journal != nil:
		n.Journal.Ask(call)
	default:
		// What a store announced has no number, so nobody notices its loss.
		if n.Cut.Load() || n.announces {
			n.flush()
		}
		n.Bus.Ack(call)
	}
}
