package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/nearbus/nearbus/examples/cdc/replication"
	"github.com/nearbus/nearbus/nearcache/nearsql"
)

// The ways from the database to the caches.
const (
	byReplication = "replication"
	byOutbox      = "outbox"
	byDoorbell    = "doorbell"
	byPolling     = "polling"
)

const (
	lookInterval = 10 * time.Millisecond  // of the outbox
	pollInterval = 100 * time.Millisecond // of the poller, and of an outbox with a doorbell
)

// reader is a process that tells the caches of changes. In a service, each server would do that
// beside its work; here it is a process of its own, to be killed.
type reader struct {
	way, databaseURL, redisAddr string
	dieAfter                    int // invalidations; 0: never
}

// run tells until ctx ends, and prints that it is ready, and at its end how many rows it told of.
func (r reader) run(ctx context.Context, out io.Writer) error {
	config, err := pgx.ParseConfig(r.databaseURL)
	if err != nil {
		return err
	}
	s, err := openServer(ctx, r.redisAddr, nil)
	if err != nil {
		return err
	}
	defer s.close()
	users := &mortal{Cache: s.users, dieAfter: r.dieAfter}
	ready := sync.OnceFunc(func() { fmt.Fprintln(out, "ready") })
	switch r.way {
	case byReplication:
		err = replicate(ctx, config, users, ready)
	case byOutbox, byDoorbell:
		err = relay(ctx, config, users, r.way == byDoorbell, ready)
	case byPolling:
		err = pollChanges(ctx, config, users, ready)
	default:
		return fmt.Errorf("-reader: %q is none of %s, %s, %s, %s", r.way, byReplication, byOutbox, byDoorbell, byPolling)
	}
	if !errors.Is(err, context.Canceled) {
		return err
	}
	fmt.Fprintln(out, users.told)
	return nil
}

func replicate(ctx context.Context, config *pgx.ConnConfig, users replication.Cache, ready func()) error {
	r, err := replication.New(config, "nearbus", "nearbus", []replication.Rule{
		{Table: "public.users", Column: "id", Cache: users},
	}, replication.Options{Logger: slog.Default()})
	if err != nil {
		return err
	}
	if err := r.Open(ctx); err != nil {
		return err
	}
	go await(ctx, func() bool { return r.Stats().Streaming }, ready)
	return r.Run(ctx)
}

func relay(ctx context.Context, config *pgx.ConnConfig, users nearsql.Cache, doorbell bool, ready func()) error {
	db := sql.OpenDB(stdlib.GetConnector(*config))
	defer db.Close()
	opts := nearsql.RelayOptions{PollInterval: lookInterval, ClaimFor: time.Second, Logger: slog.Default()}
	if doorbell {
		opts.PollInterval = pollInterval
	}
	r, err := nearsql.NewRelay(db, nearsql.PostgreSQL, map[string]nearsql.Cache{"users": users}, opts)
	if err != nil {
		return err
	}
	began := time.Now()
	seen := func() bool { return r.Stats().Unseen < time.Since(began) }
	if doorbell {
		go answerDoorbell(ctx, config, r.Ring)
	}
	go await(ctx, seen, ready)
	return r.Run(ctx)
}

// pollChanges asks for the rows that have changed, as is done where nothing tells: it does not
// notice that a row was deleted.
func pollChanges(ctx context.Context, config *pgx.ConnConfig, users nearsql.Cache, ready func()) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	known := make(map[string]time.Time)
	for {
		// A row may be committed later than it was stamped, so the last seconds are looked at again.
		rows, err := conn.Query(ctx, "SELECT id::text, changed FROM users WHERE changed > clock_timestamp() - INTERVAL '10 s'")
		if err != nil {
			return err
		}
		var id string
		var changed time.Time
		var keys []string
		_, err = pgx.ForEachRow(rows, []any{&id, &changed}, func() error {
			if !changed.Equal(known[id]) {
				known[id] = changed
				keys = append(keys, id)
			}
			return nil
		})
		if err == nil && len(keys) > 0 {
			err = users.Invalidate(ctx, keys...)
		}
		if err != nil {
			return err
		}
		ready()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollInterval):
		}
	}
}

// mortal is a cache whose process dies after some invalidations, each of which returned nil:
// before anybody can have confirmed the last one.
type mortal struct {
	nearsql.Cache
	dieAfter int

	mu    sync.Mutex
	calls int
	told  int // keys
}

func (m *mortal) Invalidate(ctx context.Context, keys ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.Cache.Invalidate(ctx, keys...)
	if err != nil {
		return err
	}
	m.calls++
	m.told += len(keys)
	if m.calls == m.dieAfter {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return nil
}

// await calls then once a condition holds.
func await(ctx context.Context, holds func() bool, then func()) {
	for !holds() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Millisecond):
		}
	}
	then()
}
