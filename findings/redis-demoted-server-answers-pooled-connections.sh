#!/usr/bin/env bash
# redis-server 7.0.15 and go-redis 9.23.0: the name of a Redis moves to a promoted replica,
# and the former primary becomes a replica whose link is broken. The pooled connections of
# the client stay open, and reads over them are answered with what was there before.
#
# Guess before the run: REPLICAOF closes the connections of clients, or the first write
# that is answered READONLY makes the client dial anew, so that all later reads come from
# the promoted server.
# Seen: READONLY ends the one connection that it came over. The other 7 go on and answer
# the old value, after a write to the promoted server has been acknowledged.
#
# Needs: bash, Go, and redis-server.
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
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

func start(ctx context.Context) (addr string, admin *redis.Client, stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	addr = l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	check(l.Close())
	dir, err := os.MkdirTemp(".", "data")
	check(err)
	server := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", dir)
	check(server.Start())
	admin = redis.NewClient(&redis.Options{Addr: addr})
	for admin.Ping(ctx).Err() != nil {
		time.Sleep(10 * time.Millisecond)
	}
	return addr, admin, func() { server.Process.Kill() }
}

func main() {
	ctx := context.Background()
	first, one, stopOne := start(ctx)
	defer stopOne()
	second, two, stopTwo := start(ctx)
	defer stopTwo()
	var name atomic.Value // what the name resolves to
	name.Store(first)
	client := redis.NewClient(&redis.Options{
		Addr: "redis.example:6379", PoolSize: 8, MaxRetries: -1,
		Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, name.Load().(string))
		},
	})
	check(client.Set(ctx, "k", "old", 0).Err())
	use(ctx, client) // so that the pool has 8 connections

	host, port, _ := net.SplitHostPort(first)
	check(two.SlaveOf(ctx, host, port).Err())
	for two.Get(ctx, "k").Val() != "old" {
		time.Sleep(10 * time.Millisecond)
	}
	check(two.SlaveOf(ctx, "NO", "ONE").Err())
	check(one.SlaveOf(ctx, "127.0.0.1", "1").Err())
	name.Store(second)

	fmt.Println("write:", client.Set(ctx, "k", "new", 0).Err())
	fmt.Println("write:", redis.NewClient(&redis.Options{Addr: second}).Set(ctx, "k", "new", 0).Err())
	values := use(ctx, client)
	fmt.Println("reads over 8 connections:", values["old"], "old,", values["new"], "new")
}

// use reads k over each of 8 connections of the pool.
func use(ctx context.Context, client *redis.Client) map[string]int {
	values, conns := make(map[string]int), make([]*redis.Conn, 8)
	for i := range conns {
		conns[i] = client.Conn()
		values[conns[i].Get(ctx, "k").Val()]++
	}
	for _, c := range conns {
		check(c.Close()) // back to the pool
	}
	return values
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
write: READONLY You can't write against a read only replica.
write: <nil>
reads over 8 connections: 7 old, 1 new
SEEN
echo "as found"
