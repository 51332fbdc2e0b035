// Package replication tells caches of every change that PostgreSQL commits to the rows of
// some tables, by a service, by psql, or by a migration. Copy the folder, and change the copy.
//
//	reader, err := replication.New(config, "nearbus", "nearbus", []replication.Rule{
//		{Table: "public.users", Column: "id", Cache: users},
//	}, replication.Options{Logger: slog.Default()})
//	err = reader.Open(ctx) // makes the slot: before the first fill of a cache
//	go func() { ended <- reader.Run(ctx) }()
//
// A publication names the tables, and has to be there before the slot. A replication slot keeps
// the changes that no reader has confirmed. Every server of a fleet runs a reader on the same
// slot: one has the slot, the others stand by and take the slot when the one dies.
//
// Each committed change is invalidated at least once, because
//
//   - a position in the log is confirmed after the invalidations up to the position returned nil;
//   - a slot gets its name after the caches were cleared: values from before the slot are gone,
//     even if the process dies in between;
//   - a slot that is gone, or has lost part of the log, is replaced in the same way.
//
// No change is invalidated too early either: see the comment of awaitVisible.
//
// PostgreSQL from 13 on, with wal_level logical. A role needs REPLICATION, and nothing else.
package replication

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nearbus/nearbus/nearcache"
)

const (
	maxBatch     = 1000                   // keys that are invalidated by one call
	callTimeout  = 10 * time.Second       // of a call of a cache, of connecting, and of a query
	standbyPause = 500 * time.Millisecond // while another reader has the slot
	firstPause   = 100 * time.Millisecond // after a failure
	longestPause = 5 * time.Second
)

// ErrSetup is wrapped by errors of [New] and [Reader.Open] that last until somebody changes the
// database or the program. The text says what to change.
var ErrSetup = errors.New("replication: cannot work as it is set up")

// Cache is what a reader does to a cache. A *nearcache.Cache[V] is one for every V.
type Cache interface {
	Invalidate(ctx context.Context, keys ...string) error
	Clear(ctx context.Context) error
}

// Rule names the value that a change of a row makes stale: the value of Cache under the text of
// Column, as PostgreSQL prints the column, before and after the change. NULL is no key. TRUNCATE
// clears the cache. Several rules may have the same table, or the same cache.
type Rule struct {
	Table  string // with its schema: "public.users"
	Column string // part of the replica identity of the table
	Cache  Cache
}

// Options configure a [Reader]. The zero value is the production default.
type Options struct {
	// Heartbeat is how often the database is asked whether it is still there. A reader
	// connects again after three heartbeats of silence. Zero means 10 s. Keep the heartbeat
	// below half of the database's wal_sender_timeout, which is 60 s by default.
	Heartbeat time.Duration

	// Logger receives failures, the taking of the slot, new slots, and tables whose changes
	// come without the key. No line has a key or a value. Nil logs nothing.
	Logger *slog.Logger
}

// Stats tell how a reader does. Counters only rise.
type Stats struct {
	Transactions uint64 // that were told to caches and confirmed
	Keys         uint64 // that were invalidated
	Clears       uint64 // of caches: TRUNCATE, new slots, changes without a key
	Skipped      uint64 // changes of tables without a rule
	Keyless      uint64 // changes whose key was not told; see Run
	Invalid      uint64 // keys that caches refused: nothing can be cached under them
	Slots        uint64 // that were made
	Failures     uint64 // sessions that ended in an error

	Streaming bool // the reader has the slot, and the others stand by
}

// Reader tells caches of changes. Open comes before Run, of which one call runs at a time; Stats
// may be called by anybody at any time.
type Reader struct {
	config            *pgx.ConnConfig
	slot, publication string
	rules             []Rule
	opts              Options
	logger            *slog.Logger

	transactions, keys, clears, skipped, keyless, invalid, slots, failures atomic.Uint64
	streaming                                                              atomic.Bool

	useless bool // the slot cannot be read on
}

// New returns a reader of a slot. The database is not asked.
func New(config *pgx.ConnConfig, slot, publication string, rules []Rule, opts Options) (*Reader, error) {
	if opts.Heartbeat == 0 {
		opts.Heartbeat = 10 * time.Second
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	for what, name := range map[string]string{"slot": slot, "publication": publication} {
		if !regexp.MustCompile(`^[a-z0-9_]{1,40}$`).MatchString(name) {
			return nil, fmt.Errorf("%w: the name of the %s is %q: want 1 to 40 of a-z 0-9 _", ErrSetup, what, name)
		}
	}
	for _, rule := range rules {
		if rule.Cache == nil || rule.Column == "" || !strings.Contains(rule.Table, ".") {
			return nil, fmt.Errorf("%w: the rule for table %q and column %q: want schema.table, a column and a cache", ErrSetup, rule.Table, rule.Column)
		}
	}
	if len(rules) == 0 || opts.Heartbeat < 0 || config == nil {
		return nil, fmt.Errorf("%w: want a configuration, a rule at least, and a Heartbeat that is positive", ErrSetup)
	}
	return &Reader{config: config, slot: slot, publication: publication, rules: rules, opts: opts, logger: opts.Logger}, nil
}

// Stats returns how the reader does. It asks nobody.
func (r *Reader) Stats() Stats {
	return Stats{
		Transactions: r.transactions.Load(), Keys: r.keys.Load(), Clears: r.clears.Load(), Skipped: r.skipped.Load(),
		Keyless: r.keyless.Load(), Invalid: r.invalid.Load(), Slots: r.slots.Load(), Failures: r.failures.Load(),
		Streaming: r.streaming.Load(),
	}
}

// Open checks that the database tells all that the rules need, and makes the slot if there is
// none. Caches may be filled once Open has returned nil. To make a slot, the database waits for
// the end of every transaction that is writing. An error that wraps [ErrSetup] says what to
// change; after any other error, try again.
func (r *Reader) Open(ctx context.Context) error {
	db, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(db)
	if err := r.check(ctx, db); err != nil {
		return err
	}
	wal, err := r.connectWAL(ctx) // whether the role may
	if err != nil {
		return err
	}
	closeConn(wal)
	_, err = r.ensureSlot(ctx, db)
	return err
}

// Run tells the caches until ctx ends, and returns the error of ctx. It returns earlier, with an
// error that wraps [nearcache.ErrClosed], once the node of a cache was closed. After any other
// failure, of the database or of a cache, Run connects again after a pause of up to 5 s, and the
// database repeats all changes that were not confirmed.
//
// Where a change comes without its key, because the column was renamed or has left the replica
// identity, Run clears the cache for each transaction with such a change, and logs an error.
func (r *Reader) Run(ctx context.Context) error {
	for pause := time.Duration(0); ; {
		began, told := time.Now(), r.transactions.Load()
		err := r.session(ctx)
		r.streaming.Store(false)
		if r.transactions.Load() > told || time.Since(began) > longestPause {
			pause = 0
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, nearcache.ErrClosed):
			return fmt.Errorf("replication: %w", err)
		case codeOf(err) == "55006": // object_in_use: another reader has the slot
			sleep(ctx, standbyPause)
			continue
		case codeOf(err) == "42704": // undefined_object: the publication was not there at this place of the log
			r.useless = true
		}
		r.failures.Add(1)
		pause = min(max(firstPause, 2*pause), longestPause)
		r.logger.Error("replication: the reader has stopped, and tries again", "error", err, "after", pause)
		sleep(ctx, pause)
	}
}

// session connects and tells the caches until something fails.
func (r *Reader) session(ctx context.Context) error {
	db, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(db)
	for free := false; !free; {
		if free, err = r.ensureSlot(ctx, db); err != nil {
			return err
		}
		if !free {
			sleep(ctx, standbyPause)
		}
	}
	wal, err := r.connectWAL(ctx)
	if err != nil {
		return err
	}
	defer closeConn(wal)
	// From 0 means from what was confirmed.
	if err := pglogrepl.StartReplication(ctx, wal, r.slot, 0, pglogrepl.StartReplicationOptions{
		PluginArgs: []string{"proto_version '1'", "publication_names '" + r.publication + "'"},
	}); err != nil {
		return err
	}
	r.streaming.Store(true)
	r.logger.Info("replication: the reader has the slot, and reads", "slot", r.slot)
	s := stream{Reader: r, db: db, wal: wal, tables: make(map[uint32][]target), stale: make([]stale, len(r.rules))}
	return s.run(ctx)
}

// connect opens the connection for queries, which one that reads the log does not answer.
func (r *Reader) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return pgx.ConnectConfig(ctx, r.config)
}

// connectWAL opens the connection for the log of writes.
func (r *Reader) connectWAL(ctx context.Context) (*pgconn.PgConn, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	config := r.config.Config.Copy()
	config.RuntimeParams["replication"] = "database"
	return pgconn.ConnectConfig(ctx, config)
}

func closeConn(conn interface{ Close(context.Context) error }) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // nothing is pending on it
}

// codeOf returns what PostgreSQL calls an error, "" for an error of something else.
func codeOf(err error) string {
	if failure, ok := errors.AsType[*pgconn.PgError](err); ok {
		return failure.Code
	}
	return ""
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
