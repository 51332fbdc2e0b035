package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/integration/servers"
)

// server is who a server says that it is.
type server struct{ product, version string }

func (s server) String() string { return s.product + " " + s.version }

// oldest are the versions that nearbus needs.
var oldest = map[string]string{"Redis": "6.0", "Memcached": "1.6"}

// products are the fields of INFO by which servers say what they are. All of them say
// redis_version too.
var products = []struct{ field, product string }{
	{"valkey_version", "Valkey"},
	{"redict_version", "Redict"},
	{"dragonfly_version", "Dragonfly"},
	{"garnet_version", "Garnet"},
	{"kvrocks_version", "kvrocks"},
}

// askRedis starts the program and asks it.
func askRedis(ctx context.Context) (server, error) {
	process, err := servers.StartRedis(ctx)
	if err != nil {
		return server{}, err
	}
	defer process.Stop()
	client := redis.NewClient(&redis.Options{Addr: process.Addr})
	defer client.Close()
	info, err := client.Info(ctx).Result()
	if err != nil {
		return server{}, fmt.Errorf("INFO: %w", err)
	}
	return whoSays(info)
}

// whoSays returns who a server is that gave this answer to INFO.
func whoSays(info string) (server, error) {
	fields := make(map[string]string)
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		fields[name] = value
	}
	s := server{"Redis", fields["redis_version"]}
	if _, forked := fields["mvcc_depth"]; forked {
		s.product = "KeyDB" // its redis_version is its own
	}
	for _, p := range products {
		if version := fields[p.field]; version != "" {
			s = server{p.product, strings.TrimLeft(version, "dfv-")}
		}
	}
	return s, s.check()
}

// askMemcached starts the program and asks it.
func askMemcached(ctx context.Context) (server, error) {
	process, err := servers.StartMemcached(ctx)
	if err != nil {
		return server{}, err
	}
	defer process.Stop()
	conn, err := net.Dial("tcp", process.Addr)
	if err != nil {
		return server{}, err
	}
	defer conn.Close()
	const patience = 10 * time.Second
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return server{}, err
	}
	if _, err := conn.Write([]byte("version\r\n")); err != nil {
		return server{}, err
	}
	line, err := bufio.NewReader(conn).ReadBytes('\n')
	if err != nil {
		return server{}, fmt.Errorf("version: %w", err)
	}
	version, _ := bytes.CutPrefix(bytes.TrimSpace(line), []byte("VERSION "))
	s := server{"Memcached", string(version)}
	return s, s.check()
}

var errTooOld = errors.New("too old")

// check returns an error for a server that says no version, or one that nearbus cannot use.
func (s server) check() error {
	if len(numbers(s.version)) == 0 {
		return fmt.Errorf("says the version %q, which is none", s.version)
	}
	if need := oldest[s.product]; need != "" && older(s.version, need) {
		return fmt.Errorf("is %s, %w: nearbus needs %s or later", s, errTooOld, need)
	}
	return nil
}

// numbers returns the parts of a version before the first that is not a number.
func numbers(version string) (parts []int) {
	for part := range strings.SplitSeq(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		parts = append(parts, n)
	}
	return parts
}
