package replication_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/examples/cdc/replication"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
)

// Every kind of change tells the keys from before and after.
func TestReader_Changes(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	users := &recorder{}
	r, _ := db.start(t, usersRule(users), replication.Options{})
	for _, test := range []struct {
		statements string
		keys       []string
		clears     int
	}{
		{"INSERT INTO users VALUES (1, 'a'), (2, 'b'), (3, 'c')", []string{"1", "2", "3"}, 0},
		{"UPDATE users SET name = 'd' WHERE id < 3", []string{"1", "2"}, 0},
		{"UPDATE users SET id = 42 WHERE id = 1", []string{"1", "42"}, 0},
		{"DELETE FROM users WHERE id = 42", []string{"42"}, 0},
		{"UPDATE users SET name = 'e' WHERE id = 2; UPDATE users SET id = 7 WHERE id = 2; DELETE FROM users WHERE id = 7", []string{"2", "7"}, 0},
		{"INSERT INTO users VALUES (4, 'f') ON CONFLICT DO NOTHING; INSERT INTO users VALUES (4, 'g') ON CONFLICT (id) DO UPDATE SET name = 'g'", []string{"4"}, 0},
		{"DO $$ BEGIN INSERT INTO users VALUES (5, 'h'); BEGIN INSERT INTO users VALUES (6, 'i'); RAISE 'undone'; EXCEPTION WHEN OTHERS THEN END; END $$", []string{"5"}, 0},
		{"BEGIN; UPDATE users SET name = 'undone'; ROLLBACK", nil, 0},
		{"UPDATE users SET name = 'j' WHERE id = -1", nil, 0},
		{"TRUNCATE users", nil, 1},
	} {
		_, before := users.heard()
		db.exec(t, test.statements)
		db.delivered(t)
		keys, after := users.heard()
		assert.Equal(t, test.keys, keys, test.statements)
		assert.Equal(t, test.clears, after-before, test.statements)
	}
	assert.Zero(t, r.Stats().Failures)
	assert.Zero(t, r.Stats().Skipped)
}

// Whatever the replica identity is, as long as the column is part of it, also where a column is
// the key of one cache and another that of another.
func TestReader_ReplicaIdentities(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.exec(t, `CREATE TABLE members (org TEXT, login TEXT, name TEXT, PRIMARY KEY (org, login));
		CREATE TABLE emails (id BIGINT, email TEXT NOT NULL UNIQUE);
		ALTER TABLE emails REPLICA IDENTITY USING INDEX emails_email_key;
		CREATE TABLE facts (subject TEXT, fact TEXT);
		ALTER TABLE facts REPLICA IDENTITY FULL`)
	orgs, logins, emails, facts := &recorder{}, &recorder{}, &recorder{}, &recorder{}
	db.start(t, []replication.Rule{
		{Table: "public.members", Column: "org", Cache: orgs},
		{Table: "public.members", Column: "login", Cache: logins},
		{Table: "public.emails", Column: "email", Cache: emails},
		{Table: "public.facts", Column: "subject", Cache: facts},
	}, replication.Options{})
	db.exec(t, `INSERT INTO members VALUES ('o', 'ada', ''); INSERT INTO emails VALUES (1, 'ada@example.org');
		INSERT INTO facts VALUES ('ada', ''), (NULL, 'of nobody')`)
	db.delivered(t)
	heard := func() (keys [4][]string) {
		for i, cache := range []*recorder{orgs, logins, emails, facts} {
			keys[i], _ = cache.heard()
		}
		return keys
	}
	assert.Equal(t, [4][]string{{"o"}, {"ada"}, {"ada@example.org"}, {"ada"}}, heard())
	db.exec(t, `UPDATE members SET org = 'p'; UPDATE emails SET email = 'lovelace@example.org'; UPDATE facts SET subject = 'eve'`)
	db.delivered(t)
	assert.Equal(t, [4][]string{{"o", "p"}, {"ada"}, {"ada@example.org", "lovelace@example.org"}, {"ada", "eve"}}, heard())
	db.exec(t, `DELETE FROM members; DELETE FROM emails; DELETE FROM facts`)
	db.delivered(t)
	assert.Equal(t, [4][]string{{"p"}, {"ada"}, {"lovelace@example.org"}, {"eve"}}, heard())
}

// What would not be told is an error of Open that says what to change.
func TestOpen_Setup(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ statements, says string }{
		"no publication":        {"DROP PUBLICATION cdc", "there is no publication cdc: run CREATE PUBLICATION"},
		"no deletes":            {"ALTER PUBLICATION cdc SET (publish = 'insert, update')", "leaves out some of update, delete and truncate"},
		"no table":              {"DROP TABLE users", "the table public.users does not exist"},
		"no column":             {"ALTER TABLE users RENAME id TO number", "the table public.users has no column id"},
		"not published":         {"DROP PUBLICATION cdc; CREATE PUBLICATION cdc", "run ALTER PUBLICATION cdc ADD TABLE public.users"},
		"rows left out":         {"DROP PUBLICATION cdc; CREATE PUBLICATION cdc FOR TABLE users WHERE (id > 10)", "is published with a WHERE"},
		"partitions":            {"DROP TABLE users; CREATE TABLE users (id BIGINT PRIMARY KEY) PARTITION BY HASH (id)", "is no plain table"},
		"no primary key":        {"ALTER TABLE users DROP CONSTRAINT users_pkey", "ALTER TABLE public.users REPLICA IDENTITY FULL"},
		"identity of nothing":   {"ALTER TABLE users REPLICA IDENTITY NOTHING", "its replica identity needs the column"},
		"another key":           {"ALTER TABLE users DROP CONSTRAINT users_pkey; ALTER TABLE users ADD PRIMARY KEY (name)", "does not tell the old id"},
		"a key checked later":   {"ALTER TABLE users DROP CONSTRAINT users_pkey; ALTER TABLE users ADD PRIMARY KEY (id) DEFERRABLE", "does not tell the old id"},
		"a slot of another one": {"SELECT pg_create_logical_replication_slot(current_database(), 'test_decoding')", "of another plugin than pgoutput"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t)
			r := db.newReader(t, usersRule(&recorder{}), replication.Options{})
			db.exec(t, test.statements)
			err := r.Open(t.Context())
			require.ErrorIs(t, err, replication.ErrSetup)
			assert.ErrorContains(t, err, test.says)
			assert.Zero(t, r.Stats().Slots)
		})
	}
}

func TestOpen_WALLevel(t *testing.T) {
	t.Parallel()
	db := newDatabaseOn(t, servers.PostgreSQL(t).Addr)
	err := db.newReader(t, usersRule(&recorder{}), replication.Options{}).Open(t.Context())
	require.ErrorIs(t, err, replication.ErrSetup)
	assert.ErrorContains(t, err, "wal_level is replica: set it to logical")
}

func TestNew_Refuses(t *testing.T) {
	t.Parallel()
	rules := usersRule(&recorder{})
	for name, try := range map[string]func() (*replication.Reader, error){
		"slot": func() (*replication.Reader, error) {
			return replication.New(&pgx.ConnConfig{}, "A", "b", rules, replication.Options{})
		},
		"publication": func() (*replication.Reader, error) {
			return replication.New(&pgx.ConnConfig{}, "a", "b'", rules, replication.Options{})
		},
		"schema": func() (*replication.Reader, error) {
			return replication.New(&pgx.ConnConfig{}, "a", "b", []replication.Rule{{Table: "users", Column: "id", Cache: &recorder{}}}, replication.Options{})
		},
		"rule": func() (*replication.Reader, error) {
			return replication.New(&pgx.ConnConfig{}, "a", "b", nil, replication.Options{})
		},
		"configuration": func() (*replication.Reader, error) {
			return replication.New(nil, "a", "b", rules, replication.Options{})
		},
		"Heartbeat": func() (*replication.Reader, error) {
			return replication.New(&pgx.ConnConfig{}, "a", "b", rules, replication.Options{Heartbeat: -1})
		},
	} {
		_, err := try()
		require.ErrorIs(t, err, replication.ErrSetup, name)
		assert.ErrorContains(t, err, name)
	}
}

// Changes of tables that no rule names are skipped and counted, and confirmed.
func TestReader_UnknownTable(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	users := &recorder{}
	r, _ := db.start(t, usersRule(users), replication.Options{})
	db.exec(t, "CREATE TABLE others (id BIGINT PRIMARY KEY); INSERT INTO others VALUES (1), (2); UPDATE others SET id = 3 WHERE id = 1; DELETE FROM others WHERE id = 2; TRUNCATE others")
	db.delivered(t)
	keys, clears := users.heard()
	assert.Empty(t, keys)
	assert.Equal(t, 1, clears, "of the slot")
	assert.EqualValues(t, 5, r.Stats().Skipped)
}

// A position is confirmed after the invalidation returned nil: until then, the change comes
// again.
func TestReader_ConfirmsWhatWasInvalidated(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	users := &recorder{}
	r, stop := db.start(t, usersRule(users), replication.Options{})
	users.fail(errors.New("the shared tier is away"))
	before := db.ask(t, "pg_current_wal_insert_lsn()")
	db.exec(t, "INSERT INTO users VALUES (1, 'a')")
	require.Eventually(t, func() bool { return r.Stats().Failures > 2 }, patience, poll)
	after := db.ask(t, "pg_current_wal_insert_lsn()")
	require.NotEqual(t, before, after)
	assert.False(t, db.confirmed(t, after))
	stop()
	assert.False(t, db.confirmed(t, after))
	users.fail(nil)
	db.start(t, usersRule(users), replication.Options{}) // as another process
	users.hears(t, "1")
	db.delivered(t)
	assert.True(t, db.confirmed(t, after))
	assert.Equal(t, 1, users.clears, "of the slot")
}

// The log of other work is confirmed as well. Otherwise the database keeps all of it.
func TestReader_ConfirmsWhatIsOfNoInterest(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.start(t, usersRule(&recorder{}), replication.Options{Heartbeat: 20 * time.Millisecond})
	other := connect(t, db.addr, "postgres")
	_, err := other.Exec(t.Context(), "CREATE TEMPORARY TABLE busy AS SELECT generate_series(1, 1000); CREATE TABLE IF NOT EXISTS elsewhere (id BIGINT); INSERT INTO elsewhere SELECT generate_series(1, 1000)")
	require.NoError(t, err)
	now := db.ask(t, "pg_current_wal_insert_lsn()")
	require.Eventually(t, func() bool { return db.confirmed(t, now) }, patience, poll)
}

// A key that the cache refuses holds up nothing.
func TestReader_InvalidKey(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	db.exec(t, "CREATE TABLE texts (id TEXT PRIMARY KEY)")
	texts := &recorder{}
	r, _ := db.start(t, []replication.Rule{{Table: "public.texts", Column: "id", Cache: texts}}, replication.Options{})
	db.exec(t, "INSERT INTO texts VALUES (''), ('a')")
	db.delivered(t)
	assert.EqualValues(t, 1, r.Stats().Invalid)
	assert.EqualValues(t, 1, r.Stats().Keys)
	keys, _ := texts.heard()
	assert.Equal(t, []string{"a"}, keys)
}

// A transaction of any size is told in parts.
func TestReader_LargeTransaction(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	users := &recorder{}
	r, _ := db.start(t, usersRule(users), replication.Options{})
	db.exec(t, "INSERT INTO users SELECT generate_series(1, 25500), 'a'")
	db.delivered(t)
	keys, _ := users.heard()
	assert.Len(t, keys, 25500)
	assert.LessOrEqual(t, users.batch, 1001)
	assert.EqualValues(t, 25500, r.Stats().Keys)
}

// The caches are clear before there is a slot, and a reader that finds a slot clears nothing.
func TestOpen_ClearsBeforeTheSlotIsThere(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	users := &recorder{}
	users.fail(errors.New("the shared tier is away"))
	r := db.newReader(t, usersRule(users), replication.Options{})
	require.ErrorContains(t, r.Open(t.Context()), "the shared tier is away")
	assert.Equal(t, "0", db.ask(t, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = '"+db.name+"'"))
	users.fail(nil)
	for range 2 {
		require.NoError(t, r.Open(t.Context()))
		_, clears := users.heard()
		assert.Equal(t, 1, clears)
	}
	assert.Equal(t, "1", db.ask(t, "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE '"+db.name+"%'"))
	db.exec(t, "INSERT INTO users VALUES (1, 'a')") // after Open, before Run
	run(t, r)
	users.hears(t, "1")
}

// What is changed while a slot is made is not lost.
func TestOpen_ChangesMeanwhile(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	users := &recorder{}
	changed := make(chan struct{})
	users.before = sync.OnceValue(func() error { // when the cache is about to be cleared
		db.exec(t, "INSERT INTO users VALUES (1, 'a')")
		close(changed)
		return nil
	})
	db.start(t, usersRule(users), replication.Options{})
	<-changed
	users.hears(t, "1")
}

// A slot that was dropped is made again, after the caches were cleared.
func TestReader_SlotDropped(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	users := &recorder{}
	r, stop := db.start(t, usersRule(users), replication.Options{})
	streams(t, r)
	stop()
	db.dropSlot(t)
	db.exec(t, "INSERT INTO users VALUES (1, 'unheard')")
	run(t, r)
	users.clearedAgain(t)
	streams(t, r)
	db.exec(t, "INSERT INTO users VALUES (2, 'b')")
	users.hears(t, "2")
	assert.EqualValues(t, 2, r.Stats().Slots)
}

// A slot that has lost part of the log, because the reader was away for too long, is replaced.
func TestReader_SlotLost(t *testing.T) {
	t.Parallel()
	server := servers.PostgreSQL(t, append([]string{"-c", "max_slot_wal_keep_size=1MB", "-c", "min_wal_size=32MB", "-c", "max_wal_size=32MB"}, settings...)...)
	db := newDatabaseOn(t, server.Addr)
	users := &recorder{}
	r, stop := db.start(t, usersRule(users), replication.Options{})
	streams(t, r)
	stop()
	db.exec(t, "INSERT INTO users VALUES (1, 'unheard')")
	for db.ask(t, "SELECT wal_status FROM pg_replication_slots WHERE slot_name = '"+db.name+"'") != "lost" {
		db.exec(t, "INSERT INTO users VALUES (-1, ''); DELETE FROM users WHERE id = -1")
		db.exec(t, "SELECT pg_switch_wal()")
		db.exec(t, "CHECKPOINT")
	}
	run(t, r)
	users.clearedAgain(t)
	db.exec(t, "INSERT INTO users VALUES (2, 'b')")
	users.hears(t, "2")
	keys, _ := users.heard()
	assert.NotContains(t, keys, "1")
}

// A slot cannot be read on once the publication was made again, and is replaced.
func TestReader_PublicationMadeAgain(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	users := &recorder{}
	r, _ := db.start(t, usersRule(users), replication.Options{})
	db.exec(t, "DROP PUBLICATION cdc")
	db.exec(t, "INSERT INTO users VALUES (1, 'unheard')")
	require.Eventually(t, func() bool { return r.Stats().Failures > 0 }, patience, poll)
	db.exec(t, "CREATE PUBLICATION cdc FOR TABLE users")
	users.clearedAgain(t)
	require.Eventually(t, func() bool {
		db.exec(t, "INSERT INTO users VALUES (2, 'b') ON CONFLICT (id) DO UPDATE SET name = 'b'")
		keys, _ := users.heard()
		return len(keys) == 1 && keys[0] == "2"
	}, patience, poll)
}

// A column that was added changes nothing. Without the column of the key, or the column in the
// replica identity, each change clears the cache; the log says so, and Open refuses.
func TestReader_SchemaChanges(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	users, log := &recorder{}, &syncBuffer{}
	r, _ := db.start(t, usersRule(users), replication.Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
	db.exec(t, "INSERT INTO users VALUES (1, 'a')")
	db.exec(t, "ALTER TABLE users DROP COLUMN name")
	db.exec(t, "ALTER TABLE users ADD COLUMN email TEXT DEFAULT 'none'")
	db.exec(t, "UPDATE users SET email = 'new' WHERE id = 1; INSERT INTO users VALUES (2)")
	db.delivered(t)
	keys, clears := users.heard()
	assert.Equal(t, []string{"1", "2"}, keys)
	assert.Equal(t, 1, clears, "of the slot")
	assert.NotContains(t, log.String(), "level=ERROR")

	db.exec(t, "ALTER TABLE users RENAME id TO number")
	db.exec(t, "UPDATE users SET email = 'newer' WHERE number = 1")
	db.delivered(t)
	keys, clears = users.heard()
	assert.Empty(t, keys)
	assert.Equal(t, 2, clears)
	assert.EqualValues(t, 1, r.Stats().Keyless)
	assert.Contains(t, log.String(), `the column is not there, or not part of the replica identity" table=public.users column=id`)
	assert.ErrorContains(t, db.newReader(t, usersRule(users), replication.Options{}).Open(t.Context()), "has no column id")

	db.exec(t, "ALTER TABLE users RENAME number TO id")
	db.exec(t, "UPDATE users SET id = 3 WHERE id = 1")
	db.delivered(t)
	keys, clears = users.heard()
	assert.Equal(t, []string{"1", "3"}, keys)
	assert.Equal(t, 2, clears)
	db.exec(t, "ALTER TABLE users ADD UNIQUE (email), ALTER email SET NOT NULL")
	db.exec(t, "ALTER TABLE users REPLICA IDENTITY USING INDEX users_email_key")
	db.exec(t, "DELETE FROM users WHERE id = 3")
	db.delivered(t)
	_, clears = users.heard()
	assert.Equal(t, 3, clears)
	assert.Zero(t, r.Stats().Failures)
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// A database that dies, or goes silent, holds changes up and loses none.
func TestReader_DatabaseIsAway(t *testing.T) {
	t.Parallel()
	server := servers.PostgreSQL(t, settings...)
	relay := servers.RelayTo(t, server.Addr)
	db, way := newDatabaseOn(t, server.Addr), database{addr: relay.Addr}
	way.name = db.name
	users := &recorder{}
	log := &syncBuffer{}
	r, _ := way.start(t, usersRule(users), replication.Options{Heartbeat: 50 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(log, nil))})
	streams(t, r)

	server.Kill()
	require.Eventually(t, func() bool { return r.Stats().Failures > 1 }, patience, poll)
	assert.False(t, r.Stats().Streaming)
	require.NoError(t, server.Restart(t.Context()))
	db.Conn = connect(t, server.Addr, db.name)
	db.exec(t, "INSERT INTO users VALUES (1, 'a')")
	users.hears(t, "1")

	failures := r.Stats().Failures
	relay.Blackhole() // connections stay up, and nothing comes
	db.exec(t, "INSERT INTO users VALUES (2, 'b')")
	require.Eventually(t, func() bool { return r.Stats().Failures > failures }, patience, poll)
	require.NoError(t, relay.Resume())
	users.hears(t, "2")
	_, clears := users.heard()
	assert.Equal(t, 1, clears, "of the slot: it has kept everything")
	assert.Contains(t, log.String(), "the reader has the slot, and reads")
	assert.Contains(t, log.String(), "nothing heard of the database")
}

// One reader has the slot. When it dies, another one takes it.
func TestReader_StandsBy(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	caches := []*recorder{{}, {}}
	first, stop := db.start(t, usersRule(caches[0]), replication.Options{})
	streams(t, first)
	second, _ := db.start(t, usersRule(caches[1]), replication.Options{})
	db.exec(t, "INSERT INTO users VALUES (1, 'a')")
	db.delivered(t)
	stop()
	streams(t, second)
	db.exec(t, "INSERT INTO users VALUES (2, 'b')")
	db.delivered(t)
	for i, want := range [][]string{{"1"}, {"2"}} {
		keys, _ := caches[i].heard()
		assert.Equal(t, want, keys)
	}
	assert.Zero(t, second.Stats().Failures, "to stand by is no failure")
	assert.Zero(t, second.Stats().Clears)
}

// A commit that waits for a synchronous standby is in the log, and does not show in other
// sessions. Until it does, a loader would bring the old value back.
func TestReader_TellsWhatLoadersSee(t *testing.T) {
	t.Parallel()
	server := servers.PostgreSQL(t, settings...)
	db := newDatabaseOn(t, server.Addr)
	db.exec(t, "INSERT INTO users VALUES (1, 'old'), (2, 'old')")
	loads := connect(t, db.addr, db.name)
	seen := make(chan string, 10)
	users := &recorder{}
	r, _ := db.start(t, usersRule(users), replication.Options{})
	streams(t, r)
	users.mu.Lock()
	users.before = func() error { // as a loader that comes right after the invalidation
		var name string
		err := loads.QueryRow(t.Context(), "SELECT name FROM users WHERE id = 1").Scan(&name)
		seen <- name
		return err
	}
	users.mu.Unlock()
	admin := database{Conn: connect(t, db.addr, db.name)}
	admin.exec(t, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
	admin.exec(t, "SELECT pg_reload_conf()")
	require.Eventually(t, func() bool { return admin.ask(t, "current_setting('synchronous_standby_names')") == "nobody" }, patience, poll)
	for range 2 { // commits wait from when the checkpointer, which does one thing after the other, has read the setting
		admin.exec(t, "CHECKPOINT")
	}
	committed := make(chan error, 1)
	go func() {
		_, err := db.Exec(t.Context(), "UPDATE users SET name = 'new' WHERE id = 1")
		committed <- err
	}()
	// The reader has been sent the commit.
	require.Eventually(t, func() bool {
		return admin.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "1" &&
			admin.ask(t, "SELECT bool_and(sent_lsn >= pg_current_wal_lsn()) FROM pg_stat_replication") == "true"
	}, patience, poll)
	asked := func() string {
		return admin.ask(t, "SELECT COALESCE(max(query_start)::text, '') FROM pg_stat_activity WHERE query LIKE '%pg_current_snapshot%' AND pid <> pg_backend_pid()")
	}
	at := asked()
	require.Eventually(t, func() bool { return asked() > at }, patience, poll, "it asks again and again")
	assert.Empty(t, seen)
	assert.Equal(t, "old", admin.ask(t, "SELECT name FROM users WHERE id = 1"))

	admin.exec(t, "ALTER SYSTEM RESET synchronous_standby_names")
	admin.exec(t, "SELECT pg_reload_conf()")
	require.NoError(t, <-committed)
	assert.Equal(t, "new", <-seen)
}

// The role of a reader needs REPLICATION, without which Open fails, and nothing else.
func TestReader_LeastRights(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	role := "role_of_" + db.name
	db.exec(t, "CREATE ROLE "+role+" LOGIN")
	config := db.config(t)
	config.User = role
	users := &recorder{}
	r, err := replication.New(config, db.name, "cdc", usersRule(users), replication.Options{})
	require.NoError(t, err)
	require.ErrorContains(t, r.Open(t.Context()), "replication role")
	db.exec(t, "ALTER ROLE "+role+" REPLICATION")
	require.NoError(t, r.Open(t.Context()))
	stop := run(t, r)
	db.exec(t, "INSERT INTO users VALUES (1, 'a')")
	users.hears(t, "1")
	stop()
	db.dropSlot(t)
	run(t, r)
	users.clearedAgain(t)
	assert.Zero(t, r.Stats().Failures)
}

// Run ends with the node of a cache.
func TestReader_EndsWithTheNode(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	users := &recorder{}
	r := db.newReader(t, usersRule(users), replication.Options{})
	require.NoError(t, r.Open(t.Context()))
	users.fail(fmt.Errorf("users: %w", nearcache.ErrClosed))
	db.exec(t, "INSERT INTO users VALUES (1, 'a')")
	assert.ErrorIs(t, r.Run(t.Context()), nearcache.ErrClosed)
}
