package coherence

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/nearcache/internal/journal"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/nearcache/internal/outage"
	"github.com/nearbus/nearbus/nearcache/internal/telemetry"
	"github.com/nearbus/nearbus/shared"
)

// Node is one process among those that share caches. It owns the near tier and listens to
// the bus for all of its keyspaces. It is safe for use by many goroutines.
type Node struct {
	Tier    *observedTier // nil in bus-only mode
	Bus     *bus.Bus      // nil in TTL-only mode
	Options Options
	Near    *near.Tier

	// announces says that the shared tier publishes on the bus in the same
	// step as it writes.
	announces bool

	// Cut says that the bus cannot be heard. It is set before the near tier is
	// flushed, so whatever is stamped after the flush sees it.
	Cut        atomic.Bool
	busOutage  outage.Outage // of the bus
	tierOutage outage.Outage // of a shared tier without a journal
	refusal    refusal       // of the shared tier

	breakerOutage outage.Outage         // of calls that the breaker lets through
	lastFailure   atomic.Pointer[error] // of a call that it let through
	textOutage    outage.Outage         // of messages in plain text that are carried out
	undelivered   undelivered

	Context   context.Context // ends with the node, and has no values; for loads
	own       context.Context // likewise, with the values of Options.Background; for what the node does by itself
	cancel    context.CancelFunc
	jobs      chan textJob      // to the worker
	overflows chan struct{}     // there was no room for a job of some cache; never closed
	added     chan struct{}     // an invalidation is pending in some cache; never closed
	restored  chan struct{}     // the shared tier is back, and takes what is pending; never closed
	Journal   *journal.Follower // nil if the shared tier keeps no journal
	acked     *generation.Acked // of own writes, if it does
	heads     generation.Heads  // that were heard of, if it does
	meter     meter
	census    *census // nil without a bus
	heard     heardLog
	done      sync.WaitGroup

	mu     sync.Mutex // protects closed, and is held while a cache joins
	closed bool
	caches directory

	nodeCounters
	watched
	Faults fault.Switches
}

// Options are those of a node, with all defaults set.
type Options struct {
	NearBytes       int64
	JournalInterval time.Duration
	MaxStaleness    time.Duration
	SharedPatience  time.Duration // 0: as long as is usual
	ServeStale      bool
	AuditRate       int
	Logger          *slog.Logger
	Background      context.Context
	Observer        func(telemetry.Note) // or nil
	Tracer          telemetry.Tracer     // or nil
}

// New returns a node over tier and b, one of which may be nil. It does not wait for
// servers.
func New(tier *shared.Tier, b *bus.Bus, opts Options, off fault.Switches) (*Node, error) {
	n := &Node{Bus: b, Options: opts, Faults: off, tierOutage: outage.Outage{Patience: tierPatience, Quiet: tierQuiet}}
	n.refusal.Quiet = refusalQuiet
	if tier != nil {
		n.Tier = &observedTier{Tier: tier.Records(), node: n, silence: silence{fixed: opts.SharedPatience, began: time.Now()}}
	}
	n.begin()
	n.jobs, n.overflows = make(chan textJob, 1024), make(chan struct{}, 1)
	n.added, n.restored = make(chan struct{}, 1), make(chan struct{}, 1)
	n.caches.init()
	conf := near.Config{
		Bytes: opts.NearBytes, MaxStaleness: opts.MaxStaleness, ServeStale: opts.ServeStale,
		Jumped: n.jumped, Faults: off,
	}
	if tier != nil && tier.Partitions() > 0 && !off.Off(fault.Journal) {
		conf.Partitions = tier.Partitions()
		n.acked = generation.NewAcked(conf.Partitions)
		n.heads = make(generation.Heads, conf.Partitions)
		n.Journal = n.follower() // before the near tier, whose clock may call jumped at once
	}
	var err error
	if n.Near, err = near.New(conf); err != nil {
		n.cancel()
		return nil, err
	}
	n.Notes, n.Spans = telemetry.NewQueue(opts.Observer), telemetry.NewSpans(opts.Tracer)
	if b != nil {
		n.announces = tier != nil && tier.Endpoint() != nil && tier.Endpoint() == b.Endpoint()
		n.Cut.Store(true)
		n.census = newCensus(n)
		if err := b.Subscribe(n.handler()); err != nil {
			n.cancel()
			n.Near.Close()
			n.Notes.Close()
			return nil, err
		}
	}
	n.run()
	return n, nil
}

// begin makes the contexts of the node.
func (n *Node) begin() {
	life, end := context.WithCancel(context.Background())
	own, endOwn := context.WithCancel(context.WithoutCancel(n.Options.Background))
	n.Context, n.own = life, own
	n.cancel = func() { end(); endOwn() }
}

// run starts the goroutines of the node. They end with its context; close waits for them.
func (n *Node) run() {
	if n.census != nil {
		n.done.Go(func() { n.census.run(n.own) }) // ends with ctx; close waits
	}
	n.done.Go(n.runJobs)      // ends with ctx; close waits
	n.done.Go(n.retryPending) // likewise
	if n.Journal != nil {
		n.done.Go(n.Journal.Run) // likewise
	}
	if n.Tier != nil && n.Options.AuditRate > 0 {
		n.done.Go(n.runMeter) // likewise
	}
	if n.Tier != nil && n.Tier.Sweeps() {
		n.done.Go(n.runSweep) // likewise
	}
	if n.Notes != nil {
		n.done.Go(n.watchTrust) // likewise
	}
}

// Close ends the node. It returns how many invalidations were pending, which end with it.
func (n *Node) Close() (pending int) {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	if pending = n.pending(); pending > 0 {
		n.Options.Logger.Error("nearcache: closed while invalidations could not be delivered", "owed", pending)
	}
	n.cancel()
	if n.Bus != nil {
		n.Bus.Unsubscribe()
	}
	if n.Tier != nil {
		n.Tier.releaseLeases()
	}
	n.Near.Close()
	n.done.Wait()
	n.Notes.Close()
	return pending
}

// handler returns what the node does with what it hears on the bus.
func (n *Node) handler() bus.Handler {
	return bus.Handler{
		Apply: n.apply, Gap: n.gap, Ready: n.ready, Barrier: n.called,
		Peers: n.census.trigger, Repairs: n.Journal != nil,
		Settings: func(digest uint64, settings []bus.Setting) {
			n.census.contrasts.hear(digest, settings)
			n.census.trigger()
		},
	}
}

// Join adds a cache, which is open once nothing refuses it.
func (n *Node) Join(k *Keyspace) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	if n.caches.find(k.Name) != nil {
		return fmt.Errorf("nearcache: New: the node has a cache %q already", k.Name)
	}
	k.open()
	n.caches.add(k)
	if n.census != nil {
		n.census.trigger()
	}
	return nil
}

// apply applies a message. It runs on the goroutine of the bus and never
// blocks.
func (n *Node) apply(m bus.Message) {
	n.heard.note(&n.caches, &m)
	// Sequenced messages of this node are published after it applied them.
	if m.Own && m.Sequence > 0 {
		return
	}
	defer n.tookApplied(&m)
	for i := range m.Invalidations {
		inv := &m.Invalidations[i]
		if c := n.caches.find(inv.Cache); c != nil {
			c.apply(&m, inv)
			n.Applied.Add(1)
			if n.Journal != nil {
				n.Journal.Heard(c.Name, inv.Revision) // inv has its strings only until apply returns
			}
		} else {
			n.UnknownCaches.Add(1)
		}
	}
}

// gap makes everything near suspect: messages may have been missed. The journal
// has them; without one nothing near may stay.
func (n *Node) gap(reason error) {
	n.logGap(reason)
	n.Gaps.Add(1)
	n.Cut.Store(true)
	n.Happened(telemetry.Note{Kind: telemetry.Gap, Err: reason})
	n.catchUp()
}

// ready ends a gap. What came near during the gap is suspect as well: its
// invalidation may have been missed.
func (n *Node) ready() {
	n.catchUp()
	n.Cut.Store(false)
	if took, over := n.busOutage.Succeed(); over {
		n.Options.Logger.Info("nearcache: the bus is heard again", "after", took)
	}
}

func (n *Node) catchUp() {
	if n.Journal != nil {
		n.Journal.Trigger()
		return
	}
	n.flush()
}

func (n *Node) flush() {
	n.Flushes.Add(1)
	n.forgetClocks()
	n.Near.Flush()
}

// flushPartitions is flush for what some partitions decide: lost has an element for each.
func (n *Node) flushPartitions(lost []bool) {
	for _, c := range n.caches.all() {
		c.forgetPartitions(lost)
	}
	n.Near.FlushPartitions(lost)
}

func (n *Node) forgetClocks() {
	for _, c := range n.caches.all() {
		c.ForgetClock()
	}
}

// jumped is called before the near tier is flushed because time was lost. The
// horizons and the clocks are older than they seem.
func (n *Node) jumped() {
	n.forgetClocks()
	if n.Journal != nil {
		n.Journal.Lost() // there may have been some
	}
}
