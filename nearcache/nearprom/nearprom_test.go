package nearprom_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearprom"
	"github.com/nearbus/nearbus/shared/memstore"
)

func open() (*nearcache.Node, error) {
	return nearcache.Open(context.Background(), memstore.New(memstore.Options{}), membus.NewHub().Join(), nearcache.OpenOptions{
		Bus: bus.Options{Node: "server-1"},
	})
}

func newNode(t *testing.T) *nearcache.Node {
	t.Helper()
	node, err := open()
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, node.Close(context.Background())) })
	return node
}

func load(context.Context, string) (string, error) { return "v", nil }

// TestCollector_Scrape: what a scrape says of three reads of a key, also in a cache that was
// opened after the collector was registered.
func TestCollector_Scrape(t *testing.T) {
	node := newNode(t)
	registry := prometheus.NewRegistry()
	require.NoError(t, registry.Register(nearprom.New(node)))
	for _, name := range []string{"users", "orders"} {
		c, err := nearcache.New(node, name, nearcache.Options[string]{Loader: nearcache.ValueLoader(load)})
		require.NoError(t, err)
		for range 3 {
			_, err := c.Get(t.Context(), "42")
			require.NoError(t, err)
		}
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code)
	for _, line := range []string{
		`nearbus_cache_hits_total{cache="users"} 2`,
		`nearbus_cache_misses_total{cache="orders"} 1`,
		`nearbus_cache_loads_total{cache="users"} 1`,
		"nearbus_node_trusted 1",
		"nearbus_near_entries 2",
		"nearbus_shared_retries_total 0",
		`nearbus_cache_load_duration_seconds_count{cache="users"} 1`,
		`nearbus_cache_load_duration_seconds_bucket{cache="users",le="+Inf"} 1`,
		`nearbus_cache_near_entries{cache="users"} 1`,
		"# TYPE nearbus_shared_read_duration_seconds histogram",
		"# TYPE nearbus_node_behind_seconds gauge",
		"# TYPE nearbus_cache_hits_total counter",
	} {
		assert.Contains(t, w.Body.String(), line+"\n")
	}
}

// TestCollector_Lint: names, kinds and help texts are as Prometheus would have them.
func TestCollector_Lint(t *testing.T) {
	node := newNode(t)
	_, err := nearcache.New(node, "users", nearcache.Options[string]{})
	require.NoError(t, err)
	problems, err := testutil.CollectAndLint(nearprom.New(node))
	require.NoError(t, err)
	assert.Empty(t, problems)
	assert.Equal(t, len(node.Metrics()), testutil.CollectAndCount(nearprom.New(node)))
}

// TestCollector_Closed: a node that is closed still tells what it counted.
func TestCollector_Closed(t *testing.T) {
	node, err := open()
	require.NoError(t, err)
	require.NoError(t, node.Close(t.Context()))
	assert.Equal(t, len(node.Metrics()), testutil.CollectAndCount(nearprom.New(node)))
}

func Example() {
	node, err := open() // or nearredis.Open
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close(context.Background())
	registry := prometheus.NewRegistry()
	registry.MustRegister(nearprom.New(node))
	families, err := registry.Gather()
	if err != nil {
		log.Fatal(err)
	}
	for _, family := range families {
		if strings.HasPrefix(family.GetName(), "nearbus_node_trusted") {
			fmt.Println(family.GetName(), family.GetMetric()[0].GetGauge().GetValue())
		}
	}
	// Output: nearbus_node_trusted 1
}
