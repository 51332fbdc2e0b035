package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
)

// group is the bars of one kind of work.
type group struct {
	title string
	bars  []bar
}

type bar struct {
	who             string
	value           float64
	lowest, highest float64
}

func (r *row) bars() group {
	g := group{title: r.work + ", " + r.unit.name}
	for i := range r.cells {
		c := &r.cells[i]
		m := c.median() // sorts
		g.bars = append(g.bars, bar{c.who, m, c.samples[0], c.samples[len(c.samples)-1]})
	}
	return g
}

// Measures of the plot, in its own units.
const (
	plotWidth  = 760
	barHeight  = 14
	labelWidth = 130
	scaleWidth = plotWidth - labelWidth - 70
)

// plot draws groups of bars over one logarithmic scale: a line shows the spread.
func plot(groups []group) []byte {
	low, high := math.Inf(1), 1.0
	bars := 0
	for _, g := range groups {
		for _, b := range g.bars {
			low, high = min(low, b.lowest), max(high, b.highest)
			bars++
		}
	}
	from, to := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	x := func(v float64) float64 {
		return labelWidth + (math.Log10(v)-from)/(to-from)*scaleWidth
	}
	height := bars*(barHeight+3) + len(groups)*34 + 30
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", plotWidth, height, plotWidth, height)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", plotWidth, height)
	for p := from; p <= to; p++ {
		at := x(math.Pow(10, p))
		fmt.Fprintf(&out, `<line x1="%.1f" y1="18" x2="%.1f" y2="%d" stroke="#dddddd"/>`+"\n", at, at, height-8)
		fmt.Fprintf(&out, `<text x="%.1f" y="12" text-anchor="middle" fill="#555555">%g ns</text>`+"\n", at, math.Pow(10, p))
	}
	y := 22
	for _, g := range groups {
		y += 22
		fmt.Fprintf(&out, `<text x="4" y="%d" font-weight="bold">%s</text>`+"\n", y, html.EscapeString(g.title))
		y += 8
		for i, b := range g.bars {
			color := "#9db4c8"
			if i == 0 {
				color = "#d1603d"
			}
			middle := y + barHeight/2
			fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labelWidth-6, middle+4, html.EscapeString(b.who))
			fmt.Fprintf(&out, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", labelWidth, y, x(b.value)-labelWidth, barHeight, color)
			fmt.Fprintf(&out, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#333333"/>`+"\n", x(b.lowest), middle, x(b.highest), middle)
			fmt.Fprintf(&out, `<text x="%.1f" y="%d">%s</text>`+"\n", x(b.highest)+5, middle+4, significant(b.value))
			y += barHeight + 3
		}
		y += 4
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}
