package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// row is one kind of work and how everybody did. The first of the cells is what
// targets are about.
type row struct {
	work    string
	unit    unit
	cells   []cell
	targets []target
}

// target is how our figure is to be related to that of another: at most limit
// times that, or, where more is better, at least.
type target struct {
	against string
	limit   float64
}

// unit says how a figure is written, and whether more is better.
type unit struct {
	name   string
	more   bool
	digits func(float64) string
}

var (
	nanoseconds  = unit{"ns", false, significant}
	microseconds = unit{"µs", false, significant}
	milliseconds = unit{"ms", false, significant}
	perSecond    = unit{"/s", true, thousands}
	percent      = unit{"%", true, significant}
	bytesEach    = unit{"B", false, significant}
	number       = unit{"", false, significant}
	percentSpent = unit{"%", false, significant}
)

func significant(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

func thousands(v float64) string {
	if v >= 1e6 {
		return fmt.Sprintf("%.3gM", v/1e6)
	}
	return fmt.Sprintf("%.0fk", v/1e3)
}

// figure is a median with its spread.
func (u unit) figure(c *cell) string {
	m := c.median() // sorts
	if len(c.samples) == 1 {
		return u.digits(m)
	}
	return fmt.Sprintf("%s [%s..%s]", u.digits(m), u.digits(c.samples[0]), u.digits(c.samples[len(c.samples)-1]))
}

// result is what became of a target.
type result struct {
	section, work, against string
	limit, reached         float64
	more                   bool
}

func (r *result) met() bool {
	if r.more {
		return r.reached >= r.limit
	}
	return r.reached <= r.limit
}

func (r *row) cell(who string) *cell {
	for i := range r.cells {
		if r.cells[i].who == who {
			return &r.cells[i]
		}
	}
	return nil
}

// results judges the targets of a row. The reached figure is the median of the
// ratios of each round, in which both met the same mood of the machine.
func (r *row) results(section string) []result {
	var all []result
	for _, t := range r.targets {
		res := result{section, r.work, t.against, t.limit, 0, r.unit.more}
		if other := r.cell(t.against); other != nil {
			res.reached = r.cells[0].median() / other.median()
		} else { // a limit of its own
			res.reached = r.cells[0].median()
		}
		all = append(all, res)
	}
	return all
}

// writeRows writes a table for rows that have the same contenders, and begins
// another where they differ.
func writeRows(w io.Writer, rows []row) {
	for i := 0; i < len(rows); {
		n := 1
		for i+n < len(rows) && sameContenders(rows[i], rows[i+n]) {
			n++
		}
		var lines [][]string
		head := []string{"work"}
		for _, c := range rows[i].cells {
			head = append(head, c.who)
		}
		lines = append(lines, head)
		for _, r := range rows[i : i+n] {
			name := r.work
			if r.unit.name != "" {
				name += ", " + r.unit.name
			}
			line := []string{name}
			for k := range r.cells {
				line = append(line, r.unit.figure(&r.cells[k]))
			}
			lines = append(lines, line)
		}
		writeTable(w, lines)
		i += n
	}
}

func sameContenders(a, b row) bool {
	if len(a.cells) != len(b.cells) {
		return false
	}
	for i := range a.cells {
		if a.cells[i].who != b.cells[i].who {
			return false
		}
	}
	return true
}

func writeResults(w io.Writer, results []result) {
	lines := [][]string{{"section", "work", "beside", "aim", "reached", ""}}
	for _, r := range results {
		sign, mark := "≤ ", "met"
		if r.more {
			sign = "≥ "
		}
		if !r.met() {
			mark = "**missed**"
		}
		digits := significant
		if r.limit >= 1e4 {
			digits = thousands
		}
		lines = append(lines, []string{
			r.section, r.work, r.against, sign + digits(r.limit), digits(r.reached), mark,
		})
	}
	writeTable(w, lines)
}

func writeTable(w io.Writer, lines [][]string) {
	rule := make([]string, len(lines[0]))
	for i := range rule {
		rule[i] = "---"
	}
	tw := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	for i, line := range lines {
		fmt.Fprintf(tw, "| %s\t|\n", strings.Join(line, "\t| "))
		if i == 0 {
			fmt.Fprintf(tw, "| %s\t|\n", strings.Join(rule, "\t| "))
		}
	}
	tw.Flush()
	fmt.Fprintln(w)
}
