// Package outbox_test runs package nearsql on real databases.
package outbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // the drivers
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache/nearsql"
)

const (
	patience = time.Minute
	poll     = 5 * time.Millisecond
)

// database is one that a test has for itself.
type database struct {
	*sql.DB
	dialect     nearsql.Dialect
	driver, dsn string
}

// The servers that tests share, each with a database of its own. Each server starts when the
// first test asks for it.
var (
	sharedPostgreSQL = share(servers.StartPostgreSQL)
	sharedMariaDB    = share(servers.StartMariaDB)
)

var stops struct {
	mu  sync.Mutex
	all []func()
}

func TestMain(m *testing.M) {
	if childIfAsked() {
		return
	}
	code := m.Run()
	for _, stop := range stops.all {
		stop()
	}
	os.Exit(code)
}

func share(start func(context.Context, ...string) (*servers.Process, error)) func(testing.TB) *servers.Process {
	once := sync.OnceValues(func() (*servers.Process, error) {
		server, err := start(context.Background())
		if err == nil {
			stops.mu.Lock()
			defer stops.mu.Unlock()
			stops.all = append(stops.all, server.Stop)
		}
		return server, err
	})
	return func(t testing.TB) *servers.Process {
		t.Helper()
		server, err := once()
		require.NoError(t, err)
		return server
	}
}

var lastDatabase atomic.Int64

// onEach runs a test on a database of each kind, with the tables of an outbox.
func onEach(t *testing.T, test func(t *testing.T, db database)) {
	t.Parallel()
	for dialect, open := range map[nearsql.Dialect]func(*testing.T) database{
		nearsql.PostgreSQL: func(t *testing.T) database { return newPostgreSQL(t, sharedPostgreSQL(t)) },
		nearsql.MySQL:      func(t *testing.T) database { return newMariaDB(t, sharedMariaDB(t)) },
		nearsql.SQLite:     func(t *testing.T) database { return newSQLite(t) },
	} {
		t.Run(dialect.String(), func(t *testing.T) {
			t.Parallel()
			db := open(t)
			db.makeTables(t)
			test(t, db)
		})
	}
}

func (db database) makeTables(t testing.TB) {
	t.Helper()
	for _, statement := range nearsql.Schema(db.dialect) {
		db.exec(t, statement)
	}
}

func newPostgreSQL(t testing.TB, server *servers.Process) database {
	return newOn(t, nearsql.PostgreSQL, "pgx", func(name string) string {
		return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", server.Addr, name)
	}, "postgres")
}

func newMariaDB(t testing.TB, server *servers.Process) database {
	return newOn(t, nearsql.MySQL, "mysql", func(name string) string {
		return fmt.Sprintf("root@tcp(%s)/%s", server.Addr, name)
	}, "")
}

// newOn makes a database on a server that has one to connect to at first.
func newOn(t testing.TB, dialect nearsql.Dialect, driver string, dsn func(name string) string, first string) database {
	t.Helper()
	name := fmt.Sprintf("test_%d", lastDatabase.Add(1))
	admin := database{DB: open(t, driver, dsn(first))}
	admin.exec(t, "CREATE DATABASE "+name)
	return database{DB: open(t, driver, dsn(name)), dialect: dialect, driver: driver, dsn: dsn(name)}
}

func newSQLite(t testing.TB) database {
	dsn := "file:" + filepath.Join(t.TempDir(), "test.db") + "?_pragma=busy_timeout(30000)&_pragma=journal_mode(WAL)"
	return database{DB: open(t, "sqlite", dsn), dialect: nearsql.SQLite, driver: "sqlite", dsn: dsn}
}

func open(t testing.TB, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func (db database) exec(t testing.TB, query string, args ...any) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), query, args...)
	require.NoError(t, err, query)
}

// insert commits invalidations of keys.
func (db database) insert(t *testing.T, cache string, keys ...string) {
	t.Helper()
	query, args := nearsql.Insert(db.dialect, cache, keys...)
	db.exec(t, query, args...)
}

// count returns how many rows a table has.
func (db database) count(t *testing.T, table string) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&n))
	return n
}

// emptied waits until everything was delivered.
func (db database) emptied(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return db.count(t, "nearbus_outbox") == 0 }, patience, poll)
}

// pastMinute makes all rows older than those of unknown caches may be.
func (db database) pastMinute(t *testing.T) {
	t.Helper()
	db.exec(t, "UPDATE nearbus_outbox SET created = created - 61000")
}
