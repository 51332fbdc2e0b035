#!/usr/bin/env bash
# go-redis 9.23.0: a pipeline of a ClusterClient whose connection breaks after one of its
# commands was answered MOVED sends that command again to both servers at one time: to the
# new one, which MOVED named, and with all the others to the old one. Two goroutines then
# write the reply of one command, which the race detector reports.
#
# Guess before the run: after MOVED, only the server that it names gets the command; those
# that were left without an answer go to the old server again.
# Seen: the old server gets the redirected command a second time, together with a command
# that it had answered. Commands whose NoRetry method says true are redirected only.
#
# The two servers are small ones of this script: they answer GET and CLUSTER SLOTS. The first
# closes its connection once, instead of an answer. Needs: bash and Go with cgo.
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
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

type server struct {
	net.Listener
	get  func(key string) string // "" closes the connection
	mu   sync.Mutex
	seen []string
}

func listen() *server {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	return &server{Listener: l}
}

func (s *server) serve(slots string) {
	for {
		conn, err := s.Accept()
		check(err)
		go func() {
			defer conn.Close()
			for r := bufio.NewReader(conn); ; {
				args := read(r)
				if args == nil {
					return
				}
				reply := "-ERR unknown command\r\n"
				switch strings.ToLower(args[0]) {
				case "cluster":
					reply = slots
				case "get":
					s.mu.Lock()
					s.seen = append(s.seen, args[1])
					reply = s.get(args[1])
					s.mu.Unlock()
				}
				if reply == "" {
					return
				}
				fmt.Fprint(conn, reply)
			}
		}()
	}
}

func read(r *bufio.Reader) (args []string) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil
	}
	n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
	for range n {
		r.ReadString('\n')
		arg, _ := r.ReadString('\n')
		args = append(args, strings.TrimSpace(arg))
	}
	return args
}

type once struct{ *redis.Cmd }

func (once) NoRetry() bool { return true }

func main() {
	first, second := listen(), listen()
	broke := false
	first.get = func(key string) string {
		if key == "redirected" {
			return "-MOVED 0 " + second.Addr().String() + "\r\n"
		}
		if key == "unanswered" && !broke {
			broke = true
			return ""
		}
		return "$3\r\nold\r\n"
	}
	second.get = func(string) string { return "$3\r\nnew\r\n" }
	host, port, _ := net.SplitHostPort(first.Addr().String())
	slots := fmt.Sprintf("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$%d\r\n%s\r\n:%s\r\n", len(host), host, port)
	go first.serve(slots)
	go second.serve(slots)
	ctx := context.Background()
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{first.Addr().String()}})
	pipe := client.Pipeline()
	for _, key := range []string{"redirected", "answered", "unanswered"} {
		cmd := redis.NewCmd(ctx, "get", key)
		if os.Args[1] == "once" {
			pipe.Process(ctx, once{cmd})
			continue
		}
		pipe.Process(ctx, cmd)
	}
	pipe.Exec(ctx)
	first.mu.Lock()
	second.mu.Lock()
	fmt.Println("old server:", strings.Join(first.seen, " "))
	fmt.Println("new server:", strings.Join(second.seen, " "))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod tidy >/dev/null 2>&1
go build -race -o finding .
for way in plain once; do
	echo "$way"
	GORACE=exitcode=0 ./finding "$way" 2>"$way"
	if grep -q 'DATA RACE' "$way"; then echo "data race"; else echo "no data race"; fi
done >seen
diff - seen <<'SEEN'
plain
old server: redirected answered unanswered redirected answered unanswered
new server: redirected redirected
data race
once
old server: redirected answered unanswered
new server: redirected
no data race
SEEN
echo "as found"
