#!/usr/bin/env bash
# MariaDB 10.11: a DELETE whose IN names rows by their primary keys waits for the INSERT of
# an open transaction, whose row it does not name. So the reader of an outbox that deletes
# what it handled waits for every transaction that writes to the outbox.
#
# Guess before the run: the DELETE locks the rows that it names and deletes them at once,
# certainly with READ COMMITTED, which locks no gaps.
# Seen: of a table of 3 or 10 rows, a DELETE of 1 or 2 keys is at once; a DELETE of all 3,
# or of 5 of the 10, is a scan (EXPLAIN: ALL), locks what it reads, and waits, with each
# isolation level. FORCE INDEX (PRIMARY) changes nothing. A join with the keys, in that
# order, looks the rows up one by one and does not wait.
#
# Needs: bash, and mariadbd, mariadb-install-db and mariadb (tried with 10.11.14 of Debian 12).
set -euo pipefail
dir=$(mktemp -d)
server=
# A transaction that is open ends with its client: the client ends with its input.
trap 'exec 3>&-; if [ -n "$server" ]; then kill "$server"; wait "$server" || true; fi; rm -rf "$dir"' EXIT
user=$(id -un)
mariadb-install-db --no-defaults --auth-root-authentication-method=normal --user="$user" --datadir="$dir/data" >/dev/null 2>&1
mariadbd --no-defaults --user="$user" --datadir="$dir/data" --skip-networking --socket="$dir/socket" \
	--innodb-buffer-pool-size=32M --innodb-log-file-size=16M >"$dir/log" 2>&1 &
server=$!
sql() { mariadb --no-defaults --batch --skip-column-names --user=root --socket="$dir/socket" "$@"; }
until sql -e 'SELECT 1' >/dev/null 2>&1; do
	kill -0 "$server"
	sleep 0.1
done
sql -e 'CREATE DATABASE shop; CREATE TABLE shop.outbox (id BIGINT AUTO_INCREMENT PRIMARY KEY, topic TEXT NOT NULL) ENGINE=InnoDB'

# try fills the outbox with rows 1 to $1, begins a transaction that inserts one more, and
# runs the statement $3 in a second transaction of isolation level $2.
try() {
	sql shop -e "TRUNCATE outbox; INSERT INTO outbox (topic) SELECT 'old' FROM seq_1_to_$1; ANALYZE TABLE outbox" >/dev/null
	rm -f "$dir/input"
	mkfifo "$dir/input"
	sql --unbuffered shop <"$dir/input" >"$dir/other" &
	local other=$!
	exec 3>"$dir/input"
	echo "BEGIN; INSERT INTO outbox (topic) VALUES ('new'); SELECT 'inserted';" >&3
	until grep -q inserted "$dir/other"; do
		kill -0 "$other"
		sleep 0.05
	done
	local plan
	plan=$(sql shop -e "EXPLAIN $3" | awk -F '\t' '$3 ~ /^(o|outbox)$/ { print $4 }')
	if sql shop -e "SET SESSION innodb_lock_wait_timeout = 2; SET SESSION TRANSACTION ISOLATION LEVEL $2; $3" 2>"$dir/error"; then
		echo "$1 rows, $2, $plan: at once: $3"
	else
		grep -q 'ERROR 1205.*Lock wait timeout' "$dir/error"
		echo "$1 rows, $2, $plan: waits: $3"
	fi
	exec 3>&-
	wait "$other"
}

{
	for level in 'REPEATABLE READ' 'READ COMMITTED'; do
		try 3 "$level" 'DELETE FROM outbox WHERE id IN (1,2)'
		try 3 "$level" 'DELETE FROM outbox WHERE id IN (1,2,3)'
		try 10 "$level" 'DELETE FROM outbox WHERE id IN (1,2,3,4,5)'
	done
	try 3 'READ COMMITTED' 'DELETE o FROM outbox AS o FORCE INDEX (PRIMARY) WHERE o.id IN (1,2,3)'
	try 3 'READ COMMITTED' 'DELETE o FROM (SELECT 1 AS id UNION ALL SELECT 2 UNION ALL SELECT 3) AS d STRAIGHT_JOIN outbox AS o ON o.id = d.id'
} >"$dir/seen"
diff - "$dir/seen" <<'SEEN'
3 rows, REPEATABLE READ, range: at once: DELETE FROM outbox WHERE id IN (1,2)
3 rows, REPEATABLE READ, ALL: waits: DELETE FROM outbox WHERE id IN (1,2,3)
10 rows, REPEATABLE READ, ALL: waits: DELETE FROM outbox WHERE id IN (1,2,3,4,5)
3 rows, READ COMMITTED, range: at once: DELETE FROM outbox WHERE id IN (1,2)
3 rows, READ COMMITTED, ALL: waits: DELETE FROM outbox WHERE id IN (1,2,3)
10 rows, READ COMMITTED, ALL: waits: DELETE FROM outbox WHERE id IN (1,2,3,4,5)
3 rows, READ COMMITTED, ALL: waits: DELETE o FROM outbox AS o FORCE INDEX (PRIMARY) WHERE o.id IN (1,2,3)
3 rows, READ COMMITTED, eq_ref: at once: DELETE o FROM (SELECT 1 AS id UNION ALL SELECT 2 UNION ALL SELECT 3) AS d STRAIGHT_JOIN outbox AS o ON o.id = d.id
SEEN
echo "as found"
