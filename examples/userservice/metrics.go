package main

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
)

// metrics shows Prometheus what a process and its caches count. It reads the numbers
// when it is asked for them, and keeps none. Copy this file and metriclist.go.
type metrics struct {
	node   *nearcache.Node
	tier   *shared.Tier                      // nil if there is none
	bus    *bus.Bus                          // likewise
	caches map[string]func() nearcache.Stats // by name
}

// handler answers scrapes. The client's own collectors, for Go and the process, may be
// registered beside m.
func (m *metrics) handler() (http.Handler, error) {
	registry := prometheus.NewRegistry()
	if err := registry.Register(m); err != nil {
		return nil, err
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), nil
}

// Describe is of [prometheus.Collector].
func (m *metrics) Describe(descs chan<- *prometheus.Desc) {
	describe(descs, cacheMetrics)
	describe(descs, nodeMetrics)
	describe(descs, healthMetrics)
	describe(descs, tierMetrics)
	describe(descs, busMetrics)
}

// Collect is of [prometheus.Collector].
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	for name, stats := range m.caches {
		collect(out, cacheMetrics, stats(), name)
	}
	collect(out, nodeMetrics, m.node.Stats())
	collect(out, healthMetrics, m.node.Health())
	if m.tier != nil {
		collect(out, tierMetrics, m.tier.Stats())
	}
	if m.bus != nil {
		collect(out, busMetrics, m.bus.Stats())
	}
}

// metric is one number of a struct S.
type metric[S any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(S) float64
}

// counter is a number that only rises while the process lives.
func counter[S any](name, help string, value func(S) float64) metric[S] {
	return metric[S]{describeOne[S](name, help), prometheus.CounterValue, value}
}

// gauge is a number that goes up and down.
func gauge[S any](name, help string, value func(S) float64) metric[S] {
	return metric[S]{describeOne[S](name, help), prometheus.GaugeValue, value}
}

func describeOne[S any](name, help string) *prometheus.Desc {
	var labels []string
	if _, ofCache := any(*new(S)).(nearcache.Stats); ofCache {
		labels = []string{"cache"}
	}
	return prometheus.NewDesc(name, help, labels, nil)
}

func describe[S any](descs chan<- *prometheus.Desc, metrics []metric[S]) {
	for _, m := range metrics {
		descs <- m.desc
	}
}

func collect[S any](out chan<- prometheus.Metric, metrics []metric[S], stats S, labels ...string) {
	for _, m := range metrics {
		out <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(stats), labels...)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
