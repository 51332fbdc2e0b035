#!/usr/bin/env bash
# PostgreSQL 15.18 with pglogrepl v0.0.0-20251213150135-2e8d0df862c1: a reader of pgoutput
# that confirms WALStart + len(WALData), as the demo for physical replication of pglogrepl
# does, loses transactions. A message of pgoutput can be longer than its part of the log, which
# has large values compressed, so the sum lies past the end of the log.
#
# Guess before the run: the server refuses a confirmation past the end of its log, or takes
# the end of the log for it, so that a reader that connects again gets what came later.
# Seen: the slot keeps the confirmed position. After connecting again, an insert committed
# after the confirmation is never sent; one behind that position is. A reader that confirms
# TransactionEndLSN of the Commit gets both.
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
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

var ctx, cancel = context.WithTimeout(context.Background(), 5*time.Minute)

func main() {
	defer cancel()
	admin, err := pgx.Connect(ctx, os.Args[1])
	check(err)
	do(admin, "CREATE TABLE t (id INT PRIMARY KEY, v TEXT)")
	do(admin, "CREATE PUBLICATION p FOR TABLE t")
	for _, way := range []string{"WALStart + len(WALData)", "TransactionEndLSN"} {
		do(admin, "TRUNCATE t")
		do(admin, "SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
		do(admin, "INSERT INTO t VALUES (1, repeat('x', 10000000))")
		log := stream()
		ids, sum, end := read(log, "1")
		fmt.Println(way)
		fmt.Println("sent:", ids)
		position := end
		if way != "TransactionEndLSN" {
			position = sum
		}
		fmt.Println("past the end of the log:", ask(admin, fmt.Sprintf("SELECT ('%s' > pg_current_wal_lsn())::text", position)))
		check(pglogrepl.SendStandbyStatusUpdate(ctx, log, pglogrepl.StandbyStatusUpdate{WALWritePosition: position}))
		await(admin, fmt.Sprintf("SELECT (confirmed_flush_lsn = '%s')::text FROM pg_replication_slots", position))
		check(log.Close(ctx))
		await(admin, "SELECT (NOT active)::text FROM pg_replication_slots")
		do(admin, "INSERT INTO t VALUES (2, 'after the confirmation')")
		for ask(admin, fmt.Sprintf("SELECT (pg_current_wal_lsn() <= '%s')::text", position)) == "true" {
			do(admin, "SELECT pg_logical_emit_message(false, '', '')")
			do(admin, "SELECT pg_switch_wal()")
		}
		do(admin, "INSERT INTO t VALUES (3, 'behind the confirmed position')")
		log = stream()
		ids, _, _ = read(log, "3")
		fmt.Println("sent after connecting again:", ids)
		check(log.Close(ctx))
		await(admin, "SELECT (NOT active)::text FROM pg_replication_slots")
		do(admin, "SELECT pg_drop_replication_slot('s')")
	}
}

// stream starts logical replication at the position that the slot has.
func stream() *pgconn.PgConn {
	conn, err := pgconn.Connect(ctx, os.Args[1]+" replication=database")
	check(err)
	check(pglogrepl.StartReplication(ctx, conn, "s", 0, pglogrepl.StartReplicationOptions{PluginArgs: []string{"proto_version '1'", "publication_names 'p'"}}))
	return conn
}

// read returns the rows that were inserted, up to the commit of the last, the largest WALStart
// + len(WALData) of their messages, and where the transaction ends.
func read(conn *pgconn.PgConn, last string) (ids string, sum, end pglogrepl.LSN) {
	var inserted []string
	for {
		message, err := conn.ReceiveMessage(ctx)
		check(err)
		data, ok := message.(*pgproto3.CopyData)
		if !ok || data.Data[0] != pglogrepl.XLogDataByteID {
			continue
		}
		part, err := pglogrepl.ParseXLogData(data.Data[1:])
		check(err)
		sum = max(sum, part.WALStart+pglogrepl.LSN(len(part.WALData)))
		change, err := pglogrepl.Parse(part.WALData)
		check(err)
		switch m := change.(type) {
		case *pglogrepl.InsertMessage:
			inserted = append(inserted, string(m.Tuple.Columns[0].Data))
		case *pglogrepl.CommitMessage:
			if len(inserted) > 0 && inserted[len(inserted)-1] == last {
				return strings.Join(inserted, " "), sum, m.TransactionEndLSN
			}
		}
	}
}

// await asks until the answer is true.
func await(c *pgx.Conn, sql string) {
	for ask(c, sql) != "true" {
		time.Sleep(10 * time.Millisecond)
	}
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
"${as[@]}" pg_ctl -D server/data -l server/log \
	-o "-c listen_addresses= -c unix_socket_directories=$dir/server -c wal_level=logical" start >/dev/null
./finding "host=$dir/server user=postgres dbname=postgres" >seen
diff - seen <<'SEEN'
WALStart + len(WALData)
sent: 1
past the end of the log: true
sent after connecting again: 3
TransactionEndLSN
sent: 1
past the end of the log: false
sent after connecting again: 2 3
SEEN
echo "as found"
