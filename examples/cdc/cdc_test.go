package main

import (
	"context"
	"database/sql"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache/nearsql"
)

const (
	patience = time.Minute
	poll     = 5 * time.Millisecond
)

// TestMain is the program itself when the program under test starts the test binary.
func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestCampaign: no way leaves an answer old, though the reader of each is killed midway, and
// every kind of change arrives.
func TestCampaign(t *testing.T) {
	var out syncBuffer
	require.NoError(t, campaign{edits: 6, bound: patience}.run(t.Context(), &out), "%s", &out)
	for _, line := range []string{
		"polling, every 100 ms", "outbox, every 10 ms", "outbox, every 100 ms, doorbell", "logical replication",
		"killed after the invalidation of edit 3", "1 is none, 5001 is Ada", "5002 is none", "2 is none, 5001 is none",
		"stale after 1m0s: 0 answers",
	} {
		assert.Contains(t, out.String(), line)
	}
	assert.Regexp(t, `logical replication +killed after the invalidation of edit 3; the next reader told of the 3 left, and of 1 again`, out.String())
}

// TestFleet_NoticesStaleAnswers: where nobody tells of changes, answers are old.
func TestFleet_NoticesStaleAnswers(t *testing.T) {
	f, err := startFleet(t.Context())
	require.NoError(t, err)
	t.Cleanup(f.close)
	stale, err := f.stale(t.Context())
	require.NoError(t, err)
	assert.Zero(t, stale)
	e, err := f.edit(t.Context(), 1, time.Millisecond)
	require.NoError(t, err)
	assert.True(t, e.late)
	stale, err = f.stale(t.Context())
	require.NoError(t, err)
	assert.Equal(t, fleetSize, stale)
}

// TestTriggers: every kind of change is told by the outbox, in the transaction that makes it.
func TestTriggers(t *testing.T) {
	db := newDatabase(t, outboxSQL)
	for _, test := range []struct {
		statements string
		told       []string
	}{
		{"UPDATE users SET name = 'a' WHERE id IN (1, 2)", []string{"key 1", "key 2"}},
		{"UPDATE users SET id = 5001 WHERE id = 1", []string{"key 1", "key 5001"}},
		{"INSERT INTO users (id, name) VALUES (5002, 'b')", []string{"key 5002"}},
		{"DELETE FROM users WHERE id = 5002", []string{"key 5002"}},
		{"BEGIN; UPDATE users SET name = 'undone'; ROLLBACK", nil},
		{"TRUNCATE users", []string{"clear "}},
	} {
		_, err := db.Exec(t.Context(), test.statements)
		require.NoError(t, err)
		rows, err := db.Query(t.Context(), "DELETE FROM nearbus_outbox RETURNING op || ' ' || name")
		require.NoError(t, err)
		told, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		assert.ElementsMatch(t, test.told, told, test.statements)
	}
}

// TestDoorbell: the relay, whose next look is an hour away, hears of a commit, and of those
// while nobody listened.
func TestDoorbell(t *testing.T) {
	db := newDatabase(t, outboxSQL, doorbellSQL)
	plain := sql.OpenDB(stdlib.GetConnector(*db.Config()))
	t.Cleanup(func() { _ = plain.Close() })
	users := make(recorder, 100)
	r, err := nearsql.NewRelay(plain, nearsql.PostgreSQL, map[string]nearsql.Cache{"users": users}, nearsql.RelayOptions{PollInterval: time.Hour})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	wg.Go(func() { _ = r.Run(ctx) })
	wg.Go(func() { answerDoorbell(ctx, db.Config(), r.Ring) })
	edit := func() {
		t.Helper()
		_, err := db.Exec(t.Context(), "UPDATE users SET name = 'a' WHERE id = 1")
		require.NoError(t, err)
	}
	hears := func() {
		t.Helper()
		select {
		case <-users:
		case <-time.After(patience):
			t.Fatal("nothing heard")
		}
	}
	edit()
	hears()
	// Who listens is cut off, and the next change comes before somebody listens again.
	_, err = db.Exec(t.Context(), "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE query = 'LISTEN nearbus_outbox'")
	require.NoError(t, err)
	edit()
	hears()
	edit()
	hears()
}

// TestReader_UnknownWay: the error names the flag.
func TestReader_UnknownWay(t *testing.T) {
	redis := servers.Redis(t)
	err := reader{way: "rumour", databaseURL: "postgres://localhost", redisAddr: redis.Addr}.run(t.Context(), t.Output())
	assert.ErrorContains(t, err, `-reader: "rumour" is none of`)
}

// newDatabase returns one with the tables of the service and of an outbox.
func newDatabase(t *testing.T, statements ...string) *pgx.Conn {
	t.Helper()
	server := servers.PostgreSQL(t)
	db, err := pgx.Connect(t.Context(), "postgres://postgres@"+server.Addr+"/postgres?sslmode=disable")
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	for _, statement := range append(append(nearsql.Schema(nearsql.PostgreSQL), schemaSQL), statements...) {
		_, err := db.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	return db
}

// recorder is a cache that sends on what it is told.
type recorder chan string

func (r recorder) Invalidate(_ context.Context, keys ...string) error {
	for _, key := range keys {
		r <- key
	}
	return nil
}

func (r recorder) InvalidateTags(context.Context, ...string) error { return nil }

func (r recorder) Clear(context.Context) error { return nil }

// syncBuffer is what the program prints.
type syncBuffer struct {
	mu   sync.Mutex
	text []byte
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	return len(p), nil
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}
