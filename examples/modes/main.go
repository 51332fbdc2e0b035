// Modes shows the ways to keep caches of several servers in step side by side,
// on the same work: what each costs, and how stale it gets.
//
//	go run ./examples/modes
//
// Three nodes read and one of them writes, in memory, for two seconds in each
// mode.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/nearbus/nearbus/nearcache"
)

// mode is one answer to "server 1 updates the cache: how do the others know?".
type mode struct {
	name            string
	noTier, noBus   bool
	nearTTL         time.Duration // zero: the default
	invalidateAfter bool          // change the source, then invalidate; otherwise set
}

var modes = []mode{
	{name: "write-through"},
	{name: "cache-aside with invalidation", invalidateAfter: true},
	{name: "short TTL, no bus", noBus: true, nearTTL: 500 * time.Millisecond},
	{name: "bus, no shared tier", noTier: true, invalidateAfter: true},
}

// write is what a service does when a value changes.
func (m mode) write(ctx context.Context, users *nearcache.Cache[int64], key string, version int64) error {
	if m.invalidateAfter {
		return users.Invalidate(ctx, key)
	}
	return users.Set(ctx, key, version)
}

func main() {
	duration := flag.Duration("duration", 2*time.Second, "time to run each mode")
	flag.Parse()
	if err := compare(context.Background(), *duration, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "modes:", err)
		os.Exit(1)
	}
}

func compare(ctx context.Context, duration time.Duration, out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tnear hits\tsource asked\tshared reads\tshared writes\tmessages\tstale reads\tstale for, p99\tworst\t")
	for _, m := range modes {
		r, err := run(ctx, m, duration)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		fmt.Fprintf(table, "%s\t%.1f %%\t%s\t%s\t%s\t%s\t%.3f %%\t%v\t%v\t\n", m.name, 100*r.near,
			r.each(r.loads), r.each(r.sharedReads), r.each(r.sharedWrites), r.each(r.messages),
			100*float64(r.stale)/float64(r.reads), r.p99.Round(time.Microsecond), r.worst.Round(time.Microsecond))
	}
	fmt.Fprintln(table, "\t\t\t\t\t\t\t\t\t")
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, "Source, shared tier and messages: for each 1,000 reads. Stale: older than a write that was\nacknowledged before the read began, and for how long it had been.")
	return err
}
