#!/usr/bin/env bash
# gocache lib/v4 4.2.4 with store/redis/v4 4.2.6: a loadable cache of a pointer type over
# Redis returns a nil pointer and no error for every value that Redis has. If the type has
# no MarshalBinary, Redis never gets the value: each read loads again, and Get, which drops
# the error of the Set behind it, returns none.
#
# Guess before the run: the first read loads; the following reads return the same value
# from Redis, or an error that says why they cannot.
# Seen: with MarshalBinary and UnmarshalBinary, the following reads return nil, nil, and do
# not load. Without, every read loads. Only a Set by hand says what is wrong: "implement
# encoding.BinaryMarshaler", which is the way from the second case to the first.
#
# Each read is made by a loadable cache of its own, as by one server of several: its Close
# stores what Get left to a goroutine. Needs: bash, Go, and redis-server (tried with 7.0.15
# of Debian 12).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >go.mod <<'MOD'
module finding

go 1.25

require (
	github.com/eko/gocache/lib/v4 v4.2.4
	github.com/eko/gocache/store/redis/v4 v4.2.6
	github.com/redis/go-redis/v9 v9.23.0
)
MOD
cat >main.go <<'GO'
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"time"

	"github.com/eko/gocache/lib/v4/cache"
	"github.com/eko/gocache/lib/v4/store"
	redisstore "github.com/eko/gocache/store/redis/v4"
	"github.com/redis/go-redis/v9"
)

type plain struct{ Name string }

type marshals struct{ Name string }

func (m *marshals) MarshalBinary() ([]byte, error)    { return json.Marshal(*m) }
func (m *marshals) UnmarshalBinary(data []byte) error { return json.Unmarshal(data, (*plain)(m)) }

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
	client := redis.NewClient(&redis.Options{Addr: addr})
	for client.Ping(ctx).Err() != nil {
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println("with MarshalBinary and UnmarshalBinary")
	read(ctx, client, "marshals", &marshals{"book"})
	fmt.Println("without")
	read(ctx, client, "plain", &plain{"book"})
	fmt.Println("Set:", cache.New[*plain](redisstore.NewRedis(client)).Set(ctx, "plain", &plain{"book"}))
}

// read reads a key three times and prints what came of it.
func read[T any](ctx context.Context, client *redis.Client, key string, value T) {
	loads := 0
	load := func(context.Context, any) (T, []store.Option, error) {
		loads++
		return value, nil, nil
	}
	for range 3 {
		c := cache.NewLoadable(load, cache.New[T](redisstore.NewRedis(client)))
		got, err := c.Get(ctx, key)
		check(c.Close())
		inRedis := "nothing"
		if data, err := client.Get(ctx, key).Result(); err == nil {
			inRedis = data
		}
		fmt.Printf("got %v, error %v, %d loads, in Redis %s\n", got, err, loads, inRedis)
	}
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
with MarshalBinary and UnmarshalBinary
got &{book}, error <nil>, 1 loads, in Redis {"Name":"book"}
got <nil>, error <nil>, 1 loads, in Redis {"Name":"book"}
got <nil>, error <nil>, 1 loads, in Redis {"Name":"book"}
without
got &{book}, error <nil>, 1 loads, in Redis nothing
got &{book}, error <nil>, 2 loads, in Redis nothing
got &{book}, error <nil>, 3 loads, in Redis nothing
Set: redis: can't marshal *main.plain (implement encoding.BinaryMarshaler)
SEEN
echo "as found"
