package nearsql_test

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// fakeDB stands for an outbox on SQLite: it knows the statements of a relay. Real databases
// are in the module integration.
type fakeDB struct {
	mu       sync.Mutex // protects the following
	rows     map[int64]*fakeRow
	last     int64
	down     bool
	hanging  bool
	attempts int // statements, and connections refused
}

type fakeRow struct {
	cache, op, name string
	claimed         time.Time
}

var errAway = errors.New("fake: connection refused")

// openFake returns a database for a test or an example.
func openFake() (*sql.DB, *fakeDB) {
	f := &fakeDB{rows: make(map[int64]*fakeRow)}
	return sql.OpenDB(f), f
}

// insert commits a row of a key.
func (f *fakeDB) insert(cache, key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	f.rows[f.last] = &fakeRow{cache: cache, op: "key", name: key}
}

// set takes the database away, or brings it back.
func (f *fakeDB) set(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

func (f *fakeDB) tried() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.attempts
}

func (f *fakeDB) left() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.rows)
}

func (f *fakeDB) Connect(context.Context) (driver.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		f.attempts++
		return nil, errAway
	}
	return fakeConn{f}, nil
}

func (f *fakeDB) Driver() driver.Driver { return nil }

type fakeConn struct{ *fakeDB }

func (fakeConn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("fake: no Prepare") }
func (fakeConn) Begin() (driver.Tx, error)           { return nil, errors.New("fake: no Begin") }
func (fakeConn) Close() error                        { return nil }

func (f fakeConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := f.enter(ctx); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	switch {
	case strings.HasPrefix(query, "INSERT INTO nearbus_outbox "):
		for i := 0; i < len(args); i += 2 {
			f.last++
			f.rows[f.last] = &fakeRow{cache: args[i].Value.(string), op: "key", name: args[i+1].Value.(string)}
		}
	case strings.HasPrefix(query, "UPDATE nearbus_outbox SET claimed = 0 "):
		for _, id := range listed(query) {
			f.rows[id].claimed = time.Time{}
		}
	case strings.HasPrefix(query, "DELETE FROM nearbus_outbox WHERE "):
		for _, id := range listed(query) {
			delete(f.rows, id)
		}
	case strings.HasPrefix(query, "DELETE FROM nearbus_outbox_aside WHERE aside < "):
	default:
		return nil, fmt.Errorf("fake: %s", query)
	}
	return driver.RowsAffected(0), nil
}

func (f fakeConn) QueryContext(ctx context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	if err := f.enter(ctx); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	claim := strings.HasPrefix(query, "UPDATE nearbus_outbox SET claimed = CAST")
	switch {
	case strings.HasPrefix(query, "SELECT id, cache, op, name FROM nearbus_outbox_aside "):
		return &fakeRows{}, nil
	case strings.HasPrefix(query, "SELECT\n"):
		return &fakeRows{all: [][]driver.Value{{int64(len(f.rows)), int64(0), int64(0)}}}, nil
	case !claim && !strings.HasPrefix(query, "SELECT id, cache, op, name FROM nearbus_outbox WHERE "):
		return nil, fmt.Errorf("fake: %s", query)
	}
	found := &fakeRows{}
	for _, id := range slices.Sorted(maps.Keys(f.rows)) {
		row := f.rows[id]
		if row.claimed.After(time.Now()) || !strings.Contains(query, "'"+row.cache+"'") {
			continue
		}
		if claim {
			row.claimed = time.Now().Add(10 * time.Second)
		}
		if found.all = append(found.all, []driver.Value{id, row.cache, row.op, row.name}); len(found.all) == 500 {
			break
		}
	}
	return found, nil
}

// enter lets a statement in, which has the lock then.
func (f fakeConn) enter(ctx context.Context) error {
	f.mu.Lock()
	f.attempts++
	if f.hanging {
		f.mu.Unlock()
		<-ctx.Done()
		return ctx.Err()
	}
	if f.down {
		f.mu.Unlock()
		return errAway
	}
	return nil
}

// listed returns the ids behind IN.
func listed(query string) (ids []int64) {
	_, list, _ := strings.Cut(query, " IN (")
	for text := range strings.SplitSeq(strings.TrimSuffix(list, ")"), ",") {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			panic(cmp.Or(query, "no ids"))
		}
		ids = append(ids, id)
	}
	return ids
}

type fakeRows struct{ all [][]driver.Value }

func (r *fakeRows) Columns() []string {
	if len(r.all) > 0 && len(r.all[0]) == 3 {
		return make([]string, 3)
	}
	return make([]string, 4)
}
func (r *fakeRows) Close() error { return nil }

func (r *fakeRows) Next(to []driver.Value) error {
	if len(r.all) == 0 {
		return io.EOF
	}
	copy(to, r.all[0])
	r.all = r.all[1:]
	return nil
}
