package main

import (
	"fmt"
	"io"
)

// report prints the summary. The error is errStale if a read was stale or a
// write did not arrive.
func (l *load) report(out io.Writer) error {
	p50, p99, longest := l.quantiles()
	reads := l.reads.Load()
	l.mu.Lock()
	lost, lastErr := l.lost, l.lastErr
	l.mu.Unlock()
	for _, line := range []struct{ what, is string }{
		{"reads", fmt.Sprintf("%s in %s: %s a second", count(reads), short(l.took), count(int64(float64(reads)/l.took.Seconds())))},
		{"answered near", fmt.Sprintf("%.2f %%", 100*l.nearHits())},
		{"source asked", fmt.Sprintf("%s times for %s users", count(int64(l.loads())), count(int64(l.cfg.keys)))},
		{"writes", count(l.writes.Load())},
		{"write to last node", fmt.Sprintf("p50 %s  p99 %s  max %s", short(p50), short(p99), short(longest))},
		{"older than the last write", fmt.Sprintf("%s reads, while its message was on the way", count(l.behind.Load()))},
		{"stale after " + l.cfg.bound.String(), fmt.Sprintf("%s reads, %d writes not seen everywhere", count(l.stale.Load()), lost)},
		{"failed", count(l.failed.Load())},
	} {
		fmt.Fprintf(out, "%-26s %s\n", line.what, line.is)
	}
	if l.failed.Load() > 0 {
		return fmt.Errorf("%d calls failed, the last with: %w", l.failed.Load(), lastErr)
	}
	if l.stale.Load() > 0 || lost > 0 {
		return errStale
	}
	return nil
}
