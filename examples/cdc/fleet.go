package main

import (
	"context"
	_ "embed" // for what is run in the database
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache/nearsql"
)

const (
	fleetSize = 3
	rows      = 1000 // of the table, as schema.sql says
)

var (
	//go:embed schema.sql
	schemaSQL string
	//go:embed replication.sql
	replicationSQL string
	//go:embed outbox.sql
	outboxSQL string
	//go:embed doorbell.sql
	doorbellSQL string
)

// fleet is a database, Redis, and servers that answer for users.
type fleet struct {
	databaseURL, redisAddr string
	db                     *pgxpool.Pool
	psql                   *psql
	servers                []*server
	closers                []func()
}

func startFleet(ctx context.Context) (*fleet, error) {
	f := &fleet{}
	if err := f.start(ctx); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *fleet) start(ctx context.Context) error {
	postgres, err := servers.StartPostgreSQL(ctx, "-c", "wal_level=logical")
	if err != nil {
		return err
	}
	f.closers = append(f.closers, postgres.Stop)
	redis, err := servers.StartRedis(ctx)
	if err != nil {
		return err
	}
	f.closers = append(f.closers, redis.Stop)
	f.databaseURL, f.redisAddr = fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", postgres.Addr), redis.Addr
	if f.db, err = pgxpool.New(ctx, f.databaseURL); err != nil {
		return err
	}
	f.closers = append(f.closers, f.db.Close)
	if err := f.exec(ctx, append(nearsql.Schema(nearsql.PostgreSQL), schemaSQL)...); err != nil {
		return err
	}
	if f.psql, err = startPSQL(f.databaseURL); err != nil {
		return err
	}
	f.closers = append(f.closers, f.psql.close)
	for range fleetSize {
		s, err := openServer(ctx, f.redisAddr, f.db)
		if err != nil {
			return err
		}
		f.closers = append(f.closers, s.close)
		f.servers = append(f.servers, s)
	}
	return nil
}

func (f *fleet) close() {
	for _, end := range slices.Backward(f.closers) {
		end()
	}
}

// exec runs statements in the database, as a migration does.
func (f *fleet) exec(ctx context.Context, statements ...string) error {
	for _, statement := range statements {
		if _, err := f.db.Exec(ctx, statement); err != nil {
			return fmt.Errorf("database: %w", err)
		}
	}
	return nil
}

// prepare makes what a way needs in the database, and takes away what another one needed.
func (f *fleet) prepare(ctx context.Context, way string) error {
	statements := []string{
		"DROP FUNCTION IF EXISTS tell_users CASCADE", "DROP FUNCTION IF EXISTS ring_nearbus CASCADE",
		"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active",
		"DROP PUBLICATION IF EXISTS nearbus",
	}
	switch way {
	case byReplication:
		statements = append(statements, replicationSQL)
	case byOutbox:
		statements = append(statements, outboxSQL)
	case byDoorbell:
		statements = append(statements, outboxSQL, doorbellSQL)
	}
	return f.exec(ctx, statements...)
}

// edit is a row that was changed by hand, and how long that took: for the commit, and until the
// last server answered with the new row. Both begin when psql is given the statement.
type edit struct {
	committed, everywhere time.Duration
	late                  bool // not everywhere within the bound
}

// edit changes a row that every server has near.
func (f *fleet) edit(ctx context.Context, version int64, bound time.Duration) (edit, error) {
	id := 1 + rand.Int64N(rows)
	for _, s := range f.servers {
		if _, err := s.answer(ctx, id); err != nil {
			return edit{}, err
		}
	}
	began := time.Now()
	err := f.psql.run(fmt.Sprintf("UPDATE users SET name = 'Edit %d', version = %d WHERE id = %d", version, version, id))
	e := edit{committed: time.Since(began)}
	if err != nil || bound == 0 {
		return e, err
	}
	arrived, failed := make([]time.Duration, fleetSize), make([]error, fleetSize)
	var wg sync.WaitGroup
	for i, s := range f.servers {
		wg.Go(func() {
			for time.Since(began) < bound {
				u, err := s.users.Get(ctx, fmt.Sprint(id))
				if err != nil || u.Version >= version {
					arrived[i], failed[i] = time.Since(began), err
					return
				}
				time.Sleep(100 * time.Microsecond)
			}
			arrived[i] = bound
		})
	}
	wg.Wait()
	e.everywhere = slices.Max(arrived)
	e.late = e.everywhere >= bound
	return e, errors.Join(failed...)
}

// stale counts answers that are not what the database has, of every row and every server.
func (f *fleet) stale(ctx context.Context) (stale int, err error) {
	for id := int64(1); id <= rows; id++ {
		want, err := load(ctx, f.db, fmt.Sprint(id))
		if err != nil {
			return 0, err
		}
		for _, s := range f.servers {
			got, err := s.users.Get(ctx, fmt.Sprint(id))
			if err != nil {
				return 0, err
			}
			if got != want {
				stale++
			}
		}
	}
	return stale, nil
}
