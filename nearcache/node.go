package nearcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/coherence"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared"
)

// Node is one process among those that share caches. It owns the near tier and
// listens to the bus for all of its caches. It is safe for use by many
// goroutines.
type Node struct {
	core *coherence.Node

	mu     sync.Mutex // protects caches
	caches map[string]*base

	owns        []io.Closer // closed after the node, in this order
	closing     sync.Once
	undelivered error // of invalidations that ended with the node; set by closing
}

// NewNode returns a node over tier and b, which stay the caller's to close,
// after the node. Either may be nil, not both: without a bus, values grow stale
// for the near TTL; without a shared tier, each node that misses asks the
// source. A Bus serves one node.
//
// The error is that of an option, or says that tier and b have namespaces that differ: what
// is written under one is told to those who read another.
//
// NewNode does not wait for servers: until the bus is heard, values are kept
// near for MaxStaleness at most.
func NewNode(tier *shared.Tier, b *bus.Bus, opts NodeOptions) (*Node, error) {
	return newNode(tier, b, opts, fault.InProcess())
}

func newNode(tier *shared.Tier, b *bus.Bus, opts NodeOptions, off fault.Switches) (*Node, error) {
	if tier == nil && b == nil {
		return nil, errors.New("nearcache: NewNode: both the shared tier and the bus are nil")
	}
	if err := cmp.Or(opts.validate(), sameNamespace(tier, b)); err != nil {
		return nil, err
	}
	core, err := coherence.New(tier, b, opts.withDefaults().core(), off)
	if err != nil {
		return nil, fmt.Errorf("nearcache: NewNode: %w", err)
	}
	return &Node{core: core, caches: map[string]*base{}}, nil
}

// sameNamespace refuses a shared tier and a bus of which it is known that their namespaces
// differ.
func sameNamespace(tier *shared.Tier, b *bus.Bus) error {
	if tier == nil || b == nil {
		return nil
	}
	if store, transport := tier.Namespace(), b.Namespace(); store != "" && transport != "" && store != transport {
		return fmt.Errorf("nearcache: NewNode: the names of the store begin with %q, those of the bus with %q: give both one Namespace", store, transport)
	}
	return nil
}

// Close ends the node. It first waits as [Node.Drain] does, until ctx ends at the latest: what
// is pending then ends with the node, which logs how many invalidations there were, and returns
// an error. Nobody should write any more by then. A context that has ended closes at once.
//
// The methods of the node and those of its caches return ErrClosed from here on, callers who
// wait for a load too. Close waits for the node's own goroutines, but not for loaders that go
// on after their context ended. It may be called at any time, also twice. It closes the shared
// tier and the bus if the node is from [Open], and otherwise leaves both to the caller. The
// leases of loads under way are given back, so that no other node waits for them; for that it
// takes up to 500 ms when the shared tier does not answer.
func (n *Node) Close(ctx context.Context) error {
	drained := n.Drain(ctx)
	var owned error
	n.closing.Do(func() { owned = n.end() }) // others wait for it
	if errors.Is(drained, ErrClosed) {
		drained = n.undelivered // another call did not wait, or all is over
	}
	return errors.Join(drained, owned)
}

// end ends the node, and closes what is its own.
func (n *Node) end() (owned error) {
	if pending := n.core.Close(); pending > 0 {
		n.undelivered = fmt.Errorf("nearcache: %d invalidations could not be delivered", pending)
	}
	for _, c := range n.owns {
		owned = errors.Join(owned, c.Close())
	}
	return owned
}

// Drain waits until every invalidation that could not be delivered has been: until
// [Health.PendingInvalidations] is 0. Close does it where a program ends, once nothing writes any more: what is
// pending then ends with the process, and the other nodes keep what they have until it expires
// or is written again.
//
// What is owed is tried again every 2 s at least, and when the journal is read again.
// The error wraps that of ctx, or is [ErrClosed].
func (n *Node) Drain(ctx context.Context) error { return n.core.Drain(ctx) }

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
// (3 s) after this node began to listen, at first or again after it lost the bus (in a fleet of
// 1,000, after a call in the first 20 s of that), and for as long as the bus is lost again meanwhile;
// and when a node died, the longer of HeartbeatTimeout + HeartbeatInterval (4 s)
// after it was last heard, and MaxStaleness (2 s) after the call. While a live node
// cannot read the journal, or this one cannot hear the bus, it waits for ctx to
// end.
//
// If ctx ends first, the error wraps its error, or a [bus.BarrierError], which names
// the nodes that have not answered. It is [ErrNoBus] without a bus, and [ErrClosed].
func (n *Node) Barrier(ctx context.Context, opts BarrierOptions) (answered int, err error) {
	if opts.AtLeast < 0 {
		return 0, fmt.Errorf("nearcache: Barrier: BarrierOptions.AtLeast is negative: %d", opts.AtLeast)
	}
	return n.core.Barrier(ctx, opts.AtLeast)
}
