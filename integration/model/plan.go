package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// plan is what is searched.
type plan struct {
	only  string // model; all if empty
	off   string // the rule that is left out, which is all that is searched then
	full  bool   // sizes that take minutes as well
	quick bool   // what is found need not be the shortest way to it
}

// unknown is the error of a plan of nothing.
func (p plan) unknown(models []*model) error {
	var names []string
	for _, m := range models {
		name := strings.TrimSuffix(m.file, ".pml")
		if p.only == name || p.only == m.name {
			return fmt.Errorf("model %q has no rule %q", p.only, p.off)
		}
		names = append(names, name)
	}
	if p.only == "" {
		return fmt.Errorf("no model has a rule %q", p.off)
	}
	return fmt.Errorf("there is no model %q: want one of %s", p.only, strings.Join(names, ", "))
}

// proofs are the searches with all rules in force.
func (m *model) proofs(full bool) (all []search) {
	for _, size := range m.small {
		all = append(all, search{m: m, sizes: size})
	}
	if full {
		for _, size := range m.full {
			all = append(all, search{m: m, sizes: size, long: true})
		}
	}
	if m.progress != "" {
		for _, size := range m.small {
			all = append(all, search{m: m, sizes: size, live: true})
		}
	}
	return all
}

// prove runs a search with all rules in force, which must find nothing.
func (s search) prove(ctx context.Context) (*result, error) {
	r, err := s.run(ctx)
	if err == nil && r.found {
		err = fmt.Errorf("%s: a promise is broken:\n%s", s, strings.Join(r.steps, "\n"))
	}
	return r, err
}

// without searches the model without a rule, at one size after the other, until
// something is found. What is found, or that nothing is, must be what the header says.
func (m *model) without(ctx context.Context, left rule, p plan) (all []*result, err error) {
	sizes := m.small
	switch {
	case p.full && left.kind == spare:
		sizes = slices.Concat(m.small, m.full[:1])
	case left.kind == spare:
		sizes = sizes[:1]
	case left.at > 0:
		sizes = sizes[left.at-1 : left.at]
	}
	for _, size := range sizes {
		s := search{m: m, sizes: size, off: left.name, live: left.kind == lively, expect: left.kind != spare, quick: p.quick}
		r, err := s.run(ctx)
		if err != nil {
			return all, err
		}
		all = append(all, r)
		if r.found {
			break
		}
	}
	found := all[len(all)-1].found
	switch {
	case found && left.kind == spare:
		return all, fmt.Errorf("%s: rule %s is said to be spare, and is not", m.name, left.name)
	case !found && left.kind != spare:
		return all, fmt.Errorf("%s: nothing is found without rule %s: it is not needed, or the model is too small", m.name, left.name)
	}
	return all, nil
}

// unexplained is an error that names what no search of a model with all rules in force
// reached, unless the model says why on the same line.
func (m *model) unexplained(results []*result) error {
	counts, texts, searches := make(map[place]int), make(map[place]string), 0
	for _, r := range results {
		if r.live {
			continue
		}
		searches++
		here := make(map[place]bool) // a choice is named by each of its options
		for _, at := range r.unreached {
			key := place{process: at.process, state: at.state, line: at.line}
			here[key], texts[key] = true, at.text
		}
		for key := range here {
			counts[key]++
		}
	}
	var errs []error
	for key, n := range counts {
		if n == searches && !m.explained(key.line) {
			errs = append(errs, fmt.Errorf("%s:%d: never reached, and no reason given: %s", m.file, key.line, texts[key]))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}
