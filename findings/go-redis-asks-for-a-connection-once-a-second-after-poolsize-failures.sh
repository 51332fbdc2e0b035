#!/usr/bin/env bash
# go-redis 9.23.0 with PoolSize 4: once as many dials have failed as PoolSize says, commands
# return the last error without a dial, until a dial of the pool itself succeeds, which it
# tries once a second. So commands fail for up to a second after the server is back.
#
# Guess before the run: a command that comes when the server is back makes a connection and
# succeeds, whatever failed before.
# Seen: "connection refused" for about as long as until the next dial, of a server that
# answers another client all the time. The time depends on the moment, 1 s at most. With PoolSize
# 1000 the first command succeeds.
#
# Needs: bash, Go, and redis-server (tried with 7.0.15 of Debian 12).
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
	"fmt"
	"net"
	"os/exec"
	"time"

	"github.com/redis/go-redis/v9"
)

var addr string

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	addr = l.Addr().String()
	check(l.Close())
	for _, size := range []int{4, 1000} {
		failed := 0
		for range 4 { // the moment of the pool's own dial is never the same
			failed += afterOutage(size)
		}
		fmt.Printf("PoolSize %d: commands failed while the server answered: %v\n", size, failed > 0)
	}
}

// afterOutage returns how many commands of a client fail after the server is back.
func afterOutage(size int) (failed int) {
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{Addr: addr, PoolSize: size, MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	for range 10 { // nobody listens
		if client.Ping(ctx).Err() == nil {
			panic("a server that was not started answers")
		}
	}
	time.Sleep(200 * time.Millisecond)
	stop := start()
	defer stop()
	for client.Ping(ctx).Err() != nil {
		failed++
		time.Sleep(10 * time.Millisecond)
	}
	return failed
}

// start returns once the server answers.
func start() (stop func()) {
	_, port, _ := net.SplitHostPort(addr)
	server := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	check(server.Start())
	watcher := redis.NewClient(&redis.Options{Addr: addr, PoolSize: 1000, MaxRetries: -1, DialerRetries: 1})
	defer watcher.Close()
	for watcher.Ping(context.Background()).Err() != nil {
		time.Sleep(time.Millisecond)
	}
	return func() { server.Process.Kill(); server.Wait() }
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod tidy >/dev/null 2>&1
go run . >seen 2>log || { cat log >&2; exit 1; }
diff - seen <<'SEEN'
PoolSize 4: commands failed while the server answered: true
PoolSize 1000: commands failed while the server answered: false
SEEN
echo "as found"
