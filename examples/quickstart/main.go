// Quickstart is a fleet of three nodes in one process: many readers, one
// writer, and a judge who holds every answer against what was written.
//
//	go run ./examples/quickstart
//
// It needs no server. REDIS_URL and NATS_URL, either or both, put the same
// program on real servers:
//
//	REDIS_URL=redis://localhost:6379 go run ./examples/quickstart
//	REDIS_URL=redis://localhost:6379 NATS_URL=nats://localhost:4222 go run ./examples/quickstart
//
// With -web it is a page on which the fleet can be broken, beside a cache as it is usually written:
//
//	go run ./examples/quickstart -web
//
// The exit status is 1 if any read was stale beyond the bound that was declared
// before the run, or if the fleet could not be started.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/nearbus/nearbus/examples/quickstart/live"
)

// config says what is run, and on what.
type config struct {
	nodes, readers, keys int
	writes               int // a second
	duration, bound      time.Duration
	redisURL, natsURL    string
	broken               bool // lose what the bus delivers: for the test
}

func main() {
	cfg := config{redisURL: os.Getenv("REDIS_URL"), natsURL: os.Getenv("NATS_URL")}
	flag.IntVar(&cfg.nodes, "nodes", 3, "nodes of the fleet")
	flag.IntVar(&cfg.readers, "readers", 4, "readers on each node")
	flag.IntVar(&cfg.keys, "keys", 5000, "users to read, by Zipf's law")
	flag.IntVar(&cfg.writes, "writes", 200, "writes a second")
	flag.DurationVar(&cfg.duration, "duration", 5*time.Second, "time to run")
	flag.DurationVar(&cfg.bound, "bound", time.Second, "age past which an old answer counts as stale")
	web := flag.Bool("web", false, "show a page on which servers can be broken, until Ctrl-C; of the other flags only -listen counts")
	listen := flag.String("listen", "localhost:8088", "address of the page")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	work := func() error { return run(ctx, cfg, os.Stdout, isTerminal(os.Stdout)) }
	if *web {
		work = func() error { return live.Serve(ctx, *listen, os.Stdout) }
	}
	if err := work(); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

var errStale = errors.New("there were stale reads")

// run runs the fleet and prints what it does. The error is errStale if the
// fleet did not keep its promise.
func run(ctx context.Context, cfg config, out io.Writer, live bool) error {
	if cfg.nodes < 2 || cfg.readers < 1 || cfg.keys < 2 || cfg.writes < 1 || cfg.duration <= 0 || cfg.bound <= 0 {
		return errors.New("want at least 2 nodes, 1 reader, 2 keys, 1 write a second, and positive times")
	}
	fleet, err := newFleet(ctx, cfg)
	if err != nil {
		return err
	}
	defer fleet.close()

	fmt.Fprintf(out, "%d nodes on %s; %d readers, 1 writer, %d users\n",
		cfg.nodes, fleet.on, cfg.nodes*cfg.readers, cfg.keys)
	fmt.Fprintf(out, "declared: no read is older than a write that was acknowledged %v before it\n\n", cfg.bound)
	load := newLoad(cfg, fleet)
	view := newView(out, live, load)
	load.run(ctx, view.show)
	view.end()
	return load.report(out)
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
