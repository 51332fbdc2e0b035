package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// The tables of rules are on the page between these headings.
const (
	rulesBegin = "## Rules\n"
	rulesEnd   = "## What was found\n"
	hazards    = 20
)

var (
	linked   = regexp.MustCompile(`\(#([a-z0-9-]+)\)`)
	tested   = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]*\\*?)`")
	declared = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w*)\(`)
)

// checkRules reports what is wrong with the tables of rules in the page of the repository
// at root: a rule that neither a model nor a test stands for, a model or a test that is not
// there, a rule of a model or a hazard that has no row, a rule that the design does not
// link to.
func checkRules(root string, models []*model) error {
	page, err := os.ReadFile(filepath.Join(root, "docs", "models.md"))
	if err != nil {
		return err
	}
	design, err := readPages(filepath.Join(root, "docs", "design"))
	if err != nil {
		return err
	}
	tests, err := declaredTests(root)
	if err != nil {
		return err
	}
	return checkTables(string(page), design, models, tests)
}

// readPages returns the text of all pages in a directory.
func readPages(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for _, file := range files {
		page, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		all.Write(page)
	}
	return all.String(), nil
}

func checkTables(page, design string, models []*model, tests []string) error {
	_, tables, ok := strings.Cut(page, rulesBegin)
	tables, _, ended := strings.Cut(tables, rulesEnd)
	if !ok || !ended {
		return fmt.Errorf("models.md: there is no %q before %q", strings.TrimSpace(rulesBegin), strings.TrimSpace(rulesEnd))
	}
	anchors := make(map[string]bool) // and whether there is a row
	for _, m := range models {
		for _, r := range m.rules {
			anchors[m.anchor(r.name)] = false
		}
	}
	var errs []error
	for row := range strings.Lines(tables) {
		if strings.HasPrefix(row, "|") && !strings.HasPrefix(row, "|---") && !strings.Contains(row, "| shown by |") {
			errs = append(errs, checkRow(strings.TrimSpace(row), anchors, tests))
		}
	}
	for anchor, there := range anchors {
		if !there {
			errs = append(errs, fmt.Errorf("models.md: no row has the rule of %s", anchor))
		}
		if !strings.Contains(design, "models.md#"+anchor+")") {
			errs = append(errs, fmt.Errorf("docs/design: no link to models.md#%s", anchor))
		}
	}
	for n := 1; n <= hazards; n++ {
		if !strings.Contains(tables, fmt.Sprintf("\n| hazard %d:", n)) {
			errs = append(errs, fmt.Errorf("models.md: no row has hazard %d", n))
		}
	}
	return errors.Join(errs...)
}

func checkRow(row string, anchors map[string]bool, tests []string) error {
	var errs []error
	links, names := linked.FindAllStringSubmatch(row, -1), tested.FindAllStringSubmatch(row, -1)
	if len(links)+len(names) == 0 {
		errs = append(errs, fmt.Errorf("models.md: neither a model nor a test stands for %q", row))
	}
	for _, link := range links {
		if _, ok := anchors[link[1]]; !ok {
			errs = append(errs, fmt.Errorf("models.md: no model has the rule of %s", link[1]))
			continue
		}
		anchors[link[1]] = true
	}
	for _, name := range names {
		if !matches(tests, name[1]) {
			errs = append(errs, fmt.Errorf("models.md: there is no test %s", name[1]))
		}
	}
	return errors.Join(errs...)
}

// matches reports whether there is a test of this name, which may end in a star.
func matches(tests []string, name string) bool {
	start, open := strings.CutSuffix(name, "*")
	for _, test := range tests {
		if test == name || open && strings.HasPrefix(test, start) {
			return true
		}
	}
	return false
}

// declaredTests returns the names of the tests of all modules at root.
func declaredTests(root string) (names []string, err error) {
	err = filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, match := range declared.FindAllStringSubmatch(string(source), -1) {
			names = append(names, match[1])
		}
		return err
	})
	return names, err
}
