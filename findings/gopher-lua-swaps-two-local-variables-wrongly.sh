#!/usr/bin/env bash
# gopher-lua 1.1.2: an assignment to several local variables takes what it has just assigned.
# "a, b = b, a" gives both the value of b, and "a, b = nil, a" makes both nil. With Lua 5.1, as in
# Redis, all values on the right are taken first. Versions 1.1.0 and 1.1.1 do the same. miniredis runs
# scripts with gopher-lua, so a script that is right on Redis can be wrong in a test, or the other way round.
#
# Guess before the run: what the manual of Lua 5.1 says (2.4.3, the swap is its example), so 2 1.
# Seen: 2 2 in gopher-lua, 2 1 in Redis. Fields of a table are swapped in both.
#
# Needs: bash, Go, and redis-server (tried with 7.0.15 of Debian 12).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >go.mod <<'MOD'
module finding

go 1.24

require (
	github.com/redis/go-redis/v9 v9.23.0
	github.com/yuin/gopher-lua v1.1.2
)
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
	lua "github.com/yuin/gopher-lua"
)

var scripts = []string{
	"local a, b = 1, 2; a, b = b, a; return {a, b}",
	"local a, b = 1, 2; a, b = 7, a; return {a, b}",
	"local t = {1, 2}; t[1], t[2] = t[2], t[1]; return t",
}

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
	client := redis.NewClient(&redis.Options{Addr: addr})
	for client.Ping(ctx).Err() != nil {
		time.Sleep(10 * time.Millisecond)
	}
	for _, script := range scripts {
		real, err := client.Eval(ctx, script, nil).Slice()
		check(err)
		state := lua.NewState()
		check(state.DoString(script))
		table := state.CheckTable(1)
		fmt.Println(script, "| Redis:", real[0], real[1], "| gopher-lua:", table.RawGetInt(1), table.RawGetInt(2))
	}
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
local a, b = 1, 2; a, b = b, a; return {a, b} | Redis: 2 1 | gopher-lua: 2 2
local a, b = 1, 2; a, b = 7, a; return {a, b} | Redis: 7 1 | gopher-lua: 7 7
local t = {1, 2}; t[1], t[2] = t[2], t[1]; return t | Redis: 2 1 | gopher-lua: 2 1
SEEN
echo "as found"
