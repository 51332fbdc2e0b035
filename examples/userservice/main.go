// Userservice is a user service as several servers run it: HTTP in front, a SQL
// database behind, and the users that are asked for all the time in a cache
// that all servers share.
//
//	go run . -fleet                   # three processes on real servers, driven and judged
//	go run . -fleet -store memcached
//	go run . -listen :8080 -db users.db -redis redis://localhost:6379 -nats nats://localhost:4222
//
// With -fleet it starts Redis or Memcached, and NATS, on free ports of this
// machine, runs several processes of itself, sends them requests, kills one of
// them midway and starts it again, and prints what it saw from outside. The
// exit status is 1 if a read was stale beyond the bound declared before the
// run, or if a request failed for another reason than the kill.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	var w wiring
	var f fleetConfig
	fleet := flag.Bool("fleet", false, "run a fleet of processes and drive it")
	listen := flag.String("listen", "127.0.0.1:8080", "address to serve on")
	child := flag.Bool("child", false, "end when the standard input does")
	flag.StringVar(&w.store, "store", "redis", "shared tier: redis or memcached")
	flag.StringVar(&w.bus, "bus", "nats", "bus: nats or redis")
	flag.StringVar(&w.redisURL, "redis", os.Getenv("REDIS_URL"), "URL of Redis")
	flag.StringVar(&w.memcached, "memcached", os.Getenv("MEMCACHED_ADDR"), "address of Memcached")
	flag.StringVar(&w.natsURL, "nats", os.Getenv("NATS_URL"), "URL of NATS")
	flag.StringVar(&w.database, "db", "users.db", "file of the database")
	flag.BoolVar(&w.writeThrough, "write-through", false, "set changed users in the cache; otherwise invalidate them")
	flag.IntVar(&f.processes, "processes", 3, "processes of the fleet")
	flag.IntVar(&f.workers, "workers", 8, "requests under way at a time")
	flag.IntVar(&f.users, "users", 5000, "users in the database")
	flag.Float64Var(&f.writes, "writes", 0.02, "share of requests that write")
	flag.DurationVar(&f.duration, "duration", 15*time.Second, "time to drive the fleet")
	flag.DurationVar(&f.bound, "bound", time.Second, "age past which an old answer counts as stale")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *fleet {
		f.wiring = w
		err = runFleet(ctx, f, os.Stdout)
	} else {
		if *child {
			ctx = untilEOF(ctx, os.Stdin)
		}
		err = serve(ctx, w, *listen, os.Stdout)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		stop()
		fmt.Fprintln(os.Stderr, "userservice:", err)
		os.Exit(1)
	}
}

// untilEOF returns a context that ends with the other end of a pipe: a child
// never outlives its parent.
func untilEOF(ctx context.Context, pipe *os.File) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() { // ends with the process
		buf := make([]byte, 1)
		for {
			if _, err := pipe.Read(buf); err != nil {
				cancel()
				return
			}
		}
	}()
	return ctx
}
