package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// campaign is a run of all ways on one fleet.
type campaign struct {
	edits int
	bound time.Duration
}

// wayOf is a way, and what is aimed at: the slowest edit but for one in a hundred, as a multiple
// of a bare commit.
type wayOf struct {
	way, title string
	target     float64 // 0: none
}

var ways = []wayOf{
	{byPolling, "polling, every 100 ms", 0},
	{byOutbox, "outbox, every 10 ms", 15},
	{byDoorbell, "outbox, every 100 ms, doorbell", 0},
	{byReplication, "logical replication", 6},
}

var errStale = errors.New("there were stale answers")

func (c campaign) run(ctx context.Context, out io.Writer) error {
	if c.edits < 2 || c.bound <= 0 {
		return errors.New("want at least 2 edits, and a positive bound")
	}
	f, err := startFleet(ctx)
	if err != nil {
		return err
	}
	defer f.close()
	fmt.Fprintf(out, "%d servers on PostgreSQL and Redis; psql edits %d of %d users for each way\n", fleetSize, c.edits, rows)
	fmt.Fprintf(out, "declared: no server answers with what was changed longer than %v ago\n\n", c.bound)
	var committed []time.Duration
	for range c.edits {
		e, err := f.edit(ctx, 0, 0)
		if err != nil {
			return err
		}
		committed = append(committed, e.committed)
	}
	bare, bare99 := quantiles(committed)
	if err := f.clear(ctx); err != nil { // nobody was told of these
		return err
	}
	fmt.Fprintf(out, "%-31s %9s %9s %9s   %s\n", "from psql to the last server", "p50", "p99", "longest", "p99 / commit")
	fmt.Fprintf(out, "%-31s %9s %9s\n", "a commit alone", ms(bare), ms(bare99))
	version, stale := int64(0), 0
	var notes strings.Builder
	for _, w := range ways {
		left, err := c.try(ctx, f, w, bare, &version, out, &notes)
		if err != nil {
			return fmt.Errorf("%s: %w", w.title, err)
		}
		stale += left
	}
	fmt.Fprint(out, "\n", notes.String())
	for _, w := range ways {
		if err := c.show(ctx, f, w, out); err != nil {
			return fmt.Errorf("%s: %w", w.title, err)
		}
	}
	fmt.Fprintf(out, "\nstale after %v: %d answers\n", c.bound, stale)
	if stale > 0 {
		return errStale
	}
	return nil
}

// try has psql edit rows while a reader tells of them, which is killed midway, and returns how
// many answers were old.
func (c campaign) try(ctx context.Context, f *fleet, w wayOf, bare time.Duration, version *int64, out, notes io.Writer) (stale int, err error) {
	if err := f.prepare(ctx, w.way); err != nil {
		return 0, err
	}
	half := c.edits / 2
	rs, err := startReaders(ctx, reader{way: w.way, databaseURL: f.databaseURL, redisAddr: f.redisAddr, dieAfter: half})
	if err != nil {
		return 0, err
	}
	var times []time.Duration
	for range c.edits {
		*version++
		e, editErr := f.edit(ctx, *version, c.bound)
		if err = editErr; err != nil {
			break
		}
		if e.late {
			stale++
		}
		times = append(times, e.everywhere)
	}
	told, endErr := rs.end()
	if err = errors.Join(err, endErr); err != nil {
		return 0, err
	}
	left, err := f.stale(ctx)
	p50, p99 := quantiles(times)
	aim := ""
	if w.target > 0 {
		aim = fmt.Sprintf("  (aim: %g)", w.target)
	}
	fmt.Fprintf(out, "%-31s %9s %9s %9s   %.1f%s\n", w.title, ms(p50), ms(p99), ms(slices.Max(times)), float64(p99)/float64(bare), aim)
	if w.way != byPolling { // which tells of everything that is new to its process
		fmt.Fprintf(notes, "%-31s killed after the invalidation of edit %d; the next reader told of the %d left, and of %d again\n",
			w.title, half, c.edits-half, told-(c.edits-half))
	}
	if rs.deaths.Load() != 1 {
		return 0, fmt.Errorf("the reader died %d times, not once", rs.deaths.Load())
	}
	return stale + left, err
}

// quantiles returns the median and the 99th percentile.
func quantiles(times []time.Duration) (p50, p99 time.Duration) {
	slices.Sort(times)
	at := func(q float64) time.Duration { return times[int(q*float64(len(times)-1))] }
	return at(0.5), at(0.99)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond)) }
