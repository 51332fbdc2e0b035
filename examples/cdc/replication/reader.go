// Package replication tells caches of every change that PostgreSQL commits to the rows of
// some tables, whoever makes the change: a service, psql, a migration. It is one file, made to
// be copied.
//
//	reader, err := replication.New(config, "nearbus", "nearbus", []replication.Rule{
//		{Table: "public.users", Column: "id", Cache: users},
//	}, replication.Options{Logger: slog.Default()})
//	err = reader.Open(ctx) // makes the slot: before the first fill of a cache
//	go func() { ended <- reader.Run(ctx) }()
//
// A publication names the tables, and has to be there before the slot. A replication slot keeps
// what no reader has confirmed. Every server of a fleet runs a reader on the same slot: one has
// the slot, the others stand by and take it when that one dies.
//
// A change that was committed is invalidated at least once, because
//
//   - a position in the log is confirmed after the invalidations before it returned nil;
//   - a slot gets its name after the caches were cleared, so that what was cached before the
//     slot is gone, even if the process dies in between;
//   - a slot that is gone, or has lost part of the log, is replaced in the same way.
//
// A change is not invalidated too early either: see the comment of awaitVisible.
//
// PostgreSQL from 13 on, with wal_level logical. A role needs REPLICATION, and nothing else.
package replication

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

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

// Rule says what a change of a row makes stale: the value that Cache has under the text of
// Column, as PostgreSQL prints it, before and after the change. A key that is NULL is none.
// TRUNCATE clears the cache. Several rules may have the same table, or the same cache.
type Rule struct {
	Table  string // with its schema: "public.users"
	Column string // part of the replica identity of the table
	Cache  Cache
}

// Options configure a [Reader]. The zero value is the production default.
type Options struct {
	// Heartbeat is how often the database is asked whether it is still there. A reader that
	// hears nothing for three times as long connects again. Zero means 10 s. It has to be
	// less than half of wal_sender_timeout, which is 60 s.
	Heartbeat time.Duration

	// Logger receives failures and the end of failures, new slots, and tables whose changes
	// have no key. There are no keys and no values in it. Nil means that nothing is logged.
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

// Reader tells caches of changes. Its methods may be called from many goroutines, but of Run
// one call at a time.
type Reader struct {
	config            *pgx.ConnConfig
	slot, publication string
	rules             []Rule
	opts              Options
	logger            *slog.Logger

	transactions, keys, clears, skipped, keyless, invalid, slots, failures atomic.Uint64
	streaming                                                              atomic.Bool

	useless bool // the slot cannot be read on; Run's alone
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
// none, after which caches may be filled. To make a slot, the database waits for the end of
// every transaction that is writing. An error that wraps [ErrSetup] says what to change; after
// any other error, try again.
func (r *Reader) Open(ctx context.Context) error {
	conn, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.close()
	if err := r.check(ctx, conn.query); err != nil {
		return err
	}
	return r.ensureSlot(ctx, conn.query)
}

// Run tells the caches until ctx ends, and returns the error of ctx. It returns earlier, with an
// error that wraps [nearcache.ErrClosed], once the node of a cache was closed. After any other
// failure, of the database or of a cache, it connects again after a pause of up to 5 s, and the
// database repeats what was not confirmed.
//
// Where a change comes without its key, because the column was renamed or has left the replica
// identity, Run clears the cache for each transaction with such a change, and logs an error.
func (r *Reader) Run(ctx context.Context) error {
	for pause := time.Duration(0); ; {
		err := r.session(ctx, func() {
			if pause > 0 {
				r.logger.Info("replication: the reader is back")
			}
			pause = 0
		})
		r.streaming.Store(false)
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
		if pause == 0 {
			r.logger.Error("replication: the reader has stopped; trying again", "error", err)
		}
		pause = min(max(firstPause, 2*pause), longestPause)
		sleep(ctx, pause)
	}
}

// session connects and tells the caches until something fails.
func (r *Reader) session(ctx context.Context, streaming func()) error {
	conn, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.close()
	if err := r.ensureSlot(ctx, conn.query); err != nil {
		return err
	}
	s := stream{Reader: r, connections: conn, tables: make(map[uint32][]target), stale: make([]stale, len(r.rules))}
	// From 0 means from what was confirmed.
	if err := pglogrepl.StartReplication(ctx, s.wal, r.slot, 0, pglogrepl.StartReplicationOptions{
		PluginArgs: []string{"proto_version '1'", "publication_names '" + r.publication + "'"},
	}); err != nil {
		return err
	}
	r.streaming.Store(true)
	streaming()
	return s.run(ctx)
}

// connections are the two that a reader needs: the one that reads the log of writes answers no queries.
type connections struct {
	wal   *pgconn.PgConn
	query *pgx.Conn
}

func (r *Reader) connect(ctx context.Context) (c connections, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if c.query, err = pgx.ConnectConfig(ctx, r.config); err != nil {
		return c, err
	}
	config := r.config.Config.Copy()
	config.RuntimeParams["replication"] = "database"
	if c.wal, err = pgconn.ConnectConfig(ctx, config); err != nil {
		c.close()
	}
	return c, err
}

func (c connections) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.query.Close(ctx) // nothing is pending on either of them
	if c.wal != nil {
		_ = c.wal.Close(ctx)
	}
}

// check returns an error if the database would not tell all that a rule needs.
func (r *Reader) check(ctx context.Context, db *pgx.Conn) error {
	var problem string
	err := db.QueryRow(ctx, `SELECT CASE
		WHEN current_setting('wal_level') <> 'logical' THEN 'wal_level is ' || current_setting('wal_level') || ': set it to logical, and restart the server'
		WHEN p.oid IS NULL THEN 'there is no publication ' || $1 || ': run CREATE PUBLICATION ' || $1 || ' FOR TABLE ...'
		WHEN NOT (p.pubupdate AND p.pubdelete AND p.pubtruncate) THEN 'the publication ' || $1 || ' leaves out some of update, delete and truncate'
		ELSE '' END FROM (SELECT) one LEFT JOIN pg_publication p ON p.pubname = $1`, r.publication).Scan(&problem)
	for _, rule := range r.rules {
		if err != nil || problem != "" {
			break
		}
		err = db.QueryRow(ctx, `SELECT COALESCE((SELECT CASE
			WHEN c.relkind <> 'r' THEN 'is no plain table: the database does not tell of every TRUNCATE of a partition'
			WHEN a.attnum IS NULL THEN 'has no column ' || $3
			WHEN p.tablename IS NULL THEN 'is not published: run ALTER PUBLICATION ' || $1 || ' ADD TABLE ' || $2
			WHEN to_jsonb(p) ->> 'rowfilter' IS NOT NULL THEN 'is published with a WHERE, and changes of other rows are not told'
			WHEN c.relreplident = 'f' OR i.indexrelid IS NOT NULL THEN ''
			ELSE 'does not tell the old ' || $3 || ' of a row that is changed or deleted: its replica identity needs the column; '
				|| 'make it the primary key, or run ALTER TABLE ' || $2 || ' REPLICA IDENTITY FULL, or USING INDEX' END
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $3 AND a.attnum > 0
			LEFT JOIN pg_publication_tables p ON p.pubname = $1 AND p.schemaname = n.nspname AND p.tablename = c.relname
			LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indimmediate AND a.attnum = ANY (i.indkey)
				AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END
			WHERE n.nspname || '.' || c.relname = $2), 'does not exist')`, r.publication, rule.Table, rule.Column).Scan(&problem)
		if problem != "" {
			problem = "the table " + rule.Table + " " + problem
		}
	}
	if err == nil && problem != "" {
		err = fmt.Errorf("%w: %s", ErrSetup, problem)
	}
	return err
}

// ensureSlot makes the slot if there is none, or none that can be read on. What it makes is at
// first a slot of this connection alone, which ends with it. The slot gets its name after the
// caches are clear.
func (r *Reader) ensureSlot(ctx context.Context, db *pgx.Conn) error {
	var ours, lost bool
	err := db.QueryRow(ctx, `SELECT plugin = 'pgoutput' AND database = current_database(), wal_status = 'lost'
		FROM pg_replication_slots WHERE slot_name = $1`, r.slot).Scan(&ours, &lost)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
	case err != nil:
		return err
	case !ours:
		return fmt.Errorf("%w: the slot %s is one of another database or of another plugin than pgoutput", ErrSetup, r.slot)
	case !lost && !r.useless:
		return nil
	default:
		if _, err := db.Exec(ctx, "SELECT pg_drop_replication_slot($1)", r.slot); err != nil {
			return err
		}
	}
	temporary := fmt.Sprintf("%s_of_%d", r.slot, db.PgConn().PID())
	if _, err := db.Exec(ctx, "SELECT pg_create_logical_replication_slot($1, 'pgoutput', true)", temporary); err != nil {
		return err
	}
	for _, rule := range r.rules {
		if err := r.clear(ctx, rule.Cache); err != nil {
			return err
		}
	}
	_, err = db.Exec(ctx, "SELECT pg_copy_logical_replication_slot($1, $2, false)", temporary, r.slot)
	if err != nil && codeOf(err) != "42710" { // duplicate_object: another reader was faster
		return err
	}
	r.slots.Add(1)
	r.useless = false
	r.logger.Info("replication: made a slot, and cleared the caches", "slot", r.slot)
	_, err = db.Exec(ctx, "SELECT pg_drop_replication_slot($1)", temporary)
	return err
}

func (r *Reader) clear(ctx context.Context, cache Cache) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := cache.Clear(ctx)
	if err == nil {
		r.clears.Add(1)
	}
	return err
}

// invalidate ignores that a cache refuses a key: it has nothing under it.
func (r *Reader) invalidate(ctx context.Context, cache Cache, keys []string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := cache.Invalidate(ctx, keys...)
	refused := 0
	if failed, ok := errors.AsType[nearcache.KeysError](err); ok {
		for key, keyErr := range failed {
			if errors.Is(keyErr, nearcache.ErrInvalidKey) {
				refused++
				delete(failed, key)
			}
		}
		if len(failed) == 0 {
			err = nil
		}
	}
	if err == nil {
		r.keys.Add(uint64(len(keys) - refused))
		r.invalid.Add(uint64(refused))
	}
	return err
}

// stream is a session that reads the log. The database sends transactions one after the other,
// in the order of their commits, and none that was rolled back.
type stream struct {
	*Reader
	connections
	tables    map[uint32][]target // by the number that the database gives a table
	within    bool                // a transaction
	xid       uint32              // of the transaction
	stale     []stale             // what was not told yet, by rule
	size      int                 // of the keys in it
	confirmed pglogrepl.LSN
}

// target is a rule, by its number, and where its column is.
type target struct {
	rule, column int // -1: the changes of the table come without the column
}

// stale is what the cache of a rule is to be told.
type stale struct {
	keys map[string]bool
	all  bool
}

func (s *stream) run(ctx context.Context) error {
	heard, next := time.Now(), time.Now()
	for {
		receiving, cancel := context.WithDeadline(ctx, next)
		message, err := s.wal.ReceiveMessage(receiving)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			err = s.take(ctx, message)
			heard = time.Now()
		case pgconn.Timeout(err) && time.Since(heard) > 3*s.opts.Heartbeat:
			return fmt.Errorf("replication: nothing heard of the database for %v", time.Since(heard).Round(time.Millisecond))
		case pgconn.Timeout(err):
			next = time.Now().Add(s.opts.Heartbeat)
			err = s.confirm(true)
		}
		if err != nil {
			return err
		}
	}
}

func (s *stream) take(ctx context.Context, message pgproto3.BackendMessage) error {
	if failure, ok := message.(*pgproto3.ErrorResponse); ok {
		return pgconn.ErrorResponseToPgError(failure)
	}
	data, ok := message.(*pgproto3.CopyData)
	if !ok || len(data.Data) == 0 {
		return fmt.Errorf("replication: the database has ended the stream, with %T", message)
	}
	switch body := data.Data[1:]; data.Data[0] {
	case pglogrepl.PrimaryKeepaliveMessageByteID:
		keepalive, err := pglogrepl.ParsePrimaryKeepaliveMessage(body)
		if err != nil {
			return err
		}
		if !s.within { // up to there, the log has nothing else for this slot
			s.confirmed = max(s.confirmed, keepalive.ServerWALEnd)
		}
		if keepalive.ReplyRequested {
			return s.confirm(false)
		}
	case pglogrepl.XLogDataByteID:
		part, err := pglogrepl.ParseXLogData(body)
		if err != nil {
			return err
		}
		change, err := pglogrepl.Parse(part.WALData)
		if err != nil {
			return err
		}
		return s.apply(ctx, change)
	}
	return nil
}

func (s *stream) apply(ctx context.Context, change pglogrepl.Message) error {
	switch m := change.(type) {
	case *pglogrepl.BeginMessage:
		s.within, s.xid = true, m.Xid
	case *pglogrepl.RelationMessage: // before the first change of a table, and when the table was altered
		s.tables[m.RelationID] = s.targetsOf(m)
	case *pglogrepl.InsertMessage: // a cache may remember that there was none
		return s.changed(ctx, m.RelationID, m.Tuple)
	case *pglogrepl.UpdateMessage: // without the old row where the replica identity is unchanged
		return s.changed(ctx, m.RelationID, m.OldTuple, m.NewTuple)
	case *pglogrepl.DeleteMessage:
		return s.changed(ctx, m.RelationID, m.OldTuple)
	case *pglogrepl.TruncateMessage:
		for _, table := range m.RelationIDs {
			s.skip(table)
			for _, t := range s.tables[table] {
				s.stale[t.rule].all = true
			}
		}
	case *pglogrepl.CommitMessage:
		if err := s.tell(ctx); err != nil {
			return err
		}
		s.within, s.confirmed = false, m.TransactionEndLSN
		s.transactions.Add(1)
		return s.confirm(false)
	}
	return nil
}

// targetsOf finds the columns of the rules for a table. The database marks those that are part
// of the replica identity.
func (s *stream) targetsOf(table *pglogrepl.RelationMessage) (targets []target) {
	for i, rule := range s.rules {
		if rule.Table != table.Namespace+"."+table.RelationName {
			continue
		}
		column := slices.IndexFunc(table.Columns, func(c *pglogrepl.RelationMessageColumn) bool {
			return c.Name == rule.Column && c.Flags&1 != 0
		})
		if column < 0 {
			s.logger.Error("replication: changes come without the key, and clear the whole cache: "+
				"the column is not there, or not part of the replica identity", "table", rule.Table, "column", rule.Column)
		}
		targets = append(targets, target{i, column})
	}
	return targets
}

func (s *stream) skip(table uint32) {
	if len(s.tables[table]) == 0 {
		s.skipped.Add(1)
	}
}

// changed notes the keys of a row, before and after a change.
func (s *stream) changed(ctx context.Context, table uint32, rows ...*pglogrepl.TupleData) error {
	s.skip(table)
	for _, t := range s.tables[table] {
		if t.column < 0 {
			s.keyless.Add(1)
			s.stale[t.rule].all = true
			continue
		}
		for _, row := range rows {
			if row == nil || row.Columns[t.column].DataType != pglogrepl.TupleDataTypeText {
				continue
			}
			keys := &s.stale[t.rule].keys
			if *keys == nil {
				*keys = make(map[string]bool)
			}
			if key := string(row.Columns[t.column].Data); !(*keys)[key] {
				(*keys)[key] = true
				s.size++
			}
		}
	}
	if s.size < maxBatch {
		return nil
	}
	return s.tell(ctx)
}

// tell tells the caches what is stale.
func (s *stream) tell(ctx context.Context) error {
	seen := false // in other sessions
	for i := range s.stale {
		stale, cache := &s.stale[i], s.rules[i].Cache
		if !stale.all && len(stale.keys) == 0 {
			continue
		}
		if !seen {
			if err := s.awaitVisible(ctx); err != nil {
				return err
			}
			seen = true
		}
		var err error
		if stale.all {
			err = s.clear(ctx, cache)
		} else {
			err = s.invalidate(ctx, cache, slices.Collect(maps.Keys(stale.keys)))
		}
		if err != nil {
			return err
		}
		stale.all = false
		clear(stale.keys)
	}
	s.size = 0
	return nil
}

// awaitVisible waits until loaders see what the transaction changed. A commit is in the log
// before it shows in other sessions: by a moment, or by as long as the commit waits for
// synchronous standbys. A value that is invalidated in between may be loaded as it was before.
func (s *stream) awaitVisible(ctx context.Context) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		querying, cancel := context.WithTimeout(ctx, callTimeout)
		var snapshot string
		err := s.query.QueryRow(querying, "SELECT pg_current_snapshot()::text").Scan(&snapshot)
		cancel()
		if err != nil || visible(snapshot, s.xid) {
			return err
		}
		sleep(ctx, pause)
	}
}

// visible reports whether a snapshot shows what a transaction did. The text of a snapshot is
// xmin:xmax:list. Transactions from xmax on and those of the list do not show. The numbers of a
// snapshot have 64 bits, those of the log the lower 32.
func visible(snapshot string, xid uint32) bool {
	parts := strings.Split(snapshot, ":")
	if len(parts) != 3 || int32(xid-low(parts[1])) >= 0 {
		return false
	}
	for running := range strings.SplitSeq(parts[2], ",") {
		if running != "" && low(running) == xid {
			return false
		}
	}
	return true
}

func low(number string) uint32 {
	n, _ := strconv.ParseUint(number, 10, 64) // what PostgreSQL prints is one
	return uint32(n)
}

// confirm tells the database what needs not be sent again.
func (s *stream) confirm(ask bool) error {
	// The context is not used by this function of pglogrepl.
	return pglogrepl.SendStandbyStatusUpdate(context.Background(), s.wal,
		pglogrepl.StandbyStatusUpdate{WALWritePosition: s.confirmed, ReplyRequested: ask})
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
