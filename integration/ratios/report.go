package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/nearbus/nearbus/integration/page"
)

// The report goes between these marks.
const (
	beginMark = "<!-- ratios: begin -->\n"
	endMark   = "<!-- ratios: end -->"
)

// measure is what is equal in a row.
type measure struct {
	name string
	of   func(result) float64
}

var (
	byHeap    = measure{"heap", func(r result) float64 { return r.heap }}
	byEntries = measure{"entries", func(r result) float64 { return r.entries }}
)

// row is how the contenders did on one trace with one size, nearbus first.
type row struct {
	trace, room string
	by          measure
	results     []result
}

// beside returns our misses as a multiple of those of a contender.
func (r *row) beside(contender int) float64 {
	return r.results[0].misses / r.results[contender].misses
}

type report struct{ rows []row }

func (r *report) text() []byte {
	var out bytes.Buffer
	for _, by := range []measure{byHeap, byEntries} {
		r.table(&out, by)
	}
	return out.Bytes()
}

func (r *report) table(out *bytes.Buffer, by measure) {
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintf(w, "| trace\t| room\t| heap, MiB\t| entries\t| nearbus, %%\t| otter, %%\t| ristretto, %%\t| misses beside otter\t| of ristretto\t|\n")
	fmt.Fprintf(w, "| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t|\n")
	found := false
	for _, row := range r.rows {
		if row.by.name != by.name {
			continue
		}
		found = true
		ours := row.results[0]
		fmt.Fprintf(w, "| %s\t| %s\t| %.2f\t| %.0f\t", row.trace, row.room, ours.heap/(1<<20), ours.entries)
		for _, result := range row.results {
			fmt.Fprintf(w, "| %.2f\t", 100*(1-result.misses))
		}
		fmt.Fprintf(w, "| %.2f\t| %.2f\t|\n", row.beside(1), row.beside(2))
	}
	if !found {
		return
	}
	fmt.Fprintf(out, "Equal %s:\n\n", by.name)
	_ = w.Flush() // into memory
	fmt.Fprintf(out, "\n")
}

// put writes the report into a file, between its marks, and a plot beside it.
func (r *report) put(path string) error {
	if err := page.Put(path, beginMark, endMark, r.text()); err != nil {
		return err
	}
	svg := filepath.Join(filepath.Dir(path), "ratios.svg")
	return os.WriteFile(svg, plot(r.rows), 0o644) //nolint:gosec // documentation is for everybody
}
