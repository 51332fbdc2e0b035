package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"

	_ "modernc.org/sqlite" // the driver

	"github.com/nearbus/nearbus/nearcache"
)

// user is a row. Its version counts the writes.
type user struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	Email   string `json:"email"`
	Version int64  `json:"version"`
}

// database is the source: a SQLite file that all processes open.
type database struct {
	db      *sql.DB
	queries atomic.Int64 // SELECTs
}

func openDatabase(ctx context.Context, file string) (*database, error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)")
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	db.SetMaxOpenConns(4)
	_, err = db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS users (
		id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, version INTEGER NOT NULL)`)
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("database: %w", err)
	}
	return &database{db: db}, nil
}

func (d *database) close() error { return d.db.Close() }

// seed fills the table with n users.
func (d *database) seed(ctx context.Context, n int) error {
	_, err := d.db.ExecContext(ctx, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < ?)
		INSERT OR IGNORE INTO users SELECT i, 'User '||i, 'user'||i||'@example.org', 1 FROM n`, n)
	if err != nil {
		return fmt.Errorf("database: seed: %w", err)
	}
	return nil
}

// get returns nearcache.ErrNotFound, as a loader does, for an id that has no
// row.
func (d *database) get(ctx context.Context, id int64) (user, error) {
	d.queries.Add(1)
	u := user{ID: id}
	err := d.db.QueryRowContext(ctx, `SELECT name, email, version FROM users WHERE id = ?`, id).Scan(&u.Name, &u.Email, &u.Version)
	return u, found(err)
}

// put changes a user and returns the row as it is now.
func (d *database) put(ctx context.Context, u user) (user, error) {
	err := d.db.QueryRowContext(ctx, `INSERT INTO users VALUES (?1, ?2, ?3, 1)
		ON CONFLICT (id) DO UPDATE SET name = ?2, email = ?3, version = version + 1 RETURNING version`,
		u.ID, u.Name, u.Email).Scan(&u.Version)
	return u, found(err)
}

func (d *database) delete(ctx context.Context, id int64) error {
	_, err := d.db.ExecContext(ctx, `DELETE FROM users WHERE id = ?`, id)
	return found(err)
}

func found(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return nearcache.ErrNotFound
	default:
		return fmt.Errorf("database: %w", err)
	}
}
