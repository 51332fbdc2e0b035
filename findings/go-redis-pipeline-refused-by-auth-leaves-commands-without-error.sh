#!/usr/bin/env bash
# go-redis 9.23.0: if a server refuses the connection of a pipeline, for a wrong password,
# Pipelined returns the error and the commands have none. A program that looks at each
# command's own error, as one does where commands may fail apart, takes nil for an answer.
#
# Guess before the run: each command of the pipeline has the error WRONGPASS, as a single
# command has.
# Seen: the error of Pipelined is WRONGPASS; the error of each command in it is nil, and
# so is its value. A single command has WRONGPASS.
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
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	check(l.Close())
	server := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--requirepass", "right", "--save", "")
	check(server.Start())
	defer server.Process.Kill()
	ctx := context.Background()
	admin := redis.NewClient(&redis.Options{Addr: addr, Password: "right"})
	for admin.Ping(ctx).Err() != nil {
		time.Sleep(10 * time.Millisecond)
	}
	client := redis.NewClient(&redis.Options{Addr: addr, Password: "wrong"})
	single := client.Do(ctx, "get", "k")
	fmt.Println("single command:", word(single.Err()))
	var one, two *redis.Cmd
	_, err = client.Pipelined(ctx, func(p redis.Pipeliner) error {
		one, two = p.Do(ctx, "get", "k"), p.Do(ctx, "get", "l")
		return nil
	})
	fmt.Println("pipeline:", word(err))
	fmt.Println("its commands:", word(one.Err()), one.Val(), word(two.Err()), two.Val())
}

func word(err error) string {
	if err == nil {
		return "no error"
	}
	text, _, _ := strings.Cut(err.Error(), " ")
	return text
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
single command: WRONGPASS
pipeline: WRONGPASS
its commands: no error <nil> no error <nil>
SEEN
echo "as found"
