// Cdc is a fleet of servers over PostgreSQL, whose rows are edited by psql, by hand. The servers
// do not change rows, so the news for their caches comes from the database.
//
//	go run .             # a few minutes at most; starts PostgreSQL and Redis on free ports
//	go run . -edits 50
//
// It tries several ways for the news: polling, an outbox that a trigger fills, the same with a
// doorbell, and logical replication. The reader of each way is a process of its own and is
// killed midway. The exit status is 1 if an answer was old after the bound.
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
	var c campaign
	var r reader
	flag.IntVar(&c.edits, "edits", 300, "rows that psql changes for each way")
	flag.DurationVar(&c.bound, "bound", 10*time.Second, "age past which an old answer counts as stale")
	flag.StringVar(&r.way, "reader", "", "be a reader of this way; the rest is for a reader")
	flag.StringVar(&r.databaseURL, "postgres", "", "URL of the database")
	flag.StringVar(&r.redisAddr, "redis", "", "address of Redis")
	flag.IntVar(&r.dieAfter, "die-after", 0, "invalidations after which the reader kills itself; 0 for never")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if r.way != "" {
		err = r.run(untilEOF(ctx, os.Stdin), os.Stdout)
	} else {
		err = c.run(ctx, os.Stdout)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		stop()
		fmt.Fprintln(os.Stderr, "cdc:", err)
		os.Exit(1)
	}
}
