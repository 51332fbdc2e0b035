package main

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
)

//go:embed survivors.txt
var survivorsText string

// parseSurvivors reads the list of mutants that are known to survive, with why that does
// no harm: for each four lines, and an empty one between.
//
//	file function [which of several that look the same, from 0]
//	- line
//	+ what becomes of it
//	why
//
// Lines that begin with # are comments.
func parseSurvivors(text string) (map[id]string, error) {
	known := make(map[id]string)
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		lines := strings.Split(strings.TrimSpace(block), "\n")
		if strings.HasPrefix(lines[0], "#") || lines[0] == "" {
			continue
		}
		if len(lines) != 4 || !strings.HasPrefix(lines[1], "-") || !strings.HasPrefix(lines[2], "+") {
			return nil, fmt.Errorf("survivors: not four lines as they should be: %q", block)
		}
		where := strings.Fields(lines[0])
		if len(where) < 2 || len(where) > 3 {
			return nil, fmt.Errorf("survivors: not a file and a function: %q", lines[0])
		}
		m := id{File: where[0], Func: where[1], From: strings.TrimSpace(lines[1][1:]), To: strings.TrimSpace(lines[2][1:])}
		if len(where) == 3 {
			nth, err := strconv.Atoi(where[2])
			if err != nil {
				return nil, fmt.Errorf("survivors: %q: %w", lines[0], err)
			}
			m.Nth = nth
		}
		if _, twice := known[m]; twice {
			return nil, fmt.Errorf("survivors: listed twice: %q", block)
		}
		known[m] = lines[3]
	}
	return known, nil
}
