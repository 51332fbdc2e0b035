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
		{"hits", "What is in the memory of the process, read; 100,000 keys of 16 bytes resident.", hits},
		{"busy", "The same while other keys are invalidated.", busyHits},
		{"fresh", "A value that this process has just filled, read at once: how often it is in its memory.", fresh},
		{"shared", "What is in Redis and not in the memory of the process: a struct, decoded.", sharedHits},
		{"writes", "A write that is in the journal and announced, with one subscriber; beside it a pipeline of SET, XADD and PUBLISH.", writes},
		{"many", "Many keys by one call, by one caller: written, and loaded that nobody has. A struct each.", many},
		{"mixed", "Three nodes in one program, four workers on each, 100,000 keys of 256 bytes by Zipf, of which all are in Redis and some near: reads and writes in turn. The fleets with ristretto are put together by hand and promise nothing; one of them writes by a script of SET, XADD and PUBLISH, which is the least that a write with a journal costs.", mixed},
		{"far", "What is in Redis and not in the memory of the process, and writes, by 64 callers over a round trip that a relay makes: bytes, 3,000 keys, pools of 64 connections.", far},
		{"delivery", "From a write to when the last of three other nodes has applied it.", delivery},
		{"absorb", "Invalidations that one node takes in, with 100,000 keys resident; none lost, its memory flat.", absorb},
		{"cold", "A key that nobody has, asked for by 64 callers on each of 8 nodes at once.", cold},
		{"memory", "What the memory of the process holds.", memory},
		{"scale", "Ten times as much of it, in one process.", scale},
		{"stores", "The same over Redis and over Memcached, through this library; the bus of both is in Redis.", stores},
		{"restart", "Five nodes restart one after the other while each is read 500 times a second, by Zipf; Redis is a round trip of 1 ms away and has all 100,000 values. Then five nodes that begin at once over an empty Redis, each read 400 times a second; a call of the source takes 20 ms.", restart},
		{"idle", "A node that nobody asks anything, its shared tier and its bus in Redis.", idle},
	}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run() error {
	only := flag.String("only", "", "sections to run, separated by commas; if empty, all of them but stores and restart")
	rounds := flag.Int("rounds", 7, "turns of each contender")
	turn := flag.Duration("turn", 60*time.Millisecond, "how long a turn lasts, about")
	into := flag.String("into", "", "file to put the report into, between its marks, and a plot beside it")
	profile := flag.String("profile", "", "file for a profile of where the time of processors goes")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
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
	var chosen []section
	for _, s := range sections() {
		if *only == "" && s.name != "stores" && s.name != "restart" || slices.Contains(strings.Split(*only, ","), s.name) {
			chosen = append(chosen, s)
		}
	}
	r, failed := runSections(ctx, chosen, *rounds, *turn)
	if *only == "restart" {
		r.circumstances(fmt.Sprintf("%d nodes", restartNodes))
	} else {
		r.circumstances(fmt.Sprintf("%d turns of about %v", *rounds, *turn))
	}
	_, err := os.Stdout.Write(r.text())
	if *into != "" {
		err = errors.Join(err, r.put(*into))
	}
	return errors.Join(failed, err)
}

// runSections runs them all, also if some fail.
func runSections(ctx context.Context, chosen []section, rounds int, turn time.Duration) (r report, failed error) {
	r.began, r.loadBefore = time.Now(), load()
	for _, s := range chosen {
		began := time.Now()
		rows, err := s.in(newEnv(ctx, rounds, turn))
		if err != nil {
			err = fmt.Errorf("%s: %w", s.name, err)
			failed = errors.Join(failed, err)
			fmt.Fprintf(&r.body, "Failed: %v\n\n", err)
		}
		fmt.Fprintf(os.Stderr, "%s: %v\n", s.name, time.Since(began).Round(time.Second))
		r.add(&s, rows)
		if ctx.Err() != nil {
			break
		}
	}
	return r, failed
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

// report is what is written.
type report struct {
	began      time.Time
	loadBefore string
	head       bytes.Buffer // the circumstances
	body       bytes.Buffer // a table for each section
	results    []result
	bars       []group
}

func (r *report) add(s *section, rows []row) {
	fmt.Fprintf(&r.body, "### %s\n\n%s\n\n", strings.ToUpper(s.name[:1])+s.name[1:], s.about)
	writeRows(&r.body, rows)
	for i := range rows {
		r.results = append(r.results, rows[i].results(s.name)...)
		if s.name == "hits" {
			r.bars = append(r.bars, rows[i].bars())
		}
	}
}

func (r *report) text() []byte {
	var out bytes.Buffer
	out.Write(r.head.Bytes())
	if len(r.results) > 0 {
		writeResults(&out, r.results)
	}
	out.Write(r.body.Bytes())
	return out.Bytes()
}
