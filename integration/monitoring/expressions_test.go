package monitoring_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/nearbus/nearbus/nearcache"
)

// rule is an alert of rules.yml.
type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func alertRules(t *testing.T) (rules []rule) {
	t.Helper()
	text, err := os.ReadFile(pages + "rules.yml")
	require.NoError(t, err)
	var file struct {
		Groups []struct {
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	require.NoError(t, yaml.Unmarshal(text, &file))
	for _, group := range file.Groups {
		rules = append(rules, group.Rules...)
	}
	require.NotEmpty(t, rules)
	return rules
}

// dashboard is what a test needs of dashboard.json.
type dashboard struct {
	Panels []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ H, W, X, Y int }
		Targets []struct{ Expr, RefID string }
	}
	Templating struct {
		List []struct{ Name string }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	text, err := os.ReadFile(pages + "dashboard.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &d))
	require.NotEmpty(t, d.Panels)
	return d
}

// comparison is one that keeps series or drops them.
var comparison = regexp.MustCompile(`([<>=!]=|[<>]) `)

// expressions returns those of the dashboard and the alerts, by where they are. Those of alerts
// have a series also when the alert does not fire: comparisons are 0 or 1.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, r := range alertRules(t) {
		all[r.Alert] = comparison.ReplaceAllString(r.Expr, "$1 bool ")
	}
	given := strings.NewReplacer("$__rate_interval", "10s", "$job", ".*", "$instance", ".*", "$cache", ".*")
	for _, panel := range readDashboard(t).Panels {
		for _, target := range panel.Targets {
			all[fmt.Sprintf("%s, %s", panel.Title, target.RefID)] = given.Replace(target.Expr)
		}
	}
	return all
}

// TestDashboard_Form: no two panels have one place or one number, all are in the grid of 24
// columns, and no variable is used that the dashboard does not have.
func TestDashboard_Form(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	taken, ids := make(map[[2]int]string), make(map[int]bool)
	variables := map[string]bool{"__rate_interval": true}
	for _, v := range d.Templating.List {
		variables[v.Name] = true
	}
	for _, p := range d.Panels {
		assert.False(t, ids[p.ID], p.Title)
		ids[p.ID] = true
		assert.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				assert.Empty(t, taken[at], p.Title)
				taken[at] = p.Title
			}
		}
		assert.Equal(t, p.Type == "row", len(p.Targets) == 0, p.Title)
		for _, target := range p.Targets {
			for _, used := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(target.Expr, -1) {
				assert.True(t, variables[used[1]], "%s: $%s", p.Title, used[1])
			}
		}
	}
}

// TestNames: every metric that an expression is of is one that a node has.
func TestNames(t *testing.T) {
	t.Parallel()
	known := make(map[string]bool)
	for _, m := range nearcache.MetricList() {
		if m.Kind != nearcache.Histogram {
			known[m.Name] = true
			continue
		}
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			known[m.Name+part] = true
		}
	}
	for where, expr := range expressions(t) {
		for _, name := range regexp.MustCompile(`\bnearbus_\w+`).FindAllString(expr, -1) {
			assert.True(t, known[name], "%s: %s", where, name)
		}
	}
}

// TestRules: promtool accepts the rules and their unit tests. Each alert has a severity, and names
// the section of the page that says what to do; each has a unit test in which it fires, and a row
// of the page of operations.
func TestRules(t *testing.T) {
	t.Parallel()
	promtool(t, "check", "rules", pages+"rules.yml")
	promtool(t, "test", "rules", pages+"rules_test.yml")
	page, err := os.ReadFile(pages + "README.md")
	require.NoError(t, err)
	tests, err := os.ReadFile(pages + "rules_test.yml")
	require.NoError(t, err)
	operations, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	const address = "https://github.com/nearbus/nearbus/blob/main/docs/monitoring/README.md#"
	for _, r := range alertRules(t) {
		assert.Contains(t, string(page), "\n### "+r.Alert+"\n")
		assert.Equal(t, address+strings.ToLower(r.Alert), r.Annotations["runbook_url"])
		assert.Contains(t, string(operations), fmt.Sprintf("[%s](monitoring/README.md#", r.Alert))
		assert.NotEmpty(t, r.Annotations["summary"], r.Alert)
		assert.Contains(t, []string{"page", "ticket"}, r.Labels["severity"], r.Alert)
		assert.Contains(t, string(tests), fmt.Sprintf("alertname=%q", r.Alert))
	}
	sections := regexp.MustCompile(`(?m)^### (Nearbus\w+)$`).FindAllString(string(page), -1)
	assert.Len(t, sections, len(alertRules(t)), "the page has alerts that are not there")
}
