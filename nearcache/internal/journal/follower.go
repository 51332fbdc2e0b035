package journal

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/nearcache/internal/outage"
	"github.com/nearbus/nearbus/shared/driver"
)

// Pause keeps a follower from asking without a break when the shared tier answers slowly.
// When the shared tier does not answer, the pause grows.
const Pause = 10 * time.Millisecond

// Tier is what a follower reads.
type Tier interface {
	Partitions() int
	Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail
}

// Owner is what a follower asks of its node. The goroutine that runs rounds calls it.
type Owner interface {
	Now() int64                      // of the clock of the near tier
	Confirm(partition int, at int64) // every write up to at was applied
	Broke(partition int)             // the server of a partition was away

	// Apply applies an entry, and reports whether that took something out.
	Apply(e *driver.JournalEntry) (dropped bool)

	// Reached takes in that a partition has a write of this revision.
	Reached(partition int, rev driver.Revision)

	// Deposed reports whether a server that is as far as this in a partition was deposed.
	Deposed(partition int, at driver.Revision) bool

	// Flush makes invalid what some partitions decide: lost has an element for each. first says
	// that their journals were not read before.
	Flush(lost []bool, first bool)

	// Ended says how a round ended: how many entries it read, and how many writes turned
	// out that took something out and of which the bus had not told.
	Ended(began time.Time, entries int, repaired uint64, err error)

	// Restored says that the journals are read again after an outage.
	Restored()

	// Arrive answers the question of another node.
	Arrive(call bus.BarrierRequest)
}

// Config configures a follower. Every field but OnBus must be set.
type Config struct {
	Tier  Tier
	Owner Owner
	Heads generation.Heads
	Acked *generation.Acked

	Proves       func() bool // reads are believed only for what they prove
	OnBus        bool        // there is a bus, which tells of writes as well, and knows the next four
	Deaf         func() bool // it is not heard
	RoundTrip    func() time.Duration
	Suspect      func()        // news of it is late: it may be half-open; nil without a bus
	Fleet        func() int    // nodes that are on it, or fell silent
	Interval     time.Duration // from the beginning of a round to that of the next
	MaxStaleness time.Duration
	Logger       *slog.Logger

	Done    context.Context // ends the rounds
	Stopped error           // what Wait returns after that
}

// Follower keeps a near tier in step with the journals of a shared tier. Its methods are safe
// for use by many goroutines; one goroutine runs Run.
type Follower struct {
	conf Config

	positions []driver.Position // by partition; of the goroutine that runs rounds
	pages     pages
	epochs    []atomic.Uint64                   // by partition; 0 until it is known
	losses    atomic.Uint64                     // how often writes turned out to be lost, or may be; raised before the horizon moves
	applied   []atomic.Pointer[driver.Revision] // by partition: the journal has been applied up to there
	wake      chan struct{}                     // a round is wanted at once; never closed
	failure   atomic.Pointer[error]
	warned    string        // the last warning of the store; of the goroutine that runs rounds
	unsafe    time.Time     // when the store warned first; likewise
	outage    outage.Outage // of the journal
	breaches  breaches      // of its continuity
	questions questions     // of other nodes, to be answered after a round
	rounds    rounds
	unheard   unheard
	pace      pace

	failures, repaired, resets atomic.Uint64
	told                       uint64       // of repaired; of the goroutine that runs rounds
	slowest                    atomic.Int64 // longest time from when a round was due to its end
}

// New returns a follower that has read nothing yet.
func New(conf Config) *Follower {
	partitions := conf.Tier.Partitions()
	return &Follower{
		conf:      conf,
		positions: make([]driver.Position, partitions),
		pages:     make(pages, partitions),
		epochs:    make([]atomic.Uint64, partitions),
		applied:   make([]atomic.Pointer[driver.Revision], partitions),
		wake:      make(chan struct{}, 1),
		rounds:    rounds{ended: make(chan struct{})},
		breaches:  breaches{Outage: outage.Outage{Quiet: breachQuiet}},
	}
}

// Trigger asks for a round without waiting for it.
func (f *Follower) Trigger() {
	select {
	case f.wake <- struct{}{}:
	default: // one is wanted already
	}
}

// roundLimit is how long a round may take. One server that says nothing must not cost
// the others their trust: two rounds that wait for it in vain are within MaxStaleness.
func (f *Follower) roundLimit() time.Duration { return f.conf.MaxStaleness * 2 / 5 }
