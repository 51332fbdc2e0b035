package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// kind is what a mutant changes.
type kind string

const (
	comparison kind = "comparison" // < for <=, == for !=
	negation   kind = "negation"   // a condition is negated
	logic      kind = "logic"      // && for ||
	extreme    kind = "extreme"    // min for max
	truth      kind = "truth"      // true for false
	constant   kind = "constant"   // a number is one higher
	statement  kind = "statement"  // a call, an assignment, a return or the like is dropped
)

// id tells a mutant from all others, and stays when lines move.
type id struct {
	File string `json:"file"` // below the root of the repository
	Func string `json:"func"`
	From string `json:"from"`          // the line, without spaces around it
	To   string `json:"to"`            // what becomes of it; empty if it is dropped
	Nth  int    `json:"nth,omitempty"` // how many of the same come before it in the function
}

// mutant is one change of one file.
type mutant struct {
	id
	Kind kind `json:"kind"`
	Line int  `json:"line"`

	start, end int    // of the bytes that are replaced
	with       string // by this

	number int     // in a program with all of them, from 1
	pieces []piece // that it has there; none: it has a program of its own
}

func (m *mutant) String() string {
	return fmt.Sprintf("%s:%d %s: %s\n  - %s\n  + %s", m.File, m.Line, m.Func, m.Kind, m.From, m.To)
}

// apply returns the source of the mutant.
func (m *mutant) apply(source []byte) []byte {
	return slices.Concat(source[:m.start], []byte(m.with), source[m.end:])
}

// edit is a change before it has a name.
type edit struct {
	fn         string
	kind       kind
	start, end int
	with       string
	pieces     []piece
}

// named returns the mutants of a file that these changes make, in the order of the file.
func named(file string, source []byte, edits []edit) []mutant {
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end)) })
	all, seen := make([]mutant, 0, len(edits)), make(map[id]int)
	for _, e := range edits {
		from, to := lines(source, e)
		m := mutant{
			id: id{File: file, Func: e.fn, From: from, To: to}, Kind: e.kind,
			Line: 1 + bytes.Count(source[:e.start], []byte("\n")), start: e.start, end: e.end, with: e.with, pieces: e.pieces,
		}
		m.Nth = seen[m.id]
		seen[id{File: file, Func: e.fn, From: from, To: to}]++
		all = append(all, m)
	}
	return all
}

// lines returns the line in which a change begins, before and after it. What is dropped
// may have more lines than that.
func lines(source []byte, e edit) (from, to string) {
	begin := bytes.LastIndexByte(source[:e.start], '\n') + 1
	end := len(source)
	if n := bytes.IndexByte(source[e.start:], '\n'); n >= 0 {
		end = e.start + n
	}
	from = string(source[begin:end])
	to = string(source[begin:e.start]) + e.with
	if e.end <= end {
		to += string(source[e.end:end])
	}
	return strings.TrimSpace(from), strings.TrimSpace(to)
}
