package nearcache

import (
	"os"
	"reflect"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
)

// TestMetrics_Complete: every number has a metric, and one only.
func TestMetrics_Complete(t *testing.T) {
	requireComplete(t, cacheMetrics)
	requireComplete(t, nodeMetrics)
	requireComplete(t, tierMetrics)
	requireComplete(t, busMetrics)
}

func requireComplete[S any](t *testing.T, metrics []metric[S]) {
	t.Helper()
	for _, field := range numbers(reflect.TypeFor[S]()) {
		var stats S
		v := reflect.ValueOf(&stats).Elem().FieldByIndex(field.Index)
		switch {
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
		if v.Kind() != reflect.Bool {
			require.InDelta(t, 7, shown[0], 0, "%T.%s", stats, field.Name)
		}
	}
}

// numbers returns the fields of a struct that are no structs themselves, also those inside.
func numbers(of reflect.Type) (fields []reflect.StructField) {
	for _, field := range reflect.VisibleFields(of) {
		if field.Type.Kind() != reflect.Struct {
			fields = append(fields, field)
			continue
		}
		for _, inner := range numbers(field.Type) {
			inner.Index = append(field.Index, inner.Index...)
			inner.Name = field.Name + "." + inner.Name
			fields = append(fields, inner)
		}
	}
	return fields
}

// metered returns a node with every part, and two caches.
func metered(t *testing.T) *Node {
	t.Helper()
	b, err := bus.New(membus.NewHub().Join(), bus.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
	require.NoError(t, err)
	node, err := NewNode(tier, b, NodeOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = node.end() })
	for _, name := range []string{"users", "orders"} {
		_, err := New(node, name, Options[string]{})
		require.NoError(t, err)
	}
	return node
}

// TestMetrics_OfANode: each cache has its metrics under its name, and no metric is there twice.
func TestMetrics_OfANode(t *testing.T) {
	all := metered(t).Metrics()
	assert.Len(t, all, 2*len(cacheMetrics)+len(nodeMetrics)+len(healthMetrics)+len(tierMetrics)+len(busMetrics))
	seen := map[[2]string]bool{}
	for _, m := range all {
		key := [2]string{m.Name, m.Cache}
		assert.False(t, seen[key], key)
		seen[key] = true
	}
	assert.True(t, seen[[2]string{"nearbus_cache_hits_total", "users"}])
	assert.True(t, seen[[2]string{"nearbus_cache_hits_total", "orders"}])
}

// TestMetrics_Docs: what operators are told to look at is there.
func TestMetrics_Docs(t *testing.T) {
	page, err := os.ReadFile("../docs/operations.md")
	require.NoError(t, err)
	names := regexp.MustCompile(`nearbus_[a-z_]+`).FindAllString(string(page), -1)
	require.NotEmpty(t, names)
	known := map[string]bool{"nearbus_faults": true} // a build tag
	for _, m := range metered(t).Metrics() {
		known[m.Name] = true
	}
	for _, name := range names {
		assert.True(t, known[name], name)
	}
}
