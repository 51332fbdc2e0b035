package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/nearbus/nearbus/integration/servers"
)

func main() {
	given := make(map[string]*string)
	given["redis"] = flag.String("redis", "", "programs that speak the protocol of Redis, separated by spaces")
	given["memcached"] = flag.String("memcached", "", "programs that speak the protocol of Memcached")
	into := flag.String("into", "", "the page to write, beside the output")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *given["redis"] == "" && *given["memcached"] == "" {
		*given["redis"], *given["memcached"] = "redis-server", "memcached"
	}
	if err := run(ctx, given, *into); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var errFailed = errors.New("matrix: tests failed")

// trial is a server to be tested.
type trial struct {
	*table
	program string
	server  server
}

// run asks all servers who they are before it tests the first.
func run(ctx context.Context, given map[string]*string, into string) error {
	var trials []trial
	for _, t := range all {
		for program := range strings.FieldsSeq(*given[t.name]) {
			who, err := t.who(ctx, program)
			if err != nil {
				return fmt.Errorf("matrix: %s: %w", program, err)
			}
			trials = append(trials, trial{t, program, who})
		}
	}
	dir, err := os.MkdirTemp("", "nearbus-matrix-")
	if err != nil {
		return fmt.Errorf("matrix: %w", err)
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "integration.test")
	if err := build(ctx, binary); err != nil {
		return err
	}
	failed := false
	for _, t := range trials {
		row, err := t.test(ctx, binary)
		if err != nil {
			return err
		}
		fmt.Println(row)
		failed = failed || row.failed()
		if into != "" {
			if err := t.write(into, row); err != nil {
				return err
			}
		}
	}
	if failed {
		return errFailed
	}
	return nil
}

// who starts a program and asks it.
func (t *table) who(ctx context.Context, program string) (server, error) {
	if err := os.Setenv(t.variable, program); err != nil {
		return server{}, err
	}
	return t.ask(ctx)
}

// test runs the suites of the table, one after the other.
func (t trial) test(ctx context.Context, binary string) (row, error) {
	r := row{server: t.server.String(), date: time.Now().UTC().Format(time.DateOnly)}
	for _, s := range t.suites {
		result, err := runSuite(ctx, binary, s, t.variable+"="+t.program)
		if err != nil {
			return row{}, err
		}
		fmt.Printf("%-24s %-10s %s\n", r.server, s.name, result)
		r.add(result)
	}
	return r, nil
}

// all are the tables of the page.
var all = []*table{
	{name: "redis", variable: servers.RedisVariable, ask: askRedis, suites: redisSuites},
	{name: "memcached", variable: servers.MemcachedVariable, ask: askMemcached, suites: memcachedSuites},
}
