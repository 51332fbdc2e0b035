package main

import (
	"bufio"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

//go:embed *.pml
var files embed.FS

// model is one file in Promela and what its header says of it: lines of the form
// "// word: text" before the first line that is no comment.
//
//	model      what it is called
//	covers     what it describes
//	omits      what it leaves out
//	promises   what it checks
//	small      sizes, as NAME=number, that take seconds; may be repeated
//	full       sizes that take minutes; may be repeated; spare rules are left out at the first
//	rule NAME  what is left out with -DNAME=0, and is then found to be missed; "rule NAME at 2"
//	           is found so at the second of the small sizes, and is not searched at the others
//	spare NAME the same of a rule that the others make needless: nothing is found
//	why NAME   why they do; must follow
//	live NAME  the same of a rule without which what is promised to come never comes
//	progress   the formula of what is promised to come
type model struct {
	file, source string

	name, covers, omits, promises string
	progress                      string // name of its formula, empty if there is none
	small, full                   []string
	rules                         []rule
}

// rule is one that can be left out of a model.
type rule struct {
	name, text string
	kind       kind
	at         int    // which of the small sizes shows it; 0: the first that does
	why        string // it is spare
}

// kind is what becomes of a model without a rule.
type kind string

const (
	needed kind = "rule"  // a promise is broken
	spare  kind = "spare" // nothing
	lively kind = "live"  // what is promised to come never comes
)

// readModels returns the models of this package, in the order of their files.
func readModels(dir fs.FS) ([]*model, error) {
	names, err := fs.Glob(dir, "*.pml")
	if err != nil {
		return nil, err
	}
	all := make([]*model, 0, len(names))
	for _, name := range names {
		source, err := fs.ReadFile(dir, name)
		if err != nil {
			return nil, err
		}
		m, err := parseModel(name, string(source))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, m)
	}
	return all, nil
}

func parseModel(file, source string) (*model, error) {
	m := &model{file: file, source: source}
	for lines := bufio.NewScanner(strings.NewReader(source)); lines.Scan(); {
		line, comment := strings.CutPrefix(lines.Text(), "// ")
		if !comment {
			break
		}
		if err := m.take(line); err != nil {
			return nil, err
		}
	}
	return m, m.check()
}

// take takes in a line of the header.
func (m *model) take(line string) error {
	word, text, ok := strings.Cut(line, ": ")
	if !ok {
		return fmt.Errorf("header: %q has no colon", line)
	}
	word, name, named := strings.Cut(word, " ")
	name, at, _ := strings.Cut(name, " at ")
	single := map[string]*string{
		"model": &m.name, "covers": &m.covers, "omits": &m.omits, "promises": &m.promises, "progress": &m.progress,
	}
	switch k := kind(word); {
	case named && (k == needed || k == spare || k == lively):
		n, err := strconv.Atoi(cmp.Or(at, "0"))
		if err != nil || n < 0 {
			return fmt.Errorf("header: %q names no size", line)
		}
		m.rules = append(m.rules, rule{name: name, text: text, kind: k, at: n})
	case named && word == "why" && len(m.rules) > 0 && m.rules[len(m.rules)-1].name == name:
		m.rules[len(m.rules)-1].why = text
	case !named && word == "small":
		m.small = append(m.small, text)
	case !named && word == "full":
		m.full = append(m.full, text)
	case !named && single[word] != nil && *single[word] == "":
		*single[word] = text
	default:
		return fmt.Errorf("header: nothing is known of %q, or it comes twice", line)
	}
	return nil
}

// check reports what the header has to say and does not.
func (m *model) check() error {
	if slices.Contains([]string{m.name, m.covers, m.omits, m.promises}, "") {
		return errors.New("header: model, covers, omits and promises must be there")
	}
	if len(m.small) == 0 || len(m.full) == 0 || len(m.rules) == 0 {
		return errors.New("header: small, full and rules must be there")
	}
	seen := make(map[string]bool)
	for _, r := range m.rules {
		switch {
		case seen[r.name]:
			return fmt.Errorf("header: rule %s comes twice", r.name)
		case r.at > len(m.small):
			return fmt.Errorf("header: rule %s is to be found at a size that is not there", r.name)
		case (r.kind == spare) != (r.why != ""):
			return fmt.Errorf("header: rule %s: spare rules say why, and no others", r.name)
		case r.kind == lively && m.progress == "":
			return fmt.Errorf("header: rule %s is of what is to come, and there is no progress", r.name)
		}
		seen[r.name] = true
	}
	return nil
}

// anchor is where the page has what was found without a rule.
func (m *model) anchor(r string) string {
	return strings.ToLower(strings.ReplaceAll(m.name, " ", "-") + "-" + strings.ReplaceAll(r, "_", "-"))
}

// explained reports whether the line with this number says why it is never reached.
func (m *model) explained(number int) bool {
	lines := strings.Split(m.source, "\n")
	return number >= 1 && number <= len(lines) && strings.Contains(lines[number-1], "// never:")
}
