// Package nearprom shows Prometheus what a node of nearcache counts. It is a module of its own, so
// that nearbus itself does not need the client of Prometheus.
//
//	node, err := nearredis.Open(ctx, client, nearredis.Options{Namespace: "shop"})
//	prometheus.MustRegister(nearprom.New(node))
//
// Each metric has the name, help and kind that [nearcache.Node.Metrics] gives it. Those of a cache
// have the label "cache".
package nearprom

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nearbus/nearbus/nearcache"
)

// New returns a collector of the metrics of node. The collector reads the numbers at each scrape
// and keeps none. It may be used by many goroutines, also after the node is closed.
//
// A process with several nodes wraps the registerer of each by
// [prometheus.WrapRegistererWith], since the names of two nodes are the same.
func New(node *nearcache.Node) prometheus.Collector { return collector{node} }

type collector struct{ node *nearcache.Node }

// Describe sends nothing: caches may be opened at any time, so the collector is unchecked, as
// [prometheus.Collector] says.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (c collector) Collect(out chan<- prometheus.Metric) {
	for _, m := range c.node.Metrics() {
		var labels prometheus.Labels
		if m.Cache != "" {
			labels = prometheus.Labels{"cache": m.Cache}
		}
		desc := prometheus.NewDesc(m.Name, m.Help, nil, labels)
		switch m.Kind {
		case nearcache.Histogram:
			out <- histogram(desc, &m)
		case nearcache.Counter:
			out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, m.Value)
		default:
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, m.Value)
		}
	}
}

// histogram returns m in the form of Prometheus, where each bucket has those before in it.
func histogram(desc *prometheus.Desc, m *nearcache.Metric) prometheus.Metric {
	upTo, count := make(map[float64]uint64, len(m.Buckets)), uint64(0)
	for _, b := range m.Buckets {
		count += b.Count
		if !math.IsInf(b.UpTo, 1) {
			upTo[b.UpTo] = count
		}
	}
	return prometheus.MustNewConstHistogram(desc, count, m.Value, upTo)
}
