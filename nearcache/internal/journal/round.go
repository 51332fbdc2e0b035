package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

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
func (f *Follower) round(ctx context.Context, due int64) {
	round, began := f.rounds.begin(), time.Now()
	told, acked := make([]generation.Hearsay, len(f.positions)), make([]driver.Revision, len(f.positions))
	for p := range told {
		told[p], acked[p] = f.conf.Heads[p].Hearsay(), f.conf.Acked.Get(p)
	}
	late := max(0, f.conf.Owner.Now()-due)
	readings, entries := f.readAll(ctx)
	f.flush(readings)
	var failure error
	f.pace.silent = true
	for p, reading := range readings {
		if at := f.positions[p].Revision; reading.err == nil && at.Epoch == acked[p].Epoch && f.conf.Proves() && generation.Behind(at, acked[p]) {
			// It ends before an own write that was answered before the round began.
			reading.err = fmt.Errorf("nearcache: journal %d: %w", p, ErrBehind)
		}
		if reading.err != nil {
			failure = reading.err
			if shared.Unreachable(failure) {
				f.conf.Owner.Broke(p)
			}
			continue
		}
		f.pace.silent = false
		f.conf.Heads[p].JournalRead(told[p])
		f.applied[p].Store(&driver.Revision{Epoch: f.positions[p].Revision.Epoch, Number: f.positions[p].Revision.Number})
		f.conf.Owner.Confirm(p, reading.at)
		f.slowest.Store(max(f.slowest.Load(), late+f.conf.Owner.Now()-reading.at))
	}
	repaired := f.countUnheard()
	f.conf.Owner.Ended(began, entries, repaired-f.told, failure)
	f.told = repaired
	f.fail(ctx, failure)
	f.rounds.end(failure)
	if failure == nil {
		f.answer(round)
	}
}

// flush makes invalid what the journals that could not be read on decide.
func (f *Follower) flush(readings []reading) {
	lost, n, why := make([]bool, len(readings)), 0, ""
	for p := range readings {
		if readings[p].reset {
			lost[p] = true
			n++
		}
		why = cmp.Or(why, readings[p].breach)
	}
	if n == 0 {
		return
	}
	f.conf.Owner.Flush(lost, why == "")
	if why == "" {
		return // the first read of a journal
	}
	f.resets.Add(1)
	switch {
	case !f.breaches.add(why):
	case n == len(lost):
		f.conf.Logger.Warn("nearcache: flushed the near tier, because the journal cannot be read on", "reason", why)
	default:
		f.conf.Logger.Warn("nearcache: flushed a part of the near tier, because its journal cannot be read on",
			"reason", why, "partitions", n, "of", len(lost))
	}
}

// fail takes in how a round ended.
func (f *Follower) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		f.failure.Store(nil)
		if took, over := f.breaches.Succeed(); over && f.breaches.times > 1 {
			f.conf.Logger.Info("nearcache: the journal can be read on again", "times", f.breaches.times, "after", took)
		}
		if took, over := f.outage.Succeed(); over {
			f.conf.Logger.Info("nearcache: the journal is read again", "after", took)
			f.conf.Owner.Restored()
		}
		return
	}
	f.failures.Add(1)
	f.failure.Store(&err)
	if f.outage.Fail(true) {
		f.conf.Logger.Warn("nearcache: cannot read the journal", "error", err)
	}
}

// readAll reads all journals to their ends: one request to each server for the
// next page of all that have one.
func (f *Follower) readAll(ctx context.Context) (readings []reading, entries int) {
	ctx, cancel := context.WithTimeout(ctx, f.roundLimit())
	defer cancel()
	readings = make([]reading, len(f.positions))
	pending := make([]driver.TailRead, len(f.positions))
	for p := range pending {
		pending[p] = driver.TailRead{Partition: p, From: f.positions[p], Limit: f.pages.first(p)}
	}
	read := make([]int, len(f.positions)) // entries, by partition
	for len(pending) > 0 {
		at := f.conf.Owner.Now()
		tails := f.conf.Tier.Tail(ctx, pending)
		more := pending[:0]
		for i := range tails {
			p := pending[i].Partition
			err := tails[i].Err
			if err == nil && f.conf.Owner.Deposed(p, tails[i].Next.Revision) {
				err = ErrBehind
			}
			if err != nil {
				readings[p].err = journalError(p, read[p], err)
				continue
			}
			readings[p] = reading{at: at, reset: tails[i].Reset, breach: breach(&tails[i], f.positions[p])}
			f.take(p, &tails[i])
			read[p] += len(tails[i].Entries)
			entries += len(tails[i].Entries)
			if tails[i].More {
				more = append(more, driver.TailRead{Partition: p, From: f.positions[p], Limit: 4 * pending[i].Limit})
			}
		}
		for i := range more {
			more[i].Limit = min(more[i].Limit, max(tailPages/len(more), 1))
		}
		pending = more
	}
	for p := range readings {
		f.pages.ended(p, read[p], readings[p].err == nil)
	}
	return readings, entries
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
func (f *Follower) take(partition int, tail *driver.Tail) {
	f.warn(tail)
	f.positions[partition] = tail.Next
	f.conf.Owner.Reached(partition, tail.Next.Revision) // before anything is applied, as all numbers are
	if epoch := tail.Next.Revision.Epoch; f.epochs[partition].Swap(epoch) != epoch {
		f.losses.Add(1)
	}
	for i := range tail.Entries {
		f.apply(&tail.Entries[i])
	}
}

// warn tells when a journal begins to be unsafe, and when it is safe again. Stores say so with
// a reset.
func (f *Follower) warn(tail *driver.Tail) {
	switch w := tail.Warning; {
	case w != nil && w.Error() != f.warned:
		if f.warned == "" {
			f.unsafe = time.Now()
		}
		f.warned = w.Error()
		f.conf.Logger.Warn("nearcache: the journal is not safe", "warning", w)
	case w == nil && tail.Reset && f.warned != "" && len(f.positions) == 1: // or another one may be
		f.warned = ""
		f.conf.Logger.Info("nearcache: the journal is safe again", "after", time.Since(f.unsafe).Round(time.Millisecond))
	}
}

// apply applies one entry of the journal. What it takes out is counted if the bus does not
// tell of it as well.
func (f *Follower) apply(e *driver.JournalEntry) {
	var heard, waits bool
	w := writeOf(e.Key, e.Revision.Number)
	if f.conf.OnBus {
		heard, waits = f.unheard.add(w, f.conf.Owner.Now())
	}
	switch dropped := f.conf.Owner.Apply(e); {
	case !dropped && waits:
		f.unheard.drop(w)
	case dropped && !waits && !heard:
		f.repaired.Add(1)
	}
}

// countUnheard counts what the bus should have told by now.
func (f *Follower) countUnheard() uint64 {
	return f.repaired.Add(f.unheard.overdue(f.conf.Owner.Now()))
}
