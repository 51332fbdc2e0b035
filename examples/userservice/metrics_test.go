package main

import (
	"fmt"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
)

// TestMetrics_Scrape: what a scrape says of three reads of a user.
func TestMetrics_Scrape(t *testing.T) {
	s, _ := newService(t)
	for range 3 {
		require.Equal(t, http.StatusOK, request(s, "GET", "/users/7", "").Code)
	}
	w := request(s, "GET", "/metrics", "")
	require.Equal(t, http.StatusOK, w.Code)
	for _, line := range []string{
		`nearbus_cache_hits_total{cache="users"} 2`,
		`nearbus_cache_misses_total{cache="users"} 1`,
		`nearbus_cache_loads_total{cache="users"} 1`,
		"nearbus_node_trusted 1",
		"nearbus_node_near_entries 1",
		"nearbus_shared_retries_total 0",
		"# TYPE nearbus_node_behind_seconds gauge",
	} {
		assert.Contains(t, w.Body.String(), line+"\n")
	}
}

// TestMetrics_Lint: names, kinds and help texts are as Prometheus would have them.
func TestMetrics_Lint(t *testing.T) {
	b, err := bus.New(membus.NewHub().Join(), bus.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
	require.NoError(t, err)
	node, err := nearcache.NewNode(tier, b, nearcache.NodeOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = node.Close(atOnce) })
	none := func() (s nearcache.Stats) { return s }
	m := &metrics{node: node, tier: tier, bus: b, caches: map[string]func() nearcache.Stats{"users": none, "orders": none}}
	problems, err := testutil.CollectAndLint(m)
	require.NoError(t, err)
	assert.Empty(t, problems)
	all := 2*len(cacheMetrics) + len(nodeMetrics) + len(healthMetrics) + len(tierMetrics) + len(busMetrics)
	assert.Equal(t, all, testutil.CollectAndCount(m))
}

// TestMetrics_Complete: every number has a metric, and one only.
func TestMetrics_Complete(t *testing.T) {
	requireComplete(t, cacheMetrics)
	requireComplete(t, nodeMetrics)
	requireComplete(t, tierMetrics)
	requireComplete(t, busMetrics)
}

func requireComplete[S any](t *testing.T, metrics []metric[S]) {
	t.Helper()
	for field := range reflect.TypeFor[S]().Fields() {
		var stats S
		switch v := reflect.ValueOf(&stats).Elem().FieldByIndex(field.Index); {
		case v.Type() == reflect.TypeFor[time.Duration]():
			v.SetInt(int64(7 * time.Second))
		case v.CanUint():
			v.SetUint(7)
		case v.CanInt():
			v.SetInt(7)
		default:
			v.SetBool(true)
		}
		var shown []float64
		for _, m := range metrics {
			if x := m.value(stats); x != 0 {
				shown = append(shown, x)
			}
		}
		require.Len(t, shown, 1, "%T.%s", stats, field.Name)
		if field.Type.Kind() != reflect.Bool {
			require.InDelta(t, 7, shown[0], 0, "%T.%s", stats, field.Name)
		}
	}
}

// TestMetrics_Docs: what operators are told to look at is there.
func TestMetrics_Docs(t *testing.T) {
	s, _ := newService(t)
	page, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	names := regexp.MustCompile(`nearbus_[a-z_]+`).FindAllString(string(page), -1)
	require.NotEmpty(t, names)
	known := descriptions(s)
	for _, name := range names {
		assert.Contains(t, known, fmt.Sprintf("fqName: %q", name))
	}
}

// descriptions returns what the metrics of s say of themselves.
func descriptions(s *service) string {
	descs := make(chan *prometheus.Desc)
	go func() { // ends when all are read
		defer close(descs)
		(&metrics{node: s.node}).Describe(descs)
	}()
	var all strings.Builder
	for desc := range descs {
		all.WriteString(desc.String())
	}
	return all.String()
}
