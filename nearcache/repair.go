package nearcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/shared"
)

// tailPage is how many entries of a journal are read at first. While there are more, pages
// grow four times each, up to tailPages for all journals that are read in one request: what
// is written during a round trip must fit into less than a page, or a node never catches up.
// Longer ones would hold up the server, and the memory of the node.
const (
	tailPage  = 1000
	tailPages = 32_000
)

// repairPause keeps a node from asking without a break when its shared tier
// answers slowly. When it does not answer, the pause grows.
const repairPause = 10 * time.Millisecond

// repairer keeps the near tier in step with the journal of the shared tier,
// whatever the bus loses. Each round reads what was written since the last one,
// applies it, and then moves the horizons to when the round began.
type repairer struct {
	node      *Node
	positions []shared.Position // by partition; of the goroutine that runs rounds
	epochs    []atomic.Uint64   // by partition; 0 until it is known
	losses    atomic.Uint64     // how often writes turned out to be lost, or may be; raised before the horizon moves
	wake      chan struct{}     // a round is wanted at once; never closed
	failure   atomic.Pointer[error]
	warned    string   // the last warning of the store; of the goroutine that runs rounds
	outage    outage   // of the journal
	breaches  breaches // of its continuity
	calls     calls    // of other nodes, to be answered after a round
	turns     turns

	untold  untold
	applied []atomic.Pointer[shared.Revision] // by partition: the journal has been applied up to there

	rounds, failures, repaired, resets atomic.Uint64
	slowest                            atomic.Int64 // longest time from when a round was due to its end
}

func newRepairer(n *Node) *repairer {
	partitions := n.tier.Partitions()
	return &repairer{
		node:      n,
		positions: make([]shared.Position, partitions),
		epochs:    make([]atomic.Uint64, partitions),
		applied:   make([]atomic.Pointer[shared.Revision], partitions),
		wake:      make(chan struct{}, 1),
		turns:     turns{ended: make(chan struct{})},
		breaches:  breaches{outage: outage{quiet: breachQuiet}},
	}
}

// soon asks for a round without waiting for it.
func (r *repairer) soon() {
	signal(r.wake)
}

// run ends with ctx. Intervals are from beginning to beginning, so that a round
// that takes long does not put off the next one, and they are cut at random, so
// that the nodes of a fleet do not ask in step.
func (r *repairer) run(ctx context.Context) {
	interval := r.node.opts.RepairInterval
	pause := repairPause
	for due := r.node.near.Now(); ctx.Err() == nil; {
		next := r.node.near.Now() + int64(interval-rand.N(interval/4+1))
		r.round(ctx, due)
		if r.failure.Load() == nil {
			pause = repairPause
		} else { // readers may be asking for one after the other, of servers that work as well
			_ = sleep(ctx, pause)
			pause = max(repairPause, min(2*pause, interval/4))
		}
		due = next
		timer := time.NewTimer(max(time.Duration(due-r.node.near.Now()), repairPause))
		select {
		case <-ctx.Done():
		case <-r.wake:
			due = r.node.near.Now()
		case <-timer.C:
		}
		timer.Stop()
	}
}

// roundLimit is how long a round may take. One server that says nothing must not cost
// the others their trust: two rounds that wait for it in vain are within MaxStaleness.
func (r *repairer) roundLimit() time.Duration { return r.node.opts.MaxStaleness * 2 / 5 }

// reading is what became of one journal in a round.
type reading struct {
	at     int64 // when the last read began, on the clock of the near tier
	reset  bool
	breach string // why, if it is worth telling
	err    error
}

// round reads all journals. Where continuity is lost, the end of the journal is
// learned first, then what it decides is flushed, and only then the horizon
// moves: so a write between two of these is either flushed or read next time.
func (r *repairer) round(ctx context.Context, due int64) {
	round := r.turns.begin()
	told, acked := make([]*shared.Revision, len(r.positions)), make([]shared.Revision, len(r.positions))
	for p := range told {
		told[p], acked[p] = r.node.heads[p].Told(), r.node.acked.Get(p)
	}
	late := max(0, r.node.near.Now()-due)
	readings := r.readAll(ctx)
	r.flush(readings)
	var failure error
	for p, reading := range readings {
		if at := r.positions[p].Revision; reading.err == nil && at.Epoch == acked[p].Epoch && r.node.proves() && generation.Behind(at, acked[p]) {
			// It ends before an own write that was answered before the round began.
			reading.err = fmt.Errorf("nearcache: journal %d: %w", p, errBehind)
		}
		if reading.err != nil {
			failure = reading.err
			if shared.Unreachable(failure) {
				r.node.near.Broke(p)
			}
			continue
		}
		r.node.heads.JournalRead(p, told[p])
		r.applied[p].Store(&shared.Revision{Epoch: r.positions[p].Revision.Epoch, Number: r.positions[p].Revision.Number})
		r.node.near.Confirm(p, reading.at)
		r.slowest.Store(max(r.slowest.Load(), late+r.node.near.Now()-reading.at))
	}
	r.countUntold()
	r.rounds.Add(1)
	r.fail(ctx, failure)
	r.turns.end(failure)
	if failure == nil {
		r.answer(round)
	}
}

// flush makes invalid what the journals that could not be read on decide.
func (r *repairer) flush(readings []reading) {
	lost, n, why := make([]bool, len(readings)), 0, ""
	for p := range readings {
		if readings[p].reset {
			lost[p] = true
			n++
		}
		why = cmp.Or(why, readings[p].breach)
	}
	switch {
	case n == 0:
		return
	case n == len(lost):
		r.node.flush()
	default:
		r.node.flushPartitions(lost)
	}
	r.resets.Add(1)
	switch {
	case why == "" || !r.breaches.add(why):
	case n == len(lost):
		r.node.opts.Logger.Warn("nearcache: flushed the near tier, because the journal cannot be read on", "reason", why)
	default:
		r.node.opts.Logger.Warn("nearcache: flushed a part of the near tier, because its journal cannot be read on",
			"reason", why, "partitions", n, "of", len(lost))
	}
}

// fail takes in how a round ended.
func (r *repairer) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		r.failure.Store(nil)
		if took, over := r.breaches.succeed(); over && r.breaches.times > 1 {
			r.node.opts.Logger.Info("nearcache: the journal can be read on again", "times", r.breaches.times, "after", took)
		}
		if took, over := r.outage.succeed(); over {
			r.node.opts.Logger.Info("nearcache: the journal is read again", "after", took)
			signal(r.node.restored)
		}
		return
	}
	r.failures.Add(1)
	r.failure.Store(&err)
	if r.outage.fail(true) {
		r.node.opts.Logger.Warn("nearcache: cannot read the journal", "error", err)
	}
}

// readAll reads all journals to their ends: one request to each server for the
// next page of all that have one.
func (r *repairer) readAll(ctx context.Context) []reading {
	ctx, cancel := context.WithTimeout(ctx, r.roundLimit())
	defer cancel()
	readings := make([]reading, len(r.positions))
	pending := make([]shared.TailRead, len(r.positions))
	for p := range pending {
		pending[p] = shared.TailRead{Partition: p, From: r.positions[p], Limit: tailPage}
	}
	read := make([]int, len(r.positions)) // entries, by partition
	for len(pending) > 0 {
		at := r.node.near.Now()
		tails := r.node.tier.Tail(ctx, pending)
		more := pending[:0]
		for i := range tails {
			p := pending[i].Partition
			err := tails[i].Err
			if err == nil && r.node.deposed(p, tails[i].Next.Revision) {
				err = errBehind
			}
			if err != nil {
				readings[p].err = journalError(p, read[p], err)
				continue
			}
			readings[p] = reading{at: at, reset: tails[i].Reset, breach: breach(&tails[i], r.positions[p])}
			r.take(p, &tails[i])
			read[p] += len(tails[i].Entries)
			if tails[i].More {
				more = append(more, shared.TailRead{Partition: p, From: r.positions[p], Limit: 4 * pending[i].Limit})
			}
		}
		for i := range more {
			more[i].Limit = min(more[i].Limit, max(tailPages/len(more), 1))
		}
		pending = more
	}
	return readings
}

// journalError is why a journal was not read to its end in a round that read so many entries
// of it. If time ran out over the largest pages, it is not the server that was away.
func journalError(partition, read int, err error) error {
	if read < tailPages || !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("nearcache: journal %d: %w", partition, err)
	}
	return fmt.Errorf("nearcache: journal %d: it is written faster than this node reads it, of which %d entries were no end: %w",
		partition, read, err)
}

// take applies what was read of one journal.
func (r *repairer) take(partition int, tail *shared.Tail) {
	if w := tail.Warning; w != nil && w.Error() != r.warned {
		r.warned = w.Error()
		r.node.opts.Logger.Warn("nearcache: the journal is not safe", "warning", w)
	}
	r.positions[partition] = tail.Next
	r.node.reaches(partition, tail.Next.Revision) // before anything is applied, as all numbers are
	if epoch := tail.Next.Revision.Epoch; r.epochs[partition].Swap(epoch) != epoch {
		r.losses.Add(1)
	}
	for i := range tail.Entries {
		r.apply(&tail.Entries[i])
	}
}

// apply applies one entry of the journal. What it takes out is counted if the bus does not
// take it out as well.
func (r *repairer) apply(e *shared.JournalEntry) {
	w := writeOf(e.Key, e.Revision)
	waits := r.node.bus != nil && r.untold.add(w, r.node.near.Now())
	switch dropped := r.node.repair(e); {
	case !dropped && waits:
		r.untold.drop(w)
	case dropped && !waits:
		r.repaired.Add(1)
	}
}

// countUntold counts what the bus should have told by now.
func (r *repairer) countUntold() uint64 {
	return r.repaired.Add(r.untold.overdue(r.node.near.Now()))
}

// repair applies one entry of the journal, and reports whether it took
// something out that the bus should have.
func (n *Node) repair(e *shared.JournalEntry) bool {
	caches := *n.caches.Load()
	if name, key, ok := strings.Cut(e.Key, ":"); ok && !strings.HasSuffix(name, tagInfix) {
		c := caches[name]
		return c != nil && c.repair(key, e.Revision)
	}
	return n.repairClocks(caches, e)
}

// repairClocks applies an entry of the journal that is of no key.
func (n *Node) repairClocks(caches map[string]*keyspace, e *shared.JournalEntry) bool {
	if name, ok := strings.CutSuffix(e.Key, clockSuffix); ok {
		c := caches[name]
		return c != nil && c.advance(e.Revision.Number)
	}
	if name, ok := strings.CutSuffix(e.Key, tagClockSuffix); ok {
		if c := caches[name]; c != nil {
			c.advanceTags(e.Revision.Number)
		}
		return false
	}
	name, slot, _ := strings.Cut(e.Key, slotInfix)
	number, err := strconv.ParseUint(slot, 10, 16)
	c := caches[name]
	return err == nil && c != nil && c.repairSlot(uint32(number), e.Revision)
}

// hears reports whether this node would have heard by now of whatever was
// invalidated, but for the bound on staleness.
func (n *Node) hears() bool {
	if n.repairs != nil {
		return n.near.Trusted()
	}
	return n.bus != nil && !n.cut.Load()
}

// partition returns the partition of a key of the shared tier.
func (n *Node) partition(storeKey string) int {
	if n.repairs == nil {
		return 0
	}
	return n.tier.Partition(storeKey)
}

// epoch returns the epoch of a partition, 0 if it is not known.
func (n *Node) epoch(partition int) uint64 {
	if n.repairs == nil {
		return 0
	}
	return n.repairs.epochs[partition].Load()
}

// losses returns how often the shared tier turned out to have lost writes, or may have.
func (n *Node) losses() uint64 {
	if n.repairs == nil {
		return 0
	}
	return n.repairs.losses.Load()
}

// superseded reports whether a record of this revision was there before the
// shared tier lost writes: then it may be what one of them had replaced. A
// record of a later epoch is news of such a loss.
func (n *Node) superseded(partition int, rev shared.Revision) bool {
	if n.repairs == nil {
		return false
	}
	epoch := n.repairs.epochs[partition].Load()
	if epoch != 0 && rev.Epoch > epoch {
		n.repairs.soon()
	}
	if n.proves() {
		epoch = max(epoch, n.heads[partition].Epoch())
	}
	return rev.Epoch < epoch
}

// Health says how far a node can vouch for what it serves. It prints as a line that says
// why it is not trusted, and as JSON with the same in it.
type Health struct {
	// Trusted says that the node has heard of every write up to MaxStaleness
	// ago at the latest. While it has not, values that it can no longer vouch
	// for come from the source, or are served with NodeOptions.ServeStale.
	//
	// With a journal it is false until that was read once, and once it was not
	// read for MaxStaleness, whatever the bus does. Without a journal it is about
	// the bus alone, false from when that is lost to when it is heard, and says
	// nothing of the shared tier; without a bus either it is true. After Close it
	// is false.
	//
	// It is false as well while there is a Mismatch.
	Trusted bool

	// Mismatch says that other nodes on the bus have another shared tier than this one, or
	// another namespace, and names some of them; empty if not. What they write is not seen
	// here then, nor the other way round, until the TTL. Another order of the servers of
	// Memcached is another shared tier, too. It is noticed by both sides, within about
	// 15 s, and ends when the others leave or are set up as this node is.
	Mismatch string

	// Behind is how long ago the node was last known to have heard of every
	// write, which is when its last whole read of the journal began. If there
	// was none yet, it counts from when the node was made. Without a journal it
	// is 0.
	Behind time.Duration

	// BusCut says that the bus cannot be heard.
	BusCut bool

	// Owed is how many invalidations could not be delivered yet. They are tried
	// again; what they concern is read from the source on this node.
	Owed int

	// Journal is the error of the last attempt to read the journal, nil if it
	// succeeded.
	Journal error

	why string // it is not trusted; empty if it is
}

// Health returns the state of the node. A readiness probe may ask for Trusted, until
// it is true for the first time: when the shared tier is down, no node is trusted any
// more, but all go on from the source, and had better stay in service.
func (n *Node) Health() Health {
	h := Health{Trusted: !n.cut.Load(), BusCut: n.cut.Load(), Owed: n.pending(), Mismatch: n.mismatch()}
	if n.repairs != nil {
		horizon := n.near.Horizon()
		h.Behind = time.Duration(n.near.Now() - horizon)
		h.Trusted = horizon > 0 && h.Behind <= n.opts.MaxStaleness
		if err := n.repairs.failure.Load(); err != nil {
			h.Journal = *err
		}
	}
	h.Trusted = h.Trusted && n.ctx.Err() == nil && h.Mismatch == ""
	h.why = n.distrust(&h)
	return h
}
