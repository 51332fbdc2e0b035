package main

import (
	"fmt"
	"io"
)

const row = "%-18s %-20s %11s %7s %8s  %-6s %s\n"

func printHead(w io.Writer) {
	fmt.Fprintf(w, row, "model", "rules", "states", "depth", "seconds", "found", "sizes")
}

func printRow(w io.Writer, r *result) {
	fmt.Fprintf(w, row, r.m.name, r.rules(), fmt.Sprint(r.states), fmt.Sprint(r.depth), fmt.Sprintf("%.1f", r.took.Seconds()), r.outcome(), r.sizes)
}

func (r *result) outcome() string {
	if r.found {
		return "yes"
	}
	return "none"
}
