package nearcache

import (
	"context"
	"math"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"testing"
	"testing/synctest"
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
	requireComplete(t, shareMetrics)
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
	assert.Len(t, all, 2*(len(cacheMetrics)+len(shareMetrics)+len(cacheHistograms))+len(nodeHistograms)+len(nodeMetrics)+len(healthMetrics)+len(tierMetrics)+len(busMetrics))
	listed := map[string]MetricKind{}
	for _, m := range MetricList() {
		listed[m.Name] = m.Kind
	}
	assert.Len(t, listed, len(all)-len(cacheMetrics)-len(shareMetrics)-len(cacheHistograms))
	seen := map[[2]string]bool{}
	for _, m := range all {
		kind, found := listed[m.Name]
		assert.True(t, found && kind == m.Kind, m.Name)
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

// TestMetrics_Histograms: what took long is in the bucket for that, and the last bucket has no
// bound.
func TestMetrics_Histograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
		require.NoError(t, err)
		node, err := NewNode(tier, nil, NodeOptions{})
		require.NoError(t, err)
		defer func() { _ = node.end() }()
		c, err := New(node, "users", Options[string]{})
		require.NoError(t, err)
		for key, took := range map[string]time.Duration{"a": 3 * time.Millisecond, "b": 20 * time.Second} {
			_, err := c.Fetch(t.Context(), key, func(context.Context, string) (string, error) {
				time.Sleep(took)
				return "v", nil
			})
			require.NoError(t, err)
		}
		loads := 0
		for _, m := range node.Metrics() {
			if m.Name != "nearbus_cache_load_duration_seconds" {
				continue
			}
			loads++
			assert.Equal(t, Histogram, m.Kind)
			assert.Equal(t, "users", m.Cache)
			assert.InDelta(t, 20.003, m.Value, 1e-9)
			for i, b := range m.Buckets {
				want := uint64(0)
				if b.UpTo == 0.005 || math.IsInf(b.UpTo, 1) {
					want = 1
				}
				assert.Equal(t, want, b.Count, b.UpTo)
				assert.True(t, i == 0 || m.Buckets[i-1].UpTo < b.UpTo)
			}
		}
		assert.Equal(t, 1, loads)
	})
}

// TestCaches: each cache says which options are in force, and what it takes.
func TestCaches(t *testing.T) {
	node := metered(t)
	c, err := New(node, "small", Options[[]byte]{
		TTL: time.Minute, Tags: func(string, []byte) []string { return nil }, ReadCodecs: []shared.Codec{shared.Gob},
	})
	require.NoError(t, err)
	require.NoError(t, c.Set(t.Context(), "k", make([]byte, 100)))
	require.Eventually(t, func() bool { // the first read of the journal flushes
		_ = c.Set(t.Context(), "k", make([]byte, 100))
		return node.Caches()[1].Entries == 1
	}, time.Minute, time.Millisecond)
	all := node.Caches()
	require.Len(t, all, 3)
	assert.Equal(t, []string{"orders", "small", "users"}, []string{all[0].Name, all[1].Name, all[2].Name})
	small := all[1]
	assert.Equal(t, "[]uint8", small.Type)
	assert.Equal(t, CacheSettings{
		TTL: time.Minute, NearTTL: time.Minute, LoadTimeout: 30 * time.Second,
		Codec: shared.JSON.ID(), ReadCodecs: []uint8{shared.Gob.ID()}, Tags: true,
	}, small.Settings)
	assert.Greater(t, small.Bytes, int64(100))
	assert.Zero(t, all[0].Entries+all[0].Bytes)
	assert.Positive(t, small.Stats.Writes.Sets)
}

// TestCacheSettings: every option that is no function is there under its name, and of every
// function whether it is set.
func TestCacheSettings(t *testing.T) {
	settings := reflect.TypeFor[CacheSettings]()
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Options[string]]()) {
		_, found := settings.FieldByName(field.Name)
		assert.True(t, found, field.Name)
	}
}

// TestCaches_Evicted: entries count for the cache that loses them.
func TestCaches_Evicted(t *testing.T) {
	node, err := NewNode(nil, newBus(t), NodeOptions{NearBytes: 64 << 10})
	require.NoError(t, err)
	t.Cleanup(func() { _ = node.end() })
	c, err := New(node, "users", Options[[]byte]{})
	require.NoError(t, err)
	for i := range 1000 {
		require.NoError(t, c.Set(t.Context(), strconv.Itoa(i), make([]byte, 100)))
	}
	i := node.Caches()[0]
	s := node.Stats().Near
	assert.Positive(t, i.Evicted)
	assert.Equal(t, s.Evicted, i.Evicted)
	assert.Equal(t, s.Entries, i.Entries)
	assert.Equal(t, s.Bytes, i.Bytes)
}

func newBus(t *testing.T) *bus.Bus {
	t.Helper()
	b, err := bus.New(membus.NewHub().Join(), bus.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}
