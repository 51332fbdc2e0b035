package nearsql

import (
	"fmt"
	"strconv"
	"strings"
)

// Dialect is the SQL that a database understands.
type Dialect int

// The dialects. MariaDB speaks that of MySQL.
const (
	PostgreSQL Dialect = iota + 1
	MySQL
	SQLite
)

// String returns the name of the dialect.
func (d Dialect) String() string {
	switch d {
	case PostgreSQL:
		return "PostgreSQL"
	case MySQL:
		return "MySQL"
	case SQLite:
		return "SQLite"
	}
	return fmt.Sprintf("Dialect(%d)", int(d))
}

func (d Dialect) check() error {
	if d < PostgreSQL || d > SQLite {
		return fmt.Errorf("nearsql: %v is none of PostgreSQL, MySQL and SQLite", d)
	}
	return nil
}

// placeholder returns the parameter number n, from 1 on.
func (d Dialect) placeholder(n int) string {
	if d == PostgreSQL {
		return "$" + strconv.Itoa(n)
	}
	return "?"
}

// now returns the time of the server in milliseconds since 1970, which no time zone changes.
func (d Dialect) now() string {
	switch d {
	case PostgreSQL:
		return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
	case MySQL:
		return "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)"
	default:
		return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
	}
}

// update returns the statement that sets claimed of rows of the outbox, and its arguments.
func (d Dialect) update(ids []int64, claimed string) (query string, args []any) {
	if d == MySQL {
		return "UPDATE " + byKey("nearbus_outbox", ids) + " SET o.claimed = " + claimed, nil
	}
	where, args := d.among(ids)
	return "UPDATE nearbus_outbox SET claimed = " + claimed + where, args
}

// delete returns the statement that deletes rows of a table, and its arguments.
func (d Dialect) delete(table string, ids []int64) (query string, args []any) {
	if d == MySQL {
		return "DELETE o FROM " + byKey(table, ids), nil
	}
	where, args := d.among(ids)
	return "DELETE FROM " + table + where, args
}

// setAside returns the statement that copies rows of the outbox, and its arguments.
func (d Dialect) setAside(ids []int64, reason string) (query string, args []any) {
	from, args := " FROM nearbus_outbox AS o", []any(nil)
	if d == MySQL {
		from = " FROM " + byKey("nearbus_outbox", ids)
	} else {
		var where string
		where, args = d.among(ids)
		from += where
	}
	return "INSERT INTO nearbus_outbox_aside (id, cache, op, name, created, aside, reason)" +
		" SELECT o.id, o.cache, o.op, o.name, o.created, " + d.now() + ", '" + reason + "'" + from, args
}

// among returns a condition that is true for rows with one of these ids, and its arguments.
// On PostgreSQL, whose clients keep prepared statements by their text, the text is the same
// for all ids.
func (d Dialect) among(ids []int64) (where string, args []any) {
	list := join(ids, ",")
	if d == PostgreSQL {
		return " WHERE id = ANY(CAST(string_to_array(CAST($1 AS TEXT), ',') AS BIGINT[]))", []any{list}
	}
	return " WHERE id IN (" + list + ")", nil
}

// byKey returns rows of a table, named o, that are looked up one by one. With a list behind
// IN, MySQL and MariaDB may find a table so small that they read all of it, whatever index
// they are told to use, and then wait for rows of transactions that are open.
func byKey(table string, ids []int64) string {
	return "(SELECT " + join(ids, " AS id UNION ALL SELECT ") + " AS id) AS d STRAIGHT_JOIN " + table + " AS o ON o.id = d.id"
}

func join(ids []int64, separator string) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = strconv.FormatInt(id, 10)
	}
	return strings.Join(texts, separator)
}
