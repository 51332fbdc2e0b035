#!/usr/bin/env bash
# PostgreSQL 15.18 with pglogrepl v0.0.0-20251213150135-2e8d0df862c1: the stream of logical
# replication sends the Commit of a transaction before other sessions see its rows. A cache
# that is invalidated when Commit arrives can load the old row, and keeps it.
#
# Guess before the run: the stream has committed transactions only, so a query that is sent
# after Commit arrived reads the new row.
# Seen: a transaction that waits for a synchronous standby has been sent whole, and others
# read the old row for as long as it waits. With default settings, 75 to 195 of 1000 commits
# did not show yet to a query that was sent after their Commit arrived. In both cases
# pg_current_snapshot() of the reading session tells whether the transaction shows.
#
# Needs: bash, Go, and initdb, pg_ctl and postgres (tried with 15.18 of Debian 12). Root runs
# the server as the user postgres.
set -euo pipefail
dir=$(mktemp -d)
chmod 711 "$dir" # the server, of another user, is below it
PATH="$PATH$(printf ':%s' /usr/lib/postgresql/*/bin)"
if [ "$(id -u)" = 0 ]; then as=(setpriv --reuid=postgres --regid=postgres --clear-groups); else as=(env); fi
end() {
	"${as[@]}" pg_ctl -D "$dir/server/data" -m immediate stop >/dev/null 2>&1 || true
	rm -rf "$dir"
}
trap end EXIT
cd "$dir"
cat >go.mod <<'MOD'
module finding

go 1.24

require (
	github.com/jackc/pglogrepl v0.0.0-20251213150135-2e8d0df862c1
	github.com/jackc/pgx/v5 v5.12.0
)
MOD
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

var ctx, cancel = context.WithTimeout(context.Background(), 10*time.Minute)

func main() {
	defer cancel()
	admin, writer, reader := connect(), connect(), connect()
	do(admin, "SET synchronous_commit = local") // never waits for a standby
	do(admin, "CREATE TABLE t (id INT PRIMARY KEY, v TEXT)")
	do(admin, "INSERT INTO t VALUES (1, 'old')")
	do(admin, "CREATE PUBLICATION p FOR TABLE t")
	log := stream()
	if os.Args[1] == "default" {
		often(writer, reader, log)
	} else {
		waiting(writer, reader, log)
	}
	do(admin, "DROP PUBLICATION p")
	do(admin, "DROP TABLE t")
}

// waiting reads while the writer waits for a standby that does not exist.
func waiting(writer, reader *pgx.Conn, log *pgconn.PgConn) {
	done := make(chan error, 1)
	go func() {
		_, err := writer.Exec(ctx, "UPDATE t SET v = 'new' WHERE id = 1")
		done <- err
	}()
	xid := committed(log)
	fmt.Println("Commit arrived; others read", ask(reader, "SELECT v FROM t"))
	fmt.Println("shows in pg_current_snapshot:", shows(reader, xid))
	do(reader, fmt.Sprintf("SELECT pg_cancel_backend(%d)", writer.PgConn().PID())) // ends the wait
	fmt.Println("UPDATE returned", <-done)
	fmt.Println("others read", ask(reader, "SELECT v FROM t"))
	fmt.Println("shows in pg_current_snapshot:", shows(reader, xid))
}

// often reads after each of at least 1000 commits.
func often(writer, reader *pgx.Conn, log *pgconn.PgConn) {
	early, n := 0, 0
	for ; n < 1000 || early == 0 && n < 20000; n++ {
		done := make(chan error, 1)
		go func() {
			_, err := writer.Exec(ctx, fmt.Sprintf("UPDATE t SET v = '%d' WHERE id = 1", n))
			done <- err
		}()
		xid := committed(log)
		if ask(reader, "SELECT v FROM t") != fmt.Sprint(n) {
			early++
		}
		for shows(reader, xid) == "false" {
		}
		if v := ask(reader, "SELECT v FROM t"); v != fmt.Sprint(n) {
			fmt.Println("in the snapshot, and others read the row of before")
		}
		check(<-done)
	}
	fmt.Fprintf(os.Stderr, "of %d commits, %d did not show to a query after their Commit\n", n, early)
	fmt.Println("some commits arrived before they showed:", early > 0)
}

// stream starts logical replication of what is committed from now on.
func stream() *pgconn.PgConn {
	conn, err := pgconn.Connect(ctx, os.Args[2]+" replication=database")
	check(err)
	_, err = pglogrepl.CreateReplicationSlot(ctx, conn, "s", "pgoutput", pglogrepl.CreateReplicationSlotOptions{Temporary: true})
	check(err)
	check(pglogrepl.StartReplication(ctx, conn, "s", 0, pglogrepl.StartReplicationOptions{PluginArgs: []string{"proto_version '1'", "publication_names 'p'"}}))
	return conn
}

// committed returns the transaction whose Commit is the next to arrive.
func committed(conn *pgconn.PgConn) (xid uint32) {
	for {
		message, err := conn.ReceiveMessage(ctx)
		check(err)
		data, ok := message.(*pgproto3.CopyData)
		if !ok || data.Data[0] != pglogrepl.XLogDataByteID {
			continue
		}
		part, err := pglogrepl.ParseXLogData(data.Data[1:])
		check(err)
		change, err := pglogrepl.Parse(part.WALData)
		check(err)
		switch m := change.(type) {
		case *pglogrepl.BeginMessage:
			xid = m.Xid
		case *pglogrepl.CommitMessage:
			return xid
		}
	}
}

func shows(c *pgx.Conn, xid uint32) string {
	return ask(c, fmt.Sprintf("SELECT pg_visible_in_snapshot('%d', pg_current_snapshot())::text", xid))
}

func connect() *pgx.Conn {
	c, err := pgx.Connect(ctx, os.Args[2])
	check(err)
	return c
}

func do(c *pgx.Conn, sql string) {
	_, err := c.Exec(ctx, sql)
	check(err)
}

func ask(c *pgx.Conn, sql string) (answer string) {
	check(c.QueryRow(ctx, sql).Scan(&answer))
	return answer
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod tidy >/dev/null 2>&1
go build -o finding .
mkdir -m 700 server
if [ "$(id -u)" = 0 ]; then chown postgres server; fi
"${as[@]}" initdb --no-sync --username=postgres --auth=trust --locale=C -D server/data >/dev/null
for standby in default nobody; do
	options="-c listen_addresses= -c unix_socket_directories=$dir/server -c wal_level=logical"
	if [ "$standby" = nobody ]; then options="$options -c synchronous_standby_names=nobody"; fi
	"${as[@]}" pg_ctl -D server/data -l server/log -o "$options" start >/dev/null
	echo "synchronous_standby_names: $standby"
	./finding "$standby" "host=$dir/server user=postgres dbname=postgres"
	"${as[@]}" pg_ctl -D server/data -m fast stop >/dev/null
done >seen
diff - seen <<'SEEN'
synchronous_standby_names: default
some commits arrived before they showed: true
synchronous_standby_names: nobody
Commit arrived; others read old
shows in pg_current_snapshot: false
UPDATE returned <nil>
others read new
shows in pg_current_snapshot: true
SEEN
echo "as found"
