// Command fleetcost prints what a fleet of nodes costs its servers each second:
// messages, bytes, commands, and the processor time for them.
//
//	go -C integration run ./fleetcost
//	go -C integration run ./fleetcost -nodes 1000 -writes 500 -heartbeat 10s
//
// The model is held against real nodes by the tests of this package: 10 to 1,000
// in one process over a bus and a shared tier in memory, and 10 over a real
// Redis. What it leaves out: reads of keys that nobody wrote, loads, and what
// clients and servers put around a payload.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

// run prints the row of one fleet, or those of several sizes when none is given.
func run(args []string, out io.Writer) error {
	f := Defaults(0, 0)
	flags := flag.NewFlagSet("fleetcost", flag.ContinueOnError)
	flags.IntVar(&f.Nodes, "nodes", 0, "nodes of the fleet; 0: several sizes")
	flags.Float64Var(&f.Writes, "writes", 100, "calls that write, each second, of the whole fleet")
	flags.IntVar(&f.Keys, "keys", f.Keys, "keys in a call")
	flags.Float64Var(&f.Reread, "reread", f.Reread, "share of the other nodes that read a written key again")
	flags.BoolVar(&f.OneRedis, "one-redis", f.OneRedis, "shared tier and bus are one Redis")
	flags.DurationVar(&f.Heartbeat, "heartbeat", 0, "bus.Options.HeartbeatInterval, the least with a journal; 0: 1 s, and what is needed")
	flags.DurationVar(&f.Repair, "repair", f.Repair, "nearcache.NodeOptions.JournalInterval; 0: no journal")
	flags.IntVar(&f.Partitions, "partitions", f.Partitions, "partitions of the shared tier")
	flags.IntVar(&f.Key, "key", f.Key, "bytes in a key")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("fleetcost: %w", err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("fleetcost: unexpected argument %q", flags.Arg(0))
	}
	fleets := []Fleet{f}
	if f.Nodes == 0 {
		fleets = sizes(f)
	}
	for i := range fleets {
		if f.Heartbeat == 0 {
			fleets[i].Heartbeat = Defaults(1, 0).Heartbeat
		}
		if err := fleets[i].Validate(); err != nil {
			return err
		}
	}
	if f.Heartbeat == 0 {
		fleets = withNeeded(fleets)
	}
	return table(out, fleets)
}

// sizes returns fleets that differ in their number of nodes.
func sizes(f Fleet) []Fleet {
	var fleets []Fleet
	for _, nodes := range []int{3, 10, 30, 100, 300, 1000} {
		f.Nodes = nodes
		fleets = append(fleets, f)
	}
	return fleets
}

// heartbeatShare is how much of a processor the heartbeats may take.
const heartbeatShare = 0.25

// withNeeded adds each fleet once more, with the heartbeat interval that it
// should have, where that is not the default.
func withNeeded(fleets []Fleet) []Fleet {
	var all []Fleet
	for _, f := range fleets {
		all = append(all, f)
		if needed := HeartbeatFor(f.Nodes, heartbeatShare); needed > f.Interval() {
			f.Heartbeat = needed
			all = append(all, f)
		}
	}
	return all
}

func table(out io.Writer, fleets []Fleet) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "nodes\twrites/s\tkeys\theartbeat\tpublished/s\tdelivered/s\tMB/s\tto each node/s\tcommands/s\tof these repair\trepair MB/s\ttier CPUs\tRedis bus CPUs\tNATS CPUs\t")
	for _, f := range fleets {
		c := Of(f)
		fmt.Fprintf(w, "%d\t%g\t%d\t%v\t%.0f\t%.0f\t%.2f\t%.0f\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t\n",
			f.Nodes, f.Writes, f.Keys, f.Interval(),
			c.Heartbeats+c.Messages+c.Announced, c.Deliveries, c.Delivered/1e6, c.PerNode(f.Nodes),
			c.Commands(), c.RepairCommands, c.RepairBytes/1e6, c.TierLoad(), c.RedisBusLoad(), c.NATSBusLoad())
	}
	return w.Flush()
}
