#!/usr/bin/env bash
# go-redis 9.23.0: the first use of a Conn of a Client, beside the first use of the Client,
# is a data race. Both negotiate maintenance notifications, which most servers refuse, and
# write what came of it into the options that they share, each under a lock of its own. A
# transaction (Watch), which is a connection as well, has a copy of the options and no race.
#
# Guess before the run: a Client and the Conns that it makes may be used by several
# goroutines, one for each, as the documentation of Client says; the race detector is silent.
# Seen: the race detector names initConn for Conn, and nothing for Watch.
#
# Needs: bash, Go with cgo, and redis-server (tried with 7.0.15 of Debian 12).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >go.mod <<'MOD'
module finding

go 1.24

require github.com/redis/go-redis/v9 v9.23.0
MOD
cat >main.go <<'GO'
package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	check(l.Close())
	server := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "")
	check(server.Start())
	defer server.Process.Kill()
	ctx := context.Background()
	for range 50 {
		client := redis.NewClient(&redis.Options{Addr: addr})
		var both sync.WaitGroup
		both.Add(2)
		go func() {
			defer both.Done()
			for client.Ping(ctx).Err() != nil {
				time.Sleep(10 * time.Millisecond)
			}
		}()
		go func() {
			defer both.Done()
			if os.Args[1] == "conn" {
				conn := client.Conn()
				_ = conn.Ping(ctx).Err()
				_ = conn.Close()
				return
			}
			_ = client.Watch(ctx, func(tx *redis.Tx) error { return tx.Ping(ctx).Err() })
		}()
		both.Wait()
		check(client.Close())
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod tidy >/dev/null 2>&1
go build -race -o finding .
for way in conn watch; do
	GORACE=exitcode=0 ./finding "$way" >"$way" 2>&1
	if grep -q 'DATA RACE' "$way" && grep -q 'baseClient).initConn' "$way"; then
		echo "$way: data race in initConn"
	else
		echo "$way: no data race"
	fi
done >seen
diff - seen <<'SEEN'
conn: data race in initConn
watch: no data race
SEEN
echo "as found"
