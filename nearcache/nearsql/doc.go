// Package nearsql delivers invalidations that a database transaction has written down: a
// transactional outbox.
//
// A program that commits and then calls [nearcache.Cache.Invalidate] may die in between. The
// other servers then keep the old value until its TTL. With an outbox, the transaction that
// changes a row also inserts what is to be invalidated. Both are committed, or neither is. A
// [Relay] reads the outbox, invalidates, and deletes what it has delivered:
//
//	query, args := nearsql.Insert(nearsql.PostgreSQL, "users", id)
//	_, err = tx.ExecContext(ctx, query, args...) // the transaction that changes the user
//	err = tx.Commit()
//	relay.Ring()
//
// [Insert] returns a statement, so that it goes through whatever runs the transaction: sql.Tx,
// pgx, GORM, ent, or a connection that sqlc uses. A trigger may insert as well; the columns
// are in [Schema].
//
// # What it promises
//
// At least once: what was committed is invalidated, whatever dies, and deleted after the
// invalidation returned nil. A row may be delivered twice. It may also be delivered in any
// order: two invalidations of a key have the same effect as one, and none undoes another.
//
// In time: a relay that is up delivers a row within [RelayOptions.PollInterval] of its commit,
// or at once after [Relay.Ring]. Where a relay died with rows that it had claimed, another
// one delivers them within [RelayOptions.ClaimFor]. While the database or the shared tier is
// away, the relay tries again, with pauses of up to 5 s.
//
// Nothing is lost in silence: a row that cannot be delivered is moved to a second table,
// counted and logged. See [Relay.Run].
//
// # Databases
//
// PostgreSQL from 10 on, MySQL from 8.0.13 on, MariaDB from 10.6 on and SQLite from 3.35 on.
// Several relays on PostgreSQL, MySQL and MariaDB divide the rows by SKIP LOCKED, so that none
// waits for a lock of another, or for a transaction of the application. SQLite has one writer
// at a time in any case; set its busy_timeout.
//
// The package imports no driver. It is at home with any driver of database/sql.
package nearsql
