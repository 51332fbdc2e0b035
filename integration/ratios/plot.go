package main

import (
	"bytes"
	"fmt"
	"html"
	"slices"
)

// Measures of the plot, in its own units.
const (
	panelWidth  = 250
	panelHeight = 190
	margin      = 36
	panelsInRow = 3
)

var colors = []string{"#d1603d", "#4a7fb0", "#8a8a8a"} // of the contenders, ours first

// panel is a trace measured in one way.
type panel struct {
	title string
	rows  []row
}

// plot draws hit ratios over room, a panel for each trace and measure.
func plot(rows []row) []byte {
	var panels []panel
	for _, r := range rows {
		title := r.trace + ", equal " + r.by.name
		i := slices.IndexFunc(panels, func(p panel) bool { return p.title == title })
		if i < 0 {
			i = len(panels)
			panels = append(panels, panel{title: title})
		}
		panels[i].rows = append(panels[i].rows, r)
	}
	width := panelsInRow * panelWidth
	height := (len(panels)+panelsInRow-1)/panelsInRow*panelHeight + 30
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="10">`+"\n", width, height, width, height)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	for i, name := range []string{nearbus.name, others[0].name, others[1].name} {
		fmt.Fprintf(&out, `<text x="%d" y="16" fill="%s" font-weight="bold">%s</text>`+"\n", margin+80*i, colors[i], name)
	}
	for i, p := range panels {
		p.draw(&out, i%panelsInRow*panelWidth, 30+i/panelsInRow*panelHeight)
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}

// draw draws the panel with its upper left corner at x and y. The rooms of its rows are
// equally far apart.
func (p *panel) draw(out *bytes.Buffer, x, y int) {
	left, right, top, bottom := x+margin, x+panelWidth-14, y+24, y+panelHeight-26
	low, high := 1.0, 0.0
	for _, r := range p.rows {
		for _, c := range r.results {
			low, high = min(low, 1-c.misses), max(high, 1-c.misses)
		}
	}
	span := max(high-low, 0.01)
	at := func(i int, hits float64) (float64, float64) {
		step := float64(right-left) / float64(max(1, len(p.rows)-1))
		return float64(left) + float64(i)*step, float64(bottom) - (hits-low)/span*float64(bottom-top)
	}
	fmt.Fprintf(out, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", left, y+12, html.EscapeString(p.title))
	for _, hits := range []float64{low, high} {
		_, line := at(0, hits)
		fmt.Fprintf(out, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#dddddd"/>`+"\n", left, line, right, line)
		fmt.Fprintf(out, `<text x="%d" y="%.1f" text-anchor="end" fill="#555555">%.0f %%</text>`+"\n", left-4, line+3, 100*hits)
	}
	for i, r := range p.rows {
		tick, _ := at(i, low)
		var number, unit string
		_, _ = fmt.Sscan(r.room, &number, &unit)
		fmt.Fprintf(out, `<text x="%.1f" y="%d" text-anchor="middle" fill="#555555">%s</text>`+"\n", tick, bottom+13, html.EscapeString(number+" "+unit))
	}
	for who, color := range slices.Backward(colors) { // ours on top
		fmt.Fprintf(out, `<polyline fill="none" stroke="%s" stroke-width="1.6" points="`, color)
		for i, r := range p.rows {
			px, py := at(i, 1-r.results[who].misses)
			fmt.Fprintf(out, "%.1f,%.1f ", px, py)
		}
		fmt.Fprintf(out, `"/>`+"\n")
		for i, r := range p.rows {
			px, py := at(i, 1-r.results[who].misses)
			fmt.Fprintf(out, `<circle cx="%.1f" cy="%.1f" r="2" fill="%s"/>`+"\n", px, py, color)
		}
	}
}
