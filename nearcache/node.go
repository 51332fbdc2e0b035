package nearcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/nearcache/internal/journal"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/nearcache/internal/outage"
	"github.com/nearbus/nearbus/shared"
)

// Node is one process among those that share caches. It owns the near tier and
// listens to the bus for all of its caches. It is safe for use by many
// goroutines.
type Node struct {
	tier *reach   // nil in bus-only mode
	bus  *bus.Bus // nil in TTL-only mode
	opts NodeOptions
	near *near.Tier

	// announces says that the shared tier publishes on the bus in the same
	// step as it writes.
	announces bool

	// cut says that the bus cannot be heard. It is set before the near tier is
	// flushed, so whatever is stamped after the flush sees it.
	cut     atomic.Bool
	outage  outage.Outage // of the bus
	lapse   outage.Outage // of a shared tier without a journal
	refusal refusal       // of the shared tier

	ctx         context.Context // ends with Close; for loads and background writes
	cancel      context.CancelFunc
	chores      chan chore        // to the worker
	flood       chan struct{}     // there was no room for a chore of some cache; never closed
	added       chan struct{}     // an invalidation is pending in some cache; never closed
	restored    chan struct{}     // the shared tier is back, and takes what is pending; never closed
	journal     *journal.Follower // nil if the shared tier keeps no journal
	acked       *generation.Acked // of own writes, if it does
	heads       generation.Heads  // that were heard of, if it does
	meter       meter
	census      *census // nil without a bus
	done        sync.WaitGroup
	owns        []io.Closer // closed after the node, in this order
	closing     sync.Once
	undelivered error // of invalidations that ended with the node; set by closing

	mu     sync.Mutex // protects closed, and writes to caches
	closed bool
	caches atomic.Pointer[map[string]*keyspace] // copied on write

	nodeCounters
	faults fault.Switches
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
	opts = opts.withDefaults()
	n := &Node{bus: b, opts: opts, faults: off, lapse: outage.Outage{Patience: lapseSilence, Quiet: lapseQuiet}}
	n.refusal.Quiet = refusalQuiet
	if tier != nil {
		n.tier = &reach{Tier: tier.Records(), node: n}
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.chores, n.flood = make(chan chore, 1024), make(chan struct{}, 1)
	n.added, n.restored = make(chan struct{}, 1), make(chan struct{}, 1)
	n.caches.Store(&map[string]*keyspace{})
	conf := near.Config{
		Bytes: opts.NearBytes, MaxStaleness: opts.MaxStaleness, ServeStale: opts.ServeStale,
		Jumped: n.jumped, Faults: off,
	}
	if tier != nil && tier.Partitions() > 0 && !off.Off(fault.Journal) {
		conf.Partitions = tier.Partitions()
		n.acked = generation.NewAcked(conf.Partitions)
		n.heads = make(generation.Heads, conf.Partitions)
		n.journal = n.follower() // before the near tier, whose clock may call jumped at once
	}
	var err error
	if n.near, err = near.New(conf); err != nil {
		n.cancel()
		return nil, err
	}
	if b != nil {
		n.announces = tier != nil && tier.Endpoint() != nil && tier.Endpoint() == b.Endpoint()
		n.cut.Store(true)
		n.census = newCensus(n)
		if err := b.Subscribe(n.handler()); err != nil {
			n.cancel()
			n.near.Close()
			return nil, fmt.Errorf("nearcache: NewNode: %w", err)
		}
	}
	if n.census != nil {
		n.done.Go(func() { n.census.run(n.ctx) }) // ends with ctx; Close waits
	}
	n.done.Go(n.work)         // ends with ctx; Close waits
	n.done.Go(n.retryPending) // likewise
	if n.journal != nil {
		n.done.Go(n.journal.Run) // likewise
	}
	if tier != nil && opts.AuditRate > 0 {
		n.done.Go(n.runMeter) // likewise
	}
	return n, nil
}

// handler returns what the node does with what it hears on the bus.
func (n *Node) handler() bus.Handler {
	return bus.Handler{
		Apply: n.apply, Gap: n.gap, Ready: n.ready, Barrier: n.called,
		Peers: n.census.soon,
		Settings: func(digest uint64, settings []bus.Setting) {
			n.census.contrasts.hear(digest, settings)
			n.census.soon()
		},
	}
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
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	if pending := n.pending(); pending > 0 {
		n.undelivered = fmt.Errorf("nearcache: %d invalidations could not be delivered", pending)
		n.opts.Logger.Error("nearcache: closed while invalidations could not be delivered", "owed", pending)
	}
	n.cancel()
	if n.bus != nil {
		n.bus.Unsubscribe()
	}
	if n.tier != nil {
		n.tier.part()
	}
	n.near.Close()
	n.done.Wait()
	for _, c := range n.owns {
		owned = errors.Join(owned, c.Close())
	}
	return owned
}

// join adds a cache, which is open once nothing refuses it.
func (n *Node) join(k *keyspace) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	caches := maps.Clone(*n.caches.Load())
	if caches[k.name] != nil {
		return fmt.Errorf("nearcache: New: the node has a cache %q already", k.name)
	}
	k.open()
	caches[k.name] = k
	n.caches.Store(&caches)
	if n.census != nil {
		n.census.soon()
	}
	return nil
}

// apply applies a message. It runs on the goroutine of the bus and never
// blocks.
func (n *Node) apply(m bus.Message) {
	// Sequenced messages of this node are published after it applied them.
	if m.Own && m.Sequence > 0 {
		return
	}
	caches := *n.caches.Load()
	for i := range m.Invalidations {
		inv := &m.Invalidations[i]
		if c := caches[inv.Cache]; c != nil {
			c.apply(&m, inv)
			n.applied.Add(1)
			if n.journal != nil {
				n.journal.Heard(inv.Cache, inv.Revision)
			}
		} else {
			n.unknown.Add(1)
		}
	}
}

// gap makes everything near suspect: messages may have been missed. The journal
// has them; without one nothing near may stay.
func (n *Node) gap(reason error) {
	n.tellGap(reason)
	n.gaps.Add(1)
	n.cut.Store(true)
	n.catchUp()
}

// ready ends a gap. What came near during the gap is suspect as well: its
// invalidation may have been missed.
func (n *Node) ready() {
	n.catchUp()
	n.cut.Store(false)
	if took, over := n.outage.Succeed(); over {
		n.opts.Logger.Info("nearcache: the bus is heard again", "after", took)
	}
}

func (n *Node) catchUp() {
	if n.journal != nil {
		n.journal.Trigger()
		return
	}
	n.flush()
}

func (n *Node) flush() {
	n.flushes.Add(1)
	n.forgetClocks()
	n.near.Flush()
}

// flushPartitions is flush for what some partitions decide: lost has an element for each.
func (n *Node) flushPartitions(lost []bool) {
	for _, c := range *n.caches.Load() {
		c.forgetPartitions(lost)
	}
	n.near.FlushPartitions(lost)
}

func (n *Node) forgetClocks() {
	for _, c := range *n.caches.Load() {
		c.forgetClock()
	}
}

// jumped is called before the near tier is flushed because time was lost. The
// horizons and the clocks are older than they seem.
func (n *Node) jumped() {
	n.forgetClocks()
	if n.journal != nil {
		n.journal.Lost() // there may have been some
	}
}
