// Package monitoring_test holds docs/monitoring against Prometheus: what the real library counts,
// under faults and in a calm hour, and what a real Prometheus makes of a real fleet.
package monitoring_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const (
	pages = "../../docs/monitoring/"

	// scrapeInterval is that of Prometheus by default, nearly.
	scrapeInterval = 15 * time.Second
)

// recording is what scrapes of a fleet brought, in the notation of promtool.
type recording struct {
	scrapes int
	series  map[string][]string // values by name and labels; "_" where there was none
}

// scrape adds what the registries of all nodes show now.
func (r *recording) scrape(t *testing.T, nodes []*server) {
	t.Helper()
	for _, node := range nodes {
		labels := prometheus.Labels{"job": "shop", "instance": node.name}
		registry := prometheus.NewRegistry()
		require.NoError(t, prometheus.WrapRegistererWith(labels, registry).Register(node.metrics))
		families, err := registry.Gather()
		require.NoError(t, err)
		var text bytes.Buffer
		for _, family := range families {
			_, err := expfmt.MetricFamilyToText(&text, family)
			require.NoError(t, err)
		}
		for line := range strings.Lines(text.String()) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			at := strings.LastIndexByte(line, ' ')
			r.add(line[:at], strings.TrimSpace(line[at:]))
		}
	}
	r.scrapes++
}

func (r *recording) add(series, value string) {
	for len(r.series[series]) < r.scrapes {
		r.series[series] = append(r.series[series], "_")
	}
	r.series[series] = append(r.series[series], value)
}

// unitTest is a file of promtool.
type unitTest struct {
	RuleFiles          []string   `yaml:"rule_files"`
	EvaluationInterval string     `yaml:"evaluation_interval"`
	Tests              []testCase `yaml:"tests"`
}

type testCase struct {
	Interval    string           `yaml:"interval"`
	InputSeries []inputSeries    `yaml:"input_series"`
	Expressions []expressionTest `yaml:"promql_expr_test"`
}

type inputSeries struct {
	Series string `yaml:"series"`
	Values string `yaml:"values"`
}

type expressionTest struct {
	Expr     string   `yaml:"expr"`
	EvalTime string   `yaml:"eval_time"`
	Samples  []sample `yaml:"exp_samples"`
}

type sample struct {
	Labels string  `yaml:"labels"`
	Value  float64 `yaml:"value"`
}

// requireFiring requires of each time which alerts fire then, on whatever node, and of no other
// but those that may.
func (r *recording) requireFiring(t *testing.T, maybe []string, firing map[time.Duration][]string) {
	t.Helper()
	rules, err := filepath.Abs(pages + "rules.yml")
	require.NoError(t, err)
	test := testCase{Interval: scrapeInterval.String()}
	for series, values := range r.series {
		if len(values) < r.scrapes { // its server has left
			values = append(values, "stale")
		}
		test.InputSeries = append(test.InputSeries, inputSeries{series, strings.Join(values, " ")})
	}
	for at, names := range firing {
		e := expressionTest{
			Expr:     fmt.Sprintf(`group by (alertname) (ALERTS{alertstate="firing",alertname!~%q})`, strings.Join(maybe, "|")),
			EvalTime: at.String(),
		}
		for _, name := range names {
			e.Samples = append(e.Samples, sample{fmt.Sprintf("{alertname=%q}", name), 1})
		}
		test.Expressions = append(test.Expressions, e)
	}
	encoded, err := yaml.Marshal(unitTest{[]string{rules}, scrapeInterval.String(), []testCase{test}})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "test.yml")
	require.NoError(t, os.WriteFile(file, encoded, 0o600))
	promtool(t, "test", "rules", file)
}

// promtool runs the tool of Prometheus, which must succeed.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput()
	require.NoError(t, err, "promtool %s; run `make deps` if it is not there\n%s", args[0], out)
}
