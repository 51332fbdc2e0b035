package main

import (
	"context"
	"errors"
	"fmt"
	"io"
)

var errStale = errors.New("there were stale answers")

// report prints the summary. The error tells that the fleet did not do what it
// should.
func (d *traffic) report(out io.Writer) error {
	for _, p := range d.processes {
		d.remember(context.Background(), p)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	reads, puts := d.reads.Load(), d.puts.Load()
	p50, p99, _ := quantiles(d.latencies)
	h50, h99, longest := quantiles(d.hops)
	fmt.Fprintln(out)
	for _, line := range []struct{ what, is string }{
		{"requests", fmt.Sprintf("%d reads and %d writes in %.1fs: %.0f a second", reads, puts, d.took.Seconds(), float64(reads+puts)/d.took.Seconds())},
		{"time of a read", fmt.Sprintf("p50 %v  p99 %v", p50, p99)},
		{"answered near", fmt.Sprintf("%.2f %%", 100*float64(d.seen.NearHits)/float64(max(1, d.seen.Reads)))},
		{"database queries", fmt.Sprintf("%d for %d reads: %.2f %% saved", d.seen.Queries, d.seen.Reads, 100-100*float64(d.seen.Queries)/float64(max(1, d.seen.Reads)))},
		{"write to last process", fmt.Sprintf("p50 %v  p99 %v  max %v (%d writes followed)", h50, h99, longest, len(d.hops))},
		{"older than the last write", fmt.Sprintf("%d answers, while its message was on the way", d.behind.Load())},
		{"stale after " + d.cfg.bound.String(), fmt.Sprintf("%d answers, %d writes not seen everywhere", d.stale.Load(), d.notSeen.Load())},
		{"cut off by the kill", fmt.Sprintf("%d requests", d.cutOff.Load())},
		{"failed", fmt.Sprintf("%d requests", len(d.failures))},
	} {
		fmt.Fprintf(out, "%-26s %s\n", line.what, line.is)
	}
	switch {
	case len(d.failures) > 0:
		return fmt.Errorf("%d requests failed, the first with: %w", len(d.failures), d.failures[0])
	case d.stale.Load() > 0 || d.notSeen.Load() > 0:
		return errStale
	default:
		return nil
	}
}
