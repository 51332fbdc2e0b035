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

// writeFound writes what was found into the page.
func writeFound(path string, models []*model, all []*result) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), foundBegins)
	_, after, ended := strings.Cut(rest, foundEnds)
	if !ok || !ended {
		return fmt.Errorf("%s: there is no place for what was found", path)
	}
	return os.WriteFile(path, []byte(before+foundBegins+foundText(models, all)+foundEnds+after), 0o644)
}

// foundText is what the page has of each model: its searches, and how a promise is broken
// without each of its rules.
func foundText(models []*model, all []*result) string {
	var b strings.Builder
	for _, m := range models {
		fmt.Fprintf(&b, "\n## Model: %s\n\nFile: [%s](../integration/model/%s).\n\n", m.name, m.file, m.file)
		fmt.Fprintf(&b, "| | |\n|---|---|\n| covers | %s |\n| leaves out | %s |\n| checks | %s |\n\n", m.covers, m.omits, m.promises)
		b.WriteString("With all rules in force:\n\n| sizes | states | depth | found |\n|---|---|---|---|\n")
		for _, r := range all {
			if r.m == m && r.off == "" {
				what := ""
				if r.live {
					what = "; what comes in the end"
				}
				fmt.Fprintf(&b, "| %s%s | %d | %d | %s |\n", r.sizes, what, r.states, r.depth, r.outcome())
			}
		}
		for _, left := range m.rules {
			m.writeRule(&b, left, all)
		}
	}
	return b.String()
}

// writeRule writes what was found without a rule.
func (m *model) writeRule(b *strings.Builder, left rule, all []*result) {
	fmt.Fprintf(b, "\n### %s %s\n\nRule: %s.\n", m.name, strings.ReplaceAll(left.name, "_", "-"), left.text)
	if left.kind == spare {
		b.WriteString("\nWithout it nothing is found: the other rules are enough.\n")
	}
	for _, r := range all {
		if r.m == m && r.off == left.name && r.found {
			fmt.Fprintf(b, "Without it, after %d states:\n\n```\n%s\n```\n", r.states, strings.Join(r.steps, "\n"))
		}
	}
}
