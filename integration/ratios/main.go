package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "ratios:", err)
		os.Exit(1)
	}
}

// plan is what is measured.
type plan struct {
	traces  []*trace
	heaps   []float64 // NearBytes, MiB
	shares  []float64 // room for so many percent of the keys
	value   int       // size of the values for heaps
	small   int       // likewise for shares
	reports report
}

func run() error {
	files := flag.String("traces", "", "files of traces, separated by commas")
	only := flag.String("only", "", "built-in traces to read, separated by commas; if empty, all of them")
	limit := flag.Int("reads", 1_000_000, "reads of each trace at most")
	heaps := flag.String("heap", "1,2,4,8", "values of NearBytes, in MiB")
	shares := flag.String("entries", "1,5,10,25", "rooms, in percent of the keys")
	value := flag.Int("value", 256, "bytes of a value where heaps are equal; 64 where entries are")
	into := flag.String("into", "", "file to put the report into, between its marks, and a plot beside it")
	flag.Parse()
	p := plan{value: *value, small: 64}
	var err error
	if p.heaps, err = numbers(*heaps); err != nil {
		return err
	}
	if p.shares, err = numbers(*shares); err != nil {
		return err
	}
	if err := p.read(*files, *only, *limit); err != nil {
		return err
	}
	if err := p.measure(); err != nil {
		return err
	}
	if _, err := os.Stdout.Write(p.reports.text()); err != nil || *into == "" {
		return err
	}
	return p.reports.put(*into)
}

func numbers(list string) (all []float64, err error) {
	for field := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' }) {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil || n <= 0 {
			return nil, fmt.Errorf("%q is no size", field)
		}
		all = append(all, n)
	}
	return all, nil
}

func (p *plan) read(files, only string, limit int) error {
	for path := range strings.FieldsFuncSeq(files, func(r rune) bool { return r == ',' }) {
		t, err := readTrace(path, limit)
		if err != nil {
			return err
		}
		p.traces = append(p.traces, t)
	}
	wanted := strings.Split(only, ",")
	for _, b := range builtIn {
		if only == "" || slices.Contains(wanted, b.name) {
			p.traces = append(p.traces, newTrace(b.name, b.make(limit)))
		}
	}
	return nil
}

// measure has every contender read every trace, one after the other.
func (p *plan) measure() error {
	for _, t := range p.traces {
		if err := p.measureHeaps(t); err != nil {
			return err
		}
		if err := p.measureEntries(t); err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) measureHeaps(t *trace) error {
	for _, mib := range p.heaps {
		ours, err := replay(t, nearbus, int(mib*(1<<20)), p.value)
		if err != nil {
			return err
		}
		guess := int(ours.heap) / (p.value + 150)
		if err := p.beside(t, sizeName(mib), ours, guess, p.value, byHeap); err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) measureEntries(t *trace) error {
	cost, err := costOfEntry(p.small)
	if err != nil {
		return err
	}
	for _, share := range p.shares {
		room := int(share * float64(len(t.keys)) / 100)
		if room*cost < 64<<10 {
			continue // less than a node may have
		}
		ours, err := replay(t, nearbus, room*cost, p.small)
		if err != nil {
			return err
		}
		if err := p.beside(t, fmt.Sprintf("%g %% of the keys", share), ours, room, p.small, byEntries); err != nil {
			return err
		}
	}
	return nil
}

func sizeName(mib float64) string { return fmt.Sprintf("%g MiB", mib) }

func (p *plan) beside(t *trace, room string, ours result, guess, value int, by measure) error {
	row := row{trace: t.name, room: room, by: by, results: []result{ours}}
	for _, who := range others {
		r, err := match(t, who, guess, value, by.of(ours), by.of)
		if err != nil {
			return err
		}
		row.results = append(row.results, r)
	}
	p.reports.rows = append(p.reports.rows, row)
	fmt.Fprintf(os.Stderr, "%s, %s: %.3g of otter's misses\n", t.name, room, row.beside(1))
	return nil
}
