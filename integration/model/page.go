package main

import (
	"fmt"
	"os"
	"strings"
)

// What was found stands on the page between these two lines.
const (
	foundBegins = "<!-- found: written by make model -->\n"
	foundEnds   = "<!-- end of found -->\n"
)

// writeFound writes what was found into the page. What it has of models that were not
// searched stays.
func writeFound(path string, models []*model, all []*result) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), foundBegins)
	found, after, ended := strings.Cut(rest, foundEnds)
	if !ok || !ended {
		return fmt.Errorf("%s: there is no place for what was found", path)
	}
	var b strings.Builder
	for _, m := range models {
		section := m.section(all)
		if section == "" {
			section = sectionOf(found, m)
		}
		b.WriteString(section)
	}
	return os.WriteFile(path, []byte(before+foundBegins+b.String()+foundEnds+after), 0o644)
}

// sectionOf returns what the page has of a model, with the empty line before it.
func sectionOf(found string, m *model) string {
	_, rest, ok := strings.Cut(found, m.heading())
	if !ok {
		return ""
	}
	section, _, _ := strings.Cut(rest, "\n## ")
	return m.heading() + section
}

func (m *model) heading() string { return "\n## Model: " + m.name + "\n" }

// section is what the page has of a model: its searches, and how a promise is broken
// without each of its rules. It is empty if the model was not searched.
func (m *model) section(all []*result) string {
	var b strings.Builder
	b.WriteString(m.heading())
	fmt.Fprintf(&b, "\nFile: [%s](../integration/model/%s).\n\n", m.file, m.file)
	fmt.Fprintf(&b, "| | |\n|---|---|\n| covers | %s |\n| leaves out | %s |\n| checks | %s |\n\n", m.covers, m.omits, m.promises)
	b.WriteString("With all rules in force:\n\n| sizes | states | depth | found |\n|---|---|---|---|\n")
	searched := false
	for _, r := range all {
		if r.m != m || r.off != "" {
			continue
		}
		searched = true
		what := r.sizes
		if r.live {
			what += "; what comes in the end"
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %s |\n", what, r.states, r.depth, r.outcome())
	}
	if !searched {
		return ""
	}
	for _, left := range m.rules {
		m.writeRule(&b, left, all)
	}
	return b.String()
}

// writeRule writes what was found without a rule.
func (m *model) writeRule(b *strings.Builder, left rule, all []*result) {
	fmt.Fprintf(b, "\n### %s %s\n\nRule: %s.\n", m.name, strings.ReplaceAll(left.name, "_", "-"), left.text)
	if left.kind == spare {
		fmt.Fprintf(b, "\nWithout it nothing is found: %s.\n", left.why)
	}
	for _, r := range all {
		if r.m == m && r.off == left.name && r.found {
			fmt.Fprintf(b, "\nWithout it, after %d states:\n\n```\n%s\n```\n", r.states, strings.Join(r.steps, "\n"))
		}
	}
}
