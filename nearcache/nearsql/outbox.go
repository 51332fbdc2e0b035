package nearsql

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"
)

const (
	// maxBatch is how many rows a relay claims at once.
	maxBatch = 500

	// maxCounted is how far pending rows, and those set aside, are counted.
	maxCounted = 10000

	// unknownAfter is how old a row of an unknown cache must be to be set aside: others may
	// know the cache, as while a new version is rolled out.
	unknownAfter = time.Minute

	// asideKept is for how long a row that was set aside is kept.
	asideKept = 7 * 24 * time.Hour

	// queryTimeout bounds one call of the database.
	queryTimeout = 5 * time.Second
)

// Why a row was set aside, in the column reason. A relay delivers an unknown row after all
// once it has the cache and the operation.
const (
	reasonUnknown = "unknown"
	reasonInvalid = "invalid"
)

// row is a row of the outbox.
type row struct {
	id              int64
	cache, op, name string
}

// outbox is the tables of a database. It keeps nothing of them.
type outbox struct {
	db       *sql.DB
	dialect  Dialect
	claimFor time.Duration
}

// claim returns rows that nobody else has, at most maxBatch, and keeps others from them for
// claimFor: rows of these caches, and whatever is too old for an unknown one. The claim is
// committed when claim returns, so that no lock is held while the rows are delivered.
func (o *outbox) claim(ctx context.Context, caches []string) (rows []row, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	where := fmt.Sprintf(" FROM nearbus_outbox WHERE claimed < %[1]s AND (%[2]s OR created < %[1]s - %[3]d)",
		o.dialect.now(), known(caches), unknownAfter.Milliseconds())
	// First without a lock: most times there is nothing.
	if rows, err := o.query(ctx, o.db, "SELECT id, cache, op, name"+where+" LIMIT 1"); err != nil || len(rows) == 0 {
		return nil, failed("look for rows", err)
	}
	first := fmt.Sprintf("%s ORDER BY id LIMIT %d", where, maxBatch)
	until := fmt.Sprintf("%s + %d", o.dialect.now(), o.claimFor.Milliseconds())
	set := "UPDATE nearbus_outbox SET claimed = " + until + " WHERE "
	switch o.dialect {
	case PostgreSQL:
		// An array is made once. A subquery behind IN may be run again, and lock more.
		rows, err = o.query(ctx, o.db, set+"id = ANY(ARRAY(SELECT id"+first+" FOR UPDATE SKIP LOCKED)) RETURNING id, cache, op, name")
	case SQLite:
		rows, err = o.query(ctx, o.db, set+"id IN (SELECT id"+first+") RETURNING id, cache, op, name")
	default:
		rows, err = o.claimInTx(ctx, first, until)
	}
	return rows, failed("claim rows", err)
}

// claimInTx is claim for MySQL, whose UPDATE returns no rows.
func (o *outbox) claimInTx(ctx context.Context, first, until string) (rows []row, err error) {
	// At MySQL's own level of isolation, a lock also keeps others from inserting beside the row.
	err = o.inTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted}, func(tx *sql.Tx) (err error) {
		rows, err = o.query(ctx, tx, "SELECT id, cache, op, name"+first+" FOR UPDATE SKIP LOCKED")
		if err != nil || len(rows) == 0 {
			return err
		}
		query, args := o.dialect.update(ids(rows), until)
		_, err = tx.ExecContext(ctx, query, args...)
		return err
	})
	return rows, err
}

// known is true for rows of these caches that this version can deliver. The names have no
// character that would need an escape: see NewRelay.
func known(caches []string) string {
	return fmt.Sprintf("(cache IN ('%s') AND op IN ('%s'))", strings.Join(caches, "', '"),
		strings.Join([]string{opKey, opTag, opClear, opKey + suffix64, opTag + suffix64}, "', '"))
}

// release lets others claim rows at once.
func (o *outbox) release(ctx context.Context, ids []int64) error {
	query, args := o.dialect.update(ids, "0")
	return failed("release rows", o.exec(ctx, query, args...))
}

// delete ends rows that were delivered.
func (o *outbox) delete(ctx context.Context, ids []int64) error {
	query, args := o.dialect.delete("nearbus_outbox", ids)
	return failed("delete rows", o.exec(ctx, query, args...))
}

// setAside moves rows out of the way, in one step.
func (o *outbox) setAside(ctx context.Context, ids []int64, reason string) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return failed("set rows aside", o.inTx(ctx, nil, func(tx *sql.Tx) error {
		query, args := o.dialect.setAside(ids, reason)
		if _, err := tx.ExecContext(ctx, query, args...); err != nil {
			return err
		}
		query, args = o.dialect.delete("nearbus_outbox", ids)
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	}))
}

// asideOf returns rows of these caches that were set aside by those who did not have them.
func (o *outbox) asideOf(ctx context.Context, caches []string) ([]row, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	rows, err := o.query(ctx, o.db, fmt.Sprintf("SELECT id, cache, op, name FROM nearbus_outbox_aside WHERE reason = '%s' AND %s ORDER BY id LIMIT %d",
		reasonUnknown, known(caches), maxBatch))
	return rows, failed("look at rows set aside", err)
}

// deleteAside ends rows that had been set aside.
func (o *outbox) deleteAside(ctx context.Context, ids []int64) error {
	query, args := o.dialect.delete("nearbus_outbox_aside", ids)
	return failed("delete rows set aside", o.exec(ctx, query, args...))
}

// forget deletes rows that were set aside too long ago.
func (o *outbox) forget(ctx context.Context) error {
	return failed("delete rows set aside long ago",
		o.exec(ctx, fmt.Sprintf("DELETE FROM nearbus_outbox_aside WHERE aside < %s - %d", o.dialect.now(), asideKept.Milliseconds())))
}

// backlog is what is in the tables.
type backlog struct {
	pending, aside int // maxCounted for that many, or more
	oldest         time.Duration
}

func (o *outbox) measure(ctx context.Context) (backlog, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var b backlog
	var oldest int64
	err := o.db.QueryRowContext(ctx, fmt.Sprintf(`SELECT
	(SELECT COUNT(*) FROM (SELECT 1 AS one FROM nearbus_outbox LIMIT %[2]d) AS p),
	(SELECT COUNT(*) FROM (SELECT 1 AS one FROM nearbus_outbox_aside LIMIT %[2]d) AS a),
	(SELECT COALESCE(MAX(%[1]s - created), 0) FROM (SELECT created FROM nearbus_outbox ORDER BY id LIMIT 1) AS o)`,
		o.dialect.now(), maxCounted)).Scan(&b.pending, &b.aside, &oldest)
	b.oldest = time.Duration(max(0, oldest)) * time.Millisecond
	return b, failed("count rows", err)
}

// failed says what could not be done; nil for nil.
func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("nearsql: %s: %w", what, err)
}

func (o *outbox) exec(ctx context.Context, query string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	_, err := o.db.ExecContext(ctx, query, args...)
	return err
}

func (o *outbox) inTx(ctx context.Context, opts *sql.TxOptions, do func(*sql.Tx) error) error {
	tx, err := o.db.BeginTx(ctx, opts)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		_ = tx.Rollback() // the error of do is what counts
		return err
	}
	return tx.Commit()
}

// query returns the rows of a statement.
func (o *outbox) query(ctx context.Context, from interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}, query string,
) ([]row, error) {
	found, err := from.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	var rows []row
	for found.Next() {
		var r row
		if err := found.Scan(&r.id, &r.cache, &r.op, &r.name); err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, found.Err()
}

func ids(rows []row) []int64 {
	all := make([]int64, len(rows))
	for i, r := range rows {
		all[i] = r.id
	}
	return all
}
