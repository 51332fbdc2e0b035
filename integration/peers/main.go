package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strings"
	"time"
)

// section is a part of the report.
type section struct {
	name, about string
	run         func(*env) []row
}

func sections() []section {
	return []section{
		{"hits", "What is in the memory of the process, read 100,000 keys of 16 bytes resident.", hits},
		{"busy", "The same while other keys are invalidated.", busyHits},
		{"shared", "What is in Redis and not in the memory of the process: a struct, decoded.", sharedHits},
		{"writes", "A write that is in the journal and announced, with one subscriber; beside it a pipeline of SET, XADD and PUBLISH.", writes},
		{"fresh", "A value that this process has just filled, read at once: how often it is in its memory.", fresh},
		{"absorb", "Invalidations that one node takes in, with 100,000 keys resident; none lost, its memory flat.", absorb},
		{"cold", "A key that nobody has, asked for by 64 callers on each of 8 nodes at once.", cold},
		{"delivery", "From a write to when the last of three other nodes has applied it.", delivery},
	}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run() error {
	only := flag.String("only", "", "sections to run, separated by commas; all of them if empty")
	rounds := flag.Int("rounds", 7, "turns of each contender")
	turn := flag.Duration("turn", 60*time.Millisecond, "how long a turn lasts, about")
	profile := flag.String("profile", "", "file for a profile of the processors' time")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	var report bytes.Buffer
	var results []result
	for _, s := range sections() {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), s.name) {
			continue
		}
		began := time.Now()
		rows, err := s.in(newEnv(ctx, *rounds, *turn))
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %v\n", s.name, time.Since(began).Round(time.Second))
		fmt.Fprintf(&report, "%s\n\n", s.about)
		writeRows(&report, rows)
		for i := range rows {
			results = append(results, rows[i].results(s.name)...)
		}
	}
	writeResults(&report, results)
	_, err := os.Stdout.Write(report.Bytes())
	return errors.Join(err)
}

// in runs the section and returns what it panicked with, if that was a failure.
func (s *section) in(e *env) (rows []row, err error) {
	defer e.close()
	defer func() {
		switch f := recover().(type) {
		case nil:
		case failure:
			err = f.err
		default:
			panic(f)
		}
	}()
	return s.run(e), nil
}
