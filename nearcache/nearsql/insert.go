package nearsql

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// What is done to a cache, in the column op. An op with the suffix has its name in base64.
const (
	opKey    = "key"
	opTag    = "tag"
	opClear  = "clear"
	suffix64 = "64"
)

// Insert returns the statement that has keys of a cache invalidated once the transaction that
// runs it is committed, and its arguments. Without keys it changes nothing.
//
// Of keys there may be as many as the database takes parameters for, two for each: 32,767 on
// PostgreSQL and MySQL, 16,383 on SQLite. For more, run several statements, or use
// [InsertTags] or [InsertClear].
//
// A cache or a key that cannot be is not noticed here but by the relay: see [Relay.Run].
// For a dialect that is none of the constants, the statement is one that fails.
func Insert(d Dialect, cache string, keys ...string) (query string, args []any) {
	return insert(d, cache, opKey, keys)
}

// InsertTags is [Insert] for tags: see [nearcache.Cache.InvalidateTags].
func InsertTags(d Dialect, cache string, tags ...string) (query string, args []any) {
	return insert(d, cache, opTag, tags)
}

// InsertClear is [Insert] for the whole cache: see [nearcache.Cache.Clear].
func InsertClear(d Dialect, cache string) (query string, args []any) {
	return insert(d, cache, opClear, []string{""})
}

func insert(d Dialect, cache, op string, names []string) (query string, args []any) {
	if err := d.check(); err != nil {
		return "-- " + err.Error() + "\nINSERT", nil // no database takes it
	}
	const into = "INSERT INTO nearbus_outbox (cache, op, name) "
	if len(names) == 0 {
		from := ""
		if d == MySQL { // MariaDB has no WHERE without it
			from = "FROM DUAL "
		}
		return into + "SELECT '', '', '' " + from + "WHERE 1 = 0", nil
	}
	var b strings.Builder
	b.WriteString(into + "VALUES ")
	for i, name := range names {
		op := op
		if !isText(name) {
			op, name = op+suffix64, base64.StdEncoding.EncodeToString([]byte(name))
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("(" + d.placeholder(2*i+1) + ", '" + op + "', " + d.placeholder(2*i+2) + ")")
		args = append(args, cache, name)
	}
	return b.String(), args
}

// isText reports whether every database keeps name as it is.
func isText(name string) bool { return utf8.ValidString(name) && !strings.Contains(name, "\x00") }
