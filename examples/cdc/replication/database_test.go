package replication_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/examples/cdc/replication"
	"github.com/nearbus/nearbus/integration/servers"
)

const (
	patience = time.Minute
	poll     = 5 * time.Millisecond
)

var settings = []string{"-c", "wal_level=logical", "-c", "max_replication_slots=60", "-c", "max_wal_senders=60"}

// sharedServer is a PostgreSQL that tests share, each with a database of its own.
var sharedServer = sync.OnceValues(func() (*servers.Process, error) {
	return servers.StartPostgreSQL(context.Background(), settings...)
})

func TestMain(m *testing.M) {
	if childIfAsked() {
		return
	}
	code := m.Run()
	if server, err := sharedServer(); err == nil {
		server.Stop()
	}
	os.Exit(code)
}

var lastDatabase atomic.Int64

// database is one that a test has for itself, with a publication of all tables. Its name is
// that of the slot as well.
type database struct {
	*pgx.Conn
	name, addr string
}

func newDatabase(t *testing.T) database {
	t.Helper()
	server, err := sharedServer()
	require.NoError(t, err)
	return newDatabaseOn(t, server.Addr)
}

func newDatabaseOn(t *testing.T, addr string) database {
	t.Helper()
	name := fmt.Sprintf("test_%d", lastDatabase.Add(1))
	admin := connect(t, addr, "postgres")
	_, err := admin.Exec(t.Context(), "CREATE DATABASE "+name)
	require.NoError(t, err)
	db := database{connect(t, addr, name), name, addr}
	t.Cleanup(func() { // slots keep the log of the server
		ctx := context.Background()
		admin, err := pgx.Connect(ctx, url(addr, "postgres"))
		if err == nil {
			_, _ = admin.Exec(ctx, "SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots WHERE slot_name = $1", name)
			_, _ = admin.Exec(ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1", name)
			_ = admin.Close(ctx)
		}
	})
	db.exec(t, "CREATE TABLE users (id BIGINT PRIMARY KEY, name TEXT)")
	db.exec(t, "CREATE PUBLICATION cdc FOR ALL TABLES")
	return db
}

func url(addr, name string) string {
	return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", addr, name)
}

func connect(t *testing.T, addr, name string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url(addr, name))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (db database) config(t testing.TB) *pgx.ConnConfig {
	t.Helper()
	config, err := pgx.ParseConfig(url(db.addr, db.name))
	require.NoError(t, err)
	return config
}

// exec runs statements, which are a transaction.
func (db database) exec(t *testing.T, statements string) {
	t.Helper()
	_, err := db.Exec(t.Context(), statements)
	require.NoError(t, err, statements)
}

// ask returns what a query says, as text.
func (db database) ask(t *testing.T, query string) (answer string) {
	t.Helper()
	require.NoError(t, db.QueryRow(t.Context(), "SELECT ("+query+")::text").Scan(&answer), query)
	return answer
}

// usersRule is the rule of most tests.
func usersRule(cache replication.Cache) []replication.Rule {
	return []replication.Rule{{Table: "public.users", Column: "id", Cache: cache}}
}

func (db database) newReader(t testing.TB, rules []replication.Rule, opts replication.Options) *replication.Reader {
	t.Helper()
	r, err := replication.New(db.config(t), db.name, "cdc", rules, opts)
	require.NoError(t, err)
	return r
}

// start opens a reader and runs it until the test ends, or stop is called.
func (db database) start(t *testing.T, rules []replication.Rule, opts replication.Options) (r *replication.Reader, stop func()) {
	t.Helper()
	r = db.newReader(t, rules, opts)
	require.NoError(t, r.Open(t.Context()))
	return r, run(t, r)
}

func run(t *testing.T, r *replication.Reader) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		assert.ErrorIs(t, <-ended, context.Canceled)
	})
	t.Cleanup(stop)
	return stop
}

// streams waits until a reader has the slot.
func streams(t *testing.T, r *replication.Reader) {
	t.Helper()
	require.Eventually(t, func() bool { return r.Stats().Streaming }, patience, poll)
}

// delivered waits until everything that was committed is confirmed.
func (db database) delivered(t *testing.T) {
	t.Helper()
	now := db.ask(t, "pg_current_wal_insert_lsn()")
	db.exec(t, "SELECT pg_logical_emit_message(true, 'test', '')") // a position after it
	require.Eventually(t, func() bool { return db.confirmed(t, now) }, patience, poll)
}

// confirmed reports whether the slot is past a position.
func (db database) confirmed(t *testing.T, lsn string) bool {
	t.Helper()
	return db.ask(t, "SELECT COALESCE((SELECT confirmed_flush_lsn >= '"+lsn+"' FROM pg_replication_slots WHERE slot_name = '"+db.name+"'), false)") == "true"
}

// freeSlot waits until nobody has the slot, which the database notices a little later.
func (db database) freeSlot(t *testing.T) {
	t.Helper()
	db.exec(t, "SELECT pg_terminate_backend(active_pid, 60000) FROM pg_replication_slots WHERE slot_name = '"+db.name+"' AND active")
}

// dropSlot ends who has the slot, and drops it.
func (db database) dropSlot(t *testing.T) {
	t.Helper()
	db.freeSlot(t)
	db.exec(t, "SELECT pg_drop_replication_slot('"+db.name+"')")
}
