package nearsql_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/nearbus/nearbus/nearcache/nearsql"
)

func TestInsert(t *testing.T) {
	query, args := nearsql.Insert(nearsql.PostgreSQL, "users", "42", "\xff")
	assert.Equal(t, "INSERT INTO nearbus_outbox (cache, op, name) VALUES ($1, 'key', $2), ($3, 'key64', $4)", query)
	assert.Equal(t, []any{"users", "42", "users", "/w=="}, args)

	query, args = nearsql.InsertTags(nearsql.MySQL, "users", "org:7", "a\x00b")
	assert.Equal(t, "INSERT INTO nearbus_outbox (cache, op, name) VALUES (?, 'tag', ?), (?, 'tag64', ?)", query)
	assert.Equal(t, []any{"users", "org:7", "users", "YQBi"}, args)

	query, args = nearsql.InsertClear(nearsql.SQLite, "users")
	assert.Equal(t, "INSERT INTO nearbus_outbox (cache, op, name) VALUES (?, 'clear', ?)", query)
	assert.Equal(t, []any{"users", ""}, args)
}

// No text of a caller comes into a statement.
func TestInsert_NoTextOfCallersInStatements(t *testing.T) {
	const hostile = "'); DROP TABLE users; --"
	for _, d := range []nearsql.Dialect{nearsql.PostgreSQL, nearsql.MySQL, nearsql.SQLite} {
		for _, insert := range []func(nearsql.Dialect, string, ...string) (string, []any){nearsql.Insert, nearsql.InsertTags} {
			query, args := insert(d, hostile, hostile)
			assert.NotContains(t, query, "DROP")
			assert.Equal(t, []any{hostile, hostile}, args)
		}
	}
}

func TestInsert_NoDialect(t *testing.T) {
	query, args := nearsql.Insert(0, "users", "42")
	assert.True(t, strings.HasSuffix(query, "\nINSERT"), "no database takes it")
	assert.Contains(t, query, "Dialect(0) is none of PostgreSQL, MySQL and SQLite")
	assert.Empty(t, args)
	assert.Nil(t, nearsql.Schema(7))
}
