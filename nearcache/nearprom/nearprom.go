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
		kind := prometheus.GaugeValue
		if m.Kind == nearcache.Counter {
			kind = prometheus.CounterValue
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(m.Name, m.Help, nil, labels), kind, m.Value)
	}
}
