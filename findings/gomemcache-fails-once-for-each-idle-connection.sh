#!/usr/bin/env bash
# gomemcache (v0.0.0-20260422231931-4d751bb6e37c): after its memcached was restarted on the
# same port, each connection that the client had kept idle costs one call. With
# MaxIdleConns 16, the first 16 calls fail with EOF, one after the other, though the server
# answers again.
#
# Guess before the run: the first call fails, the client drops what it kept for that
# server, and the second call succeeds.
# Seen: 16 calls fail and the 17th succeeds. Nothing but Client.Close drops what is kept.
#
# Needs: bash, Go, and memcached (tried with 1.6.18 of Debian 12).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >go.mod <<'MOD'
module finding

go 1.24

require github.com/bradfitz/gomemcache v0.0.0-20260422231931-4d751bb6e37c
MOD
cat >main.go <<'GO'
package main

import (
	"fmt"
	"net"
	"os/exec"
	"sync"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

func start(port string) *exec.Cmd {
	server := exec.Command("memcached", "-u", "root", "-l", "127.0.0.1", "-p", port)
	if err := server.Start(); err != nil {
		panic(err)
	}
	for {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			c.Close()
			return server
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	server := start(port)
	client := memcache.New("127.0.0.1:" + port)
	client.Timeout, client.MaxIdleConns = 5*time.Second, 16
	var all sync.WaitGroup
	for range 16 { // large values, so that the calls overlap
		all.Add(1)
		go func() {
			defer all.Done()
			for range 50 {
				if err := client.Set(&memcache.Item{Key: "k", Value: make([]byte, 512<<10)}); err != nil {
					panic(err)
				}
			}
		}()
	}
	all.Wait()
	server.Process.Kill()
	server.Wait()
	server = start(port)
	defer server.Process.Kill()
	failed := 0
	for {
		if _, err := client.Get("k"); err == memcache.ErrCacheMiss {
			break
		} else if failed++; failed > 100 {
			panic(err)
		}
	}
	fmt.Println("calls that failed after the restart:", failed)
}
GO
go mod tidy >/dev/null 2>&1
go run . >seen
diff - seen <<'SEEN'
calls that failed after the restart: 16
SEEN
echo "as found"
