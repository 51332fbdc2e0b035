package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
)

// severity is how bad a finding is. The numbers but skipped are the exit codes of Nagios.
type severity int

const (
	fine severity = iota
	warning
	critical
	skipped // it could not be looked at, which is no trouble in itself
)

var severityNames = [...]string{"ok", "warning", "critical", "skipped"}

func (s severity) String() string { return severityNames[s] }

// MarshalJSON has the name of the severity.
func (s severity) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// finding is what doctor found out about one thing.
type finding struct {
	Severity severity `json:"severity"`
	Check    string   `json:"check"`            // what was looked at, such as "redis-eviction"
	At       string   `json:"at,omitempty"`     // the server, if it is about one
	What     string   `json:"what"`             // what is so
	Change   string   `json:"change,omitempty"` // what to change, if it is bad
	Page     string   `json:"page,omitempty"`   // where the docs say more
}

// checkup is a run of doctor.
type checkup struct {
	inv   *invocation
	fleet *fleet
	found []finding
}

// add notes a finding.
func (c *checkup) add(f finding) { c.found = append(c.found, f) }

func (c *checkup) ok(check, at, format string, args ...any) {
	c.add(finding{Severity: fine, Check: check, At: at, What: fmt.Sprintf(format, args...)})
}

func (c *checkup) skip(check, at, format string, args ...any) {
	c.add(finding{Severity: skipped, Check: check, At: at, What: fmt.Sprintf(format, args...)})
}

// line is the finding as a line of text.
func (f *finding) line() string {
	text := f.What
	if f.At != "" {
		text = f.At + ": " + text
	}
	if f.Change != "" {
		text += ". Change: " + f.Change
	}
	if f.Page != "" {
		text += " (docs/" + f.Page + ")"
	}
	return text
}

// count returns how many findings are of a severity.
func (c *checkup) count(s severity) (n int) {
	for _, f := range c.found {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// worst returns how bad it is.
func (c *checkup) worst() severity {
	switch {
	case c.count(critical) > 0:
		return critical
	case c.count(warning) > 0:
		return warning
	}
	return fine
}

// summary says how many findings there are of each kind.
func (c *checkup) summary() string {
	return fmt.Sprintf("%s: %d critical, %s, %d skipped", plural(len(c.found), "check"),
		c.count(critical), plural(c.count(warning), "warning"), c.count(skipped))
}

// bySeverity returns the findings, the worst first, of equal ones in their order.
func (c *checkup) bySeverity() []finding {
	order := map[severity]int{critical: 0, warning: 1, skipped: 2, fine: 3}
	return slices.SortedStableFunc(slices.Values(c.found), func(a, b finding) int {
		return cmp.Compare(order[a.Severity], order[b.Severity])
	})
}

// print prints what was found.
func (c *checkup) print() error {
	switch c.inv.format {
	case "json":
		return c.inv.json(struct {
			Worst    severity  `json:"worst"`
			Findings []finding `json:"findings"`
		}{c.worst(), c.bySeverity()})
	case "prometheus":
		c.printMetrics()
	case "nagios":
		c.printNagios()
	default:
		w := tabwriter.NewWriter(c.inv.out, 0, 8, 2, ' ', 0)
		for _, f := range c.bySeverity() {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", f.Severity, f.Check, f.line())
		}
		_ = w.Flush()
		c.inv.printf("%s\n", c.summary())
	}
	return nil
}

// printMetrics prints one series for each check and server, whatever was found there.
func (c *checkup) printMetrics() {
	type series struct{ check, at string }
	order := map[severity]int{critical: 3, warning: 2, skipped: 1, fine: 0}
	worst := make(map[series]severity)
	var all []series
	for _, f := range c.found {
		s := series{f.Check, f.At}
		if was, known := worst[s]; !known {
			all = append(all, s)
			worst[s] = f.Severity
		} else if order[f.Severity] > order[was] {
			worst[s] = f.Severity
		}
	}
	c.inv.printf("# HELP nearbus_doctor_check What nearbus doctor found: 0 ok, 1 warning, 2 critical, 3 skipped.\n# TYPE nearbus_doctor_check gauge\n")
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	for _, s := range all {
		c.inv.printf("nearbus_doctor_check{check=%q,server=\"%s\"} %d\n", s.check, escape.Replace(s.at), worst[s])
	}
}

// printNagios prints the status in the first line, and then what is not ok.
func (c *checkup) printNagios() {
	status := [...]string{"OK", "WARNING", "CRITICAL"}[c.worst()]
	first := ""
	bad := slices.DeleteFunc(c.bySeverity(), func(f finding) bool { return f.Severity != critical && f.Severity != warning })
	if len(bad) > 0 {
		first = "; " + strings.ReplaceAll(bad[0].line(), "|", "/")
	}
	c.inv.printf("NEARBUS %s - %s%s | critical=%d warning=%d skipped=%d\n", status, c.summary(), first,
		c.count(critical), c.count(warning), c.count(skipped))
	for _, f := range bad {
		c.inv.printf("%s: %s\n", strings.ToUpper(f.Severity.String()), strings.ReplaceAll(f.line(), "|", "/"))
	}
}
