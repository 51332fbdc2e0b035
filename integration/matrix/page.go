package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// notRun stands in the last column of a row without a run.
const notRun = "not run"

// row is a line of a table.
type row struct {
	server string
	cells  []string // one for each suite
	fails  []string
	date   string
}

func (r *row) add(s result) {
	r.cells = append(r.cells, s.String())
	for _, name := range s.failed {
		if name = "`" + name + "`"; !slices.Contains(r.fails, name) {
			r.fails = append(r.fails, name)
		}
	}
}

func (r row) failed() bool { return len(r.fails) > 0 }

func (r row) String() string {
	fails := "none"
	if r.failed() {
		fails = strings.Join(r.fails, ", ")
	}
	if r.date == notRun {
		fails = ""
	}
	cells := append(append([]string{r.server}, r.cells...), fails, r.date)
	return "| " + strings.Join(cells, " | ") + " |"
}

// rowOf reads a line of a table.
func rowOf(line string, suites int) (row, error) {
	cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
	if len(cells) != suites+3 {
		return row{}, fmt.Errorf("a row of %d cells, not %d: %s", len(cells), suites+3, line)
	}
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	r := row{server: cells[0], cells: cells[1 : suites+1], date: cells[suites+2]}
	if fails := cells[suites+1]; fails != "none" && fails != "" {
		r.fails = strings.Split(fails, ", ")
	}
	return r, nil
}

// product and version of a row. A row without a run may have no version, or a part of one.
func (r row) product() string { product, _, _ := strings.Cut(r.server, " "); return product }

func (r row) version() string { _, version, _ := strings.Cut(r.server, " "); return version }

// givesWayTo reports whether a row is replaced by one of a run.
func (r row) givesWayTo(run row) bool {
	if r.server == run.server {
		return true
	}
	within := r.version() == "" || strings.HasPrefix(run.version(), r.version()+".")
	return r.date == notRun && r.product() == run.product() && within
}

// older compares versions by their numbers.
func older(a, b string) bool { return slices.Compare(numbers(a), numbers(b)) < 0 }

// put returns the rows with that of a run, which follows those of its product that are older.
func put(rows []row, run row) []row {
	var products []string
	for _, r := range rows {
		products = append(products, r.product())
	}
	rows = append(slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.givesWayTo(run) }), run)
	products = append(products, run.product())
	slices.SortStableFunc(rows, func(a, b row) int {
		return cmp.Or(
			cmp.Compare(slices.Index(products, a.product()), slices.Index(products, b.product())),
			slices.Compare(numbers(a.version()), numbers(b.version())))
	})
	return rows
}

// text returns the lines of a table.
func (t *table) text(rows []row) string {
	var b strings.Builder
	b.WriteString("| server |")
	for _, s := range t.suites {
		b.WriteString(" " + s.name + " |")
	}
	b.WriteString(" failed | date |\n|" + strings.Repeat("---|", len(t.suites)+3) + "\n")
	for _, r := range rows {
		b.WriteString(r.String() + "\n")
	}
	return b.String()
}

var errNoPlace = errors.New("no place for the table")

// place returns the parts of a page before, in and after the table.
func (t *table) place(page string) (before, rows, after string, err error) {
	begin, end := "<!-- "+t.name+": begin -->\n", "<!-- "+t.name+": end -->\n"
	before, rest, found := strings.Cut(page, begin)
	rows, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return "", "", "", fmt.Errorf("%w: it stands between %q and %q", errNoPlace, begin, end)
	}
	return before + begin, rows, end + after, nil
}

// rows returns those of a table on a page.
func (t *table) rows(text string) (rows []row, err error) {
	lines := slices.Collect(strings.Lines(text))
	for _, line := range lines[min(2, len(lines)):] {
		r, err := rowOf(line, len(t.suites))
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// write puts the row of a run into a page.
func (t *table) write(page string, run row) error {
	old, err := os.ReadFile(page)
	if err != nil {
		return fmt.Errorf("matrix: %w", err)
	}
	before, table, after, err := t.place(string(old))
	if err != nil {
		return fmt.Errorf("matrix: %s: %w", page, err)
	}
	rows, err := t.rows(table)
	if err != nil {
		return fmt.Errorf("matrix: %s: %w", page, err)
	}
	if err := os.WriteFile(page, []byte(before+t.text(put(rows, run))+after), 0o644); err != nil {
		return fmt.Errorf("matrix: %w", err)
	}
	return nil
}
