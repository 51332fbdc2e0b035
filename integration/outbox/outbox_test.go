package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/nearsql"
)

func TestOutbox_DeliversWhatWasCommitted(t *testing.T) {
	onEach(t, func(t *testing.T, db database) {
		users, orgs := &recorder{}, &recorder{}
		binary := "\xff\x00 \\ ' \" $1 ?"
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		run := func(query string, args []any) {
			_, err := tx.ExecContext(t.Context(), query, args...)
			require.NoError(t, err, query)
		}
		run(nearsql.Insert(db.dialect, "users", "42", "43", binary, "größer"))
		run(nearsql.Insert(db.dialect, "users", "42"))
		run(nearsql.Insert(db.dialect, "users")) // nothing
		run(nearsql.InsertTags(db.dialect, "users", "org:7", binary))
		run(nearsql.InsertClear(db.dialect, "orgs"))
		require.NoError(t, tx.Commit())
		tx, err = db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		run(nearsql.Insert(db.dialect, "users", "rolled back"))
		require.NoError(t, tx.Rollback())

		r, _ := relay(t, db, map[string]nearsql.Cache{"users": users, "orgs": orgs}, nearsql.RelayOptions{})

		db.emptied(t)
		keys, tags, clears := users.heard()
		assert.Equal(t, map[string]int{"42": 1, "43": 1, binary: 1, "größer": 1}, keys)
		assert.Equal(t, map[string]int{"org:7": 1, binary: 1}, tags)
		assert.Zero(t, clears)
		_, _, clears = orgs.heard()
		assert.Equal(t, 1, clears)
		require.Eventually(t, func() bool { return r.Stats().Delivered == 8 }, patience, poll)
		assert.Zero(t, r.Stats().Failures)
		db.makeTables(t) // once more: harms nothing
	})
}

// A ring is answered at once, though the next look is an hour away.
func TestOutbox_Ring(t *testing.T) {
	onEach(t, func(t *testing.T, db database) {
		users := &recorder{}
		r, _ := relay(t, db, map[string]nearsql.Cache{"users": users}, nearsql.RelayOptions{PollInterval: time.Hour})
		require.Eventually(t, func() bool { return r.Stats().Unseen < time.Hour }, patience, poll)
		for i := range 20 {
			db.insert(t, "users", fmt.Sprint(i))
			r.Ring()
			db.emptied(t)
		}
	})
}

// A trigger inserts where the rows of a table are changed by whoever it is.
func TestOutbox_Trigger(t *testing.T) {
	onEach(t, func(t *testing.T, db database) {
		db.exec(t, "CREATE TABLE users (id BIGINT PRIMARY KEY, name VARCHAR(50))")
		switch db.dialect {
		case nearsql.PostgreSQL:
			db.exec(t, `CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
				BEGIN INSERT INTO nearbus_outbox (cache, op, name) VALUES ('users', 'key', OLD.id); RETURN NULL; END $$`)
			db.exec(t, "CREATE TRIGGER tell AFTER UPDATE OR DELETE ON users FOR EACH ROW EXECUTE FUNCTION tell()")
		default:
			db.exec(t, `CREATE TRIGGER tell AFTER UPDATE ON users FOR EACH ROW
				BEGIN INSERT INTO nearbus_outbox (cache, op, name) VALUES ('users', 'key', OLD.id); END`)
		}
		db.exec(t, "INSERT INTO users VALUES (42, 'Ada'), (43, 'Grace'), (44, 'Edsger')")
		users := &recorder{}
		relay(t, db, map[string]nearsql.Cache{"users": users}, nearsql.RelayOptions{})

		db.exec(t, "UPDATE users SET name = 'Barbara' WHERE id < 44")

		db.emptied(t)
		require.Eventually(t, func() bool { keys, _, _ := users.heard(); return len(keys) == 2 }, patience, poll)
		keys, _, _ := users.heard()
		assert.Equal(t, map[string]int{"42": 1, "43": 1}, keys)
	})
}

// Several relays, and writers beside them: each row is claimed by one of them.
func TestOutbox_SeveralRelays(t *testing.T) {
	const writers, each = 4, 300
	onEach(t, func(t *testing.T, db database) {
		users := &recorder{}
		var relays []*nearsql.Relay
		for range 4 {
			r, _ := relay(t, db, map[string]nearsql.Cache{"users": users}, nearsql.RelayOptions{
				PollInterval: time.Millisecond,
				ClaimFor:     10 * time.Minute, // a machine with other work may take its time
			})
			relays = append(relays, r)
		}
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each / 10 {
					keys := make([]string, 10)
					for k := range keys {
						keys[k] = fmt.Sprintf("%d-%d-%d", w, i, k)
					}
					query, args := nearsql.Insert(db.dialect, "users", keys...)
					_, err := db.ExecContext(t.Context(), query, args...)
					assert.NoError(t, err)
				}
			})
		}
		wg.Wait()
		db.emptied(t)
		keys, _, _ := users.heard()
		assert.Len(t, keys, writers*each)
		for key, times := range keys {
			assert.Equal(t, 1, times, key)
		}
		require.Eventually(t, func() bool {
			var delivered uint64
			for _, r := range relays {
				delivered += r.Stats().Delivered
			}
			return delivered == writers*each
		}, patience, poll)
		for _, r := range relays {
			assert.Zero(t, r.Stats().Failures)
		}
	})
}

// A backlog is delivered in parts, of which none is larger than a batch.
func TestOutbox_Backlog(t *testing.T) {
	onEach(t, func(t *testing.T, db database) {
		for i := range 6 {
			keys := make([]string, 250)
			for k := range keys {
				keys[k] = fmt.Sprintf("%d-%d", i, k)
			}
			db.insert(t, "users", keys...)
		}
		users := &recorder{}
		r, _ := relay(t, db, map[string]nearsql.Cache{"users": users}, nearsql.RelayOptions{PollInterval: time.Hour}) // no pause in a backlog
		db.emptied(t)
		assert.Equal(t, 500, users.largest)
		keys, _, _ := users.heard()
		assert.Len(t, keys, 1500)
		assert.Equal(t, 1500, r.Stats().Pending, "as seen at first")
	})
}

// Neither does a transaction that is open keep the relay from the rows of others, nor does a
// cache that hangs keep anybody from inserting.
func TestOutbox_NobodyWaitsForALock(t *testing.T) {
	onEach(t, func(t *testing.T, db database) {
		if db.dialect != nearsql.SQLite { // where one transaction at a time may write
			db.insert(t, "users", "locked")
			tx, err := db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			defer func() { _ = tx.Rollback() }()
			_, err = tx.ExecContext(t.Context(), "SELECT id FROM nearbus_outbox WHERE id = 1 FOR UPDATE")
			require.NoError(t, err)
			query, args := nearsql.Insert(db.dialect, "users", "open")
			_, err = tx.ExecContext(t.Context(), query, args...)
			require.NoError(t, err)
		}
		db.insert(t, "users", "committed")
		reached, release := make(chan struct{}), make(chan struct{})
		users := &recorder{before: func() error { reached <- struct{}{}; <-release; return nil }}
		r, _ := relay(t, db, map[string]nearsql.Cache{"users": users}, nearsql.RelayOptions{})
		<-reached
		for i := range 10 {
			db.insert(t, "users", fmt.Sprint(i))
		}
		users.before = nil
		close(release)
		require.Eventually(t, func() bool { return r.Stats().Delivered == 11 }, patience, poll)
		assert.Zero(t, r.Stats().Failures)
	})
}

// Rows of a cache that fails do not hold up those of others, and are delivered once it works.
func TestOutbox_CacheFails(t *testing.T) {
	onEach(t, func(t *testing.T, db database) {
		var mu sync.Mutex
		failure := errors.New("the shared tier is away")
		users, orgs := &recorder{before: func() error { mu.Lock(); defer mu.Unlock(); return failure }}, &recorder{}
		keys := make([]string, 600) // more than a batch
		for i := range keys {
			keys[i] = fmt.Sprint(i)
		}
		db.insert(t, "users", keys...)
		db.insert(t, "orgs", "7")
		r, _ := relay(t, db, map[string]nearsql.Cache{"users": users, "orgs": orgs}, nearsql.RelayOptions{PollInterval: time.Millisecond})
		require.Eventually(t, func() bool { keys, _, _ := orgs.heard(); return len(keys) == 1 }, patience, poll)
		require.Eventually(t, func() bool { return db.count(t, "nearbus_outbox") == len(keys) }, patience, poll)
		mu.Lock()
		failure = nil
		mu.Unlock()
		db.emptied(t)
		assert.Positive(t, r.Stats().Failures)
	})
}

// A row of a cache that nobody has is set aside after a minute, and delivered by the first
// relay that has the cache.
func TestOutbox_UnknownCache(t *testing.T) {
	onEach(t, func(t *testing.T, db database) {
		users, orgs := &recorder{}, &recorder{}
		db.insert(t, "orgs", "7")
		db.exec(t, "INSERT INTO nearbus_outbox (cache, op, name) VALUES ('users', 'of a later version', '42')")
		r, stop := relay(t, db, map[string]nearsql.Cache{"users": users}, nearsql.RelayOptions{})
		db.insert(t, "users", "42")
		require.Eventually(t, func() bool { return r.Stats().Delivered == 1 }, patience, poll)
		assert.Equal(t, 2, db.count(t, "nearbus_outbox"), "others may know them")

		db.pastMinute(t)
		db.emptied(t)
		require.Eventually(t, func() bool { return r.Stats().SetAside == 2 }, patience, poll)
		assert.Equal(t, 2, db.count(t, "nearbus_outbox_aside"))
		stop()

		r, _ = relay(t, db, map[string]nearsql.Cache{"users": users, "orgs": orgs}, nearsql.RelayOptions{})
		require.Eventually(t, func() bool { return r.Stats().Delivered == 1 }, patience, poll)
		keys, _, _ := orgs.heard()
		assert.Equal(t, map[string]int{"7": 1}, keys)
		assert.Equal(t, 1, db.count(t, "nearbus_outbox_aside"))
		require.Eventually(t, func() bool { return r.Stats().Aside == 1 }, patience, poll)
	})
}

// What a cache refuses for good is set aside, and what came with it is delivered.
func TestOutbox_Invalid(t *testing.T) {
	onEach(t, func(t *testing.T, db database) {
		users := &recorder{}
		db.insert(t, "users", "42", "", "43")
		query, args := nearsql.InsertTags(db.dialect, "users", "org:7", "", "org:8")
		db.exec(t, query, args...)
		db.exec(t, "INSERT INTO nearbus_outbox (cache, op, name) VALUES ('users', 'key64', 'no base64')")
		r, _ := relay(t, db, map[string]nearsql.Cache{"users": users}, nearsql.RelayOptions{})
		db.emptied(t)
		keys, tags, _ := users.heard()
		assert.Equal(t, map[string]int{"42": 1, "43": 1}, keys)
		assert.Equal(t, map[string]int{"org:7": 1, "org:8": 1}, tags)
		require.Eventually(t, func() bool { return r.Stats().SetAside == 3 }, patience, poll)
		var invalid int
		require.NoError(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM nearbus_outbox_aside WHERE reason = 'invalid'").Scan(&invalid))
		assert.Equal(t, 3, invalid)
		assert.Zero(t, r.Stats().Failures)
	})
}

// What was set aside is kept for a week.
func TestOutbox_AsideIsForgotten(t *testing.T) {
	onEach(t, func(t *testing.T, db database) {
		db.insert(t, "users", "")
		r, stop := relay(t, db, map[string]nearsql.Cache{"users": &recorder{}}, nearsql.RelayOptions{})
		require.Eventually(t, func() bool { return r.Stats().SetAside == 1 }, patience, poll)
		stop()
		week := (7 * 24 * time.Hour).Milliseconds()
		for _, test := range []struct{ older, left int }{{int(week) - 600000, 1}, {600001, 0}} {
			require.Equal(t, 1, db.count(t, "nearbus_outbox_aside"))
			db.exec(t, fmt.Sprintf("UPDATE nearbus_outbox_aside SET aside = aside - %d", test.older))
			db.insert(t, "users", "42") // delivered after the relay looked at what is aside
			r, stop := relay(t, db, map[string]nearsql.Cache{"users": &recorder{}}, nearsql.RelayOptions{})
			require.Eventually(t, func() bool { return r.Stats().Delivered == 1 }, patience, poll)
			stop()
			assert.Equal(t, test.left, db.count(t, "nearbus_outbox_aside"))
		}
	})
}

// The metrics tell how much there is, and for how long.
func TestOutbox_Stats(t *testing.T) {
	onEach(t, func(t *testing.T, db database) {
		db.insert(t, "orgs", "7", "8")
		db.exec(t, "UPDATE nearbus_outbox SET created = created - 30000")
		r, _ := relay(t, db, map[string]nearsql.Cache{"users": &recorder{}}, nearsql.RelayOptions{})
		require.Eventually(t, func() bool { return r.Stats().Pending == 2 }, patience, poll)
		assert.InDelta(t, 30, r.Stats().Oldest.Seconds(), 20, "by the clock of the database")
		before := r.Stats().Oldest
		assert.Eventually(t, func() bool { return r.Stats().Oldest > before }, patience, poll, "it grows between looks")
	})
}

// A database without the tables is a failure that is told and tried again.
func TestOutbox_NoTables(t *testing.T) {
	onEach(t, func(t *testing.T, db database) {
		db.exec(t, "DROP TABLE nearbus_outbox")
		users := &recorder{}
		r, _ := relay(t, db, map[string]nearsql.Cache{"users": users}, nearsql.RelayOptions{})
		require.Eventually(t, func() bool { return r.Stats().Failures > 1 }, patience, poll)
		db.makeTables(t)
		db.insert(t, "users", "42")
		db.emptied(t)
	})
}

// Run ends what it began, and runs again.
func TestOutbox_RunEndsWhatItBegan(t *testing.T) {
	onEach(t, func(t *testing.T, db database) {
		db.insert(t, "users", "42")
		reached, release := make(chan struct{}), make(chan struct{})
		users := &recorder{before: func() error { close(reached); <-release; return nil }}
		r, err := nearsql.NewRelay(db.DB, db.dialect, map[string]nearsql.Cache{"users": users}, nearsql.RelayOptions{})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		<-reached
		assert.ErrorIs(t, r.Run(t.Context()), nearsql.ErrRunning)
		cancel()
		close(release)
		require.ErrorIs(t, <-ended, context.Canceled)
		assert.Zero(t, db.count(t, "nearbus_outbox"))
		assert.ErrorIs(t, r.Run(ctx), context.Canceled)
	})
}
