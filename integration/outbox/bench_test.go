package outbox_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/nearsql"
)

// BenchmarkOutbox measures a commit of a change alone, with a row of an outbox, and up to when
// the cache was called, for relays that somebody rings for and relays that look every 10 ms.
// The three take turns, so that what else the machine does meets all of them.
func BenchmarkOutbox(b *testing.B) {
	for name, open := range map[string]func(testing.TB) database{
		"PostgreSQL": func(t testing.TB) database { return newPostgreSQL(t, sharedPostgreSQL(t)) },
		"MariaDB":    func(t testing.TB) database { return newMariaDB(t, sharedMariaDB(t)) },
		"SQLite":     newSQLite,
	} {
		b.Run(name, func(b *testing.B) {
			db := open(b)
			db.makeTables(b)
			db.exec(b, "CREATE TABLE version (number BIGINT)")
			db.exec(b, "INSERT INTO version VALUES (0)")
			took := make(map[string][]time.Duration)
			called := make(chan struct{})
			users := &recorder{before: func() error { called <- struct{}{}; return nil }}
			rung, _ := relay(b, db, map[string]nearsql.Cache{"rung": users}, nearsql.RelayOptions{PollInterval: time.Hour})
			relay(b, db, map[string]nearsql.Cache{"polled": users}, nearsql.RelayOptions{PollInterval: 10 * time.Millisecond})
			measure := func(name, cache string) {
				began := time.Now()
				db.commit(b, cache)
				if name == "commit" || name == "row" {
					took[name] = append(took[name], time.Since(began))
				}
				if cache == "" {
					return
				}
				rung.Ring()
				<-called
				if name != "row" {
					took[name] = append(took[name], time.Since(began))
				}
			}
			for b.Loop() {
				measure("commit", "")
				measure("row", "rung")
				measure("rung", "rung")
				measure("polled", "polled")
			}
			for name, times := range took {
				slices.Sort(times)
				b.ReportMetric(float64(times[len(times)/2].Microseconds()), name+"-p50-µs")
				b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), name+"-p99-µs")
			}
		})
	}
}

// commit changes something, with a row of the outbox if there is a cache.
func (db database) commit(b *testing.B, cache string) {
	b.Helper()
	tx, err := db.BeginTx(b.Context(), nil)
	require.NoError(b, err)
	_, err = tx.ExecContext(b.Context(), fmt.Sprintf("UPDATE version SET number = %d", time.Now().UnixNano()))
	require.NoError(b, err)
	if cache != "" {
		query, args := nearsql.Insert(db.dialect, cache, "42")
		_, err = tx.ExecContext(b.Context(), query, args...)
		require.NoError(b, err)
	}
	require.NoError(b, tx.Commit())
}
