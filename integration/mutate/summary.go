package main

import (
	"fmt"
	"io"
	"slices"
)

// summary is what came of mutants.
type summary struct {
	all      []*result
	by       map[verdict][]*result
	unlisted []*result // survivors without a reason
	listed   []*result // with one
	killed   []*result // which are listed as survivors
	gone     []id      // listed, and no mutant
}

// summarize counts verdicts. known are the survivors that are listed, and mutants all that
// there are, for what the list names.
func summarize(all []*result, known map[id]string, mutants []mutant) *summary {
	s := &summary{all: all, by: make(map[verdict][]*result)}
	for _, r := range all {
		s.by[r.Verdict] = append(s.by[r.Verdict], r)
		_, listed := known[r.id]
		switch {
		case r.Verdict == survived && listed:
			s.listed = append(s.listed, r)
		case r.Verdict == survived:
			s.unlisted = append(s.unlisted, r)
		case listed:
			s.killed = append(s.killed, r)
		}
	}
	there := make(map[id]bool, len(mutants))
	for i := range mutants {
		there[mutants[i].id] = true
	}
	for m := range known {
		if !there[m] {
			s.gone = append(s.gone, m)
		}
	}
	slices.SortFunc(s.gone, func(a, b id) int {
		return slices.Compare([]string{a.File, a.Func, a.From}, []string{b.File, b.Func, b.From})
	})
	return s
}

// print prints what came of all.
func (s *summary) print(w io.Writer, known map[id]string, withTests bool) {
	for _, r := range s.unlisted {
		fmt.Fprintf(w, "survived: %s\n", &r.mutant)
	}
	for _, r := range s.listed {
		fmt.Fprintf(w, "survived, as is known: %s\n  %s\n", &r.mutant, known[r.id])
	}
	for _, r := range s.killed {
		fmt.Fprintf(w, "listed as a survivor, but %s (%s): %s\n", r.Verdict, r.How, &r.mutant)
	}
	for _, m := range s.gone {
		fmt.Fprintf(w, "listed as a survivor, but no mutant any more: %s %s\n  - %s\n  + %s\n", m.File, m.Func, m.From, m.To)
	}
	counted := len(s.all) - len(s.by[notCompiled])
	fmt.Fprintf(w, "%d mutants, of which %d did not compile\n", len(s.all), len(s.by[notCompiled]))
	row := func(v verdict) {
		fmt.Fprintf(w, "%d %s, after %.1f s in the median\n", len(s.by[v]), v, median(s.by[v]))
	}
	row(simulator)
	killed := len(s.by[simulator])
	if withTests {
		row(tests)
		killed += len(s.by[tests])
	}
	fmt.Fprintf(w, "%d survived, %d of them as is known\n", len(s.by[survived]), len(s.listed))
	if counted > 0 {
		fmt.Fprintf(w, "%.1f %% killed by the simulator, %.1f %% in all\n",
			100*float64(len(s.by[simulator]))/float64(counted), 100*float64(killed)/float64(counted))
	}
}

// ok reports whether nobody has anything to do.
func (s *summary) ok() bool { return len(s.unlisted)+len(s.killed)+len(s.gone) == 0 }

func median(of []*result) float64 {
	if len(of) == 0 {
		return 0
	}
	var all []float64
	for _, r := range of {
		all = append(all, r.Seconds)
	}
	slices.Sort(all)
	return all[len(all)/2]
}
