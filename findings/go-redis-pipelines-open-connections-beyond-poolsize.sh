#!/usr/bin/env bash
# go-redis 9.23.0 with PoolSize 5: pipelines take their connections from a second pool of
# 10, which PoolSize does not bound. A server has 15 connections of this client.
#
# Guess before the run: PoolSize bounds the connections of a client to its server, so 5.
# Seen: 5 with single commands, 15 once pipelines run beside them. A maxclients that is
# computed from PoolSize is too small by a factor of 3.
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
	"regexp"
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
	server := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	check(server.Start())
	defer server.Process.Kill()
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{Addr: addr, PoolSize: 5, PoolTimeout: time.Minute})
	watcher := redis.NewClient(&redis.Options{Addr: addr, PoolSize: 1})
	for watcher.Ping(ctx).Err() != nil {
		time.Sleep(10 * time.Millisecond)
	}
	block := func(ctx context.Context, p redis.Cmdable) { p.BLPop(ctx, time.Second, "absent") }
	fmt.Println("single commands:", most(ctx, watcher, func() { block(ctx, client) }))
	fmt.Println("and pipelines:", most(ctx, watcher, func() {
		var both sync.WaitGroup
		both.Add(2)
		go func() { defer both.Done(); block(ctx, client) }()
		go func() {
			defer both.Done()
			client.Pipelined(ctx, func(p redis.Pipeliner) error { block(ctx, p); return nil })
		}()
		both.Wait()
	}))
}

// most runs call 40 times at once and returns how many connections the server has then,
// but for the watcher's.
func most(ctx context.Context, watcher *redis.Client, call func()) (n int) {
	var all sync.WaitGroup
	for range 40 {
		all.Add(1)
		go func() { defer all.Done(); call() }()
	}
	time.Sleep(500 * time.Millisecond)
	info, err := watcher.Info(ctx, "clients").Result()
	check(err)
	fmt.Sscan(regexp.MustCompile(`connected_clients:(\d+)`).FindStringSubmatch(info)[1], &n)
	all.Wait()
	return n - 1
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod tidy >/dev/null 2>&1
go run . >seen
diff - seen <<'SEEN'
single commands: 5
and pipelines: 15
SEEN
echo "as found"
