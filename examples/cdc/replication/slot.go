package replication

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

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

// ensureSlot makes the slot if there is none, or none that can be read on, and reports whether
// the slot is free. A new slot is at first one of this connection alone, and ends with the
// connection. The slot gets its name after the caches are clear.
func (r *Reader) ensureSlot(ctx context.Context, db *pgx.Conn) (free bool, err error) {
	asking, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var ours, active, lost bool
	err = db.QueryRow(asking, `SELECT plugin = 'pgoutput' AND database = current_database(), active, COALESCE(wal_status = 'lost', false)
		FROM pg_replication_slots WHERE slot_name = $1`, r.slot).Scan(&ours, &active, &lost)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
	case err != nil:
		return false, err
	case !ours:
		return false, fmt.Errorf("%w: the slot %s is one of another database or of another plugin than pgoutput", ErrSetup, r.slot)
	case !lost && !r.useless:
		return !active, nil
	default:
		if _, err := db.Exec(ctx, "SELECT pg_drop_replication_slot($1)", r.slot); err != nil {
			return false, err
		}
	}
	temporary := fmt.Sprintf("%s_of_%d", r.slot, db.PgConn().PID())
	if _, err := db.Exec(ctx, "SELECT pg_create_logical_replication_slot($1, 'pgoutput', true)", temporary); err != nil {
		return false, err
	}
	for _, rule := range r.rules {
		if err := r.clear(ctx, rule.Cache); err != nil {
			return false, err
		}
	}
	_, err = db.Exec(ctx, "SELECT pg_copy_logical_replication_slot($1, $2, false)", temporary, r.slot)
	if err != nil && codeOf(err) != "42710" { // duplicate_object: another reader was faster
		return false, err
	}
	r.slots.Add(1)
	r.useless = false
	r.logger.Info("replication: made a slot, and cleared the caches", "slot", r.slot)
	_, err = db.Exec(ctx, "SELECT pg_drop_replication_slot($1)", temporary)
	return true, err
}
