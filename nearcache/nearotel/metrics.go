package nearotel

import (
	"context"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/nearbus/nearbus/nearcache"
)

// duration is the histogram of a kind of observations.
type duration struct {
	metric.Float64Histogram
	ofCache bool // it has the name of the cache
}

// durations makes the histograms. Their bounds are those of [nearcache.Node.Metrics].
func durations(meter metric.Meter) (map[nearcache.ObservationKind]duration, error) {
	all := make(map[nearcache.ObservationKind]duration)
	var bounds []float64
	for _, m := range nearcache.MetricList() {
		if bounds == nil && m.Kind == nearcache.Histogram {
			for _, b := range m.Buckets[:len(m.Buckets)-1] { // the last one has no bound
				bounds = append(bounds, b.UpTo)
			}
		}
	}
	for _, h := range []struct {
		kind       nearcache.ObservationKind
		name, help string
		ofCache    bool
	}{
		{nearcache.ObservedLoad, "nearbus.cache.load.duration", "How long calls of loaders took.", true},
		{nearcache.ObservedWait, "nearbus.cache.wait.duration", "How long this node waited for loads of others.", true},
		{nearcache.ObservedSharedRead, "nearbus.shared.read.duration", "How long reads of the shared tier took.", true},
		{nearcache.ObservedSharedWrite, "nearbus.shared.write.duration", "How long writes of the shared tier took, leases included.", true},
		{nearcache.ObservedPublish, "nearbus.bus.publish.duration", "How long it took to publish.", false},
		{nearcache.ObservedRepair, "nearbus.journal.round.duration", "How long rounds of reading the journal took.", false},
		{nearcache.ObservedApplied, "nearbus.node.lag", "How long after a write of another node its message was applied, at most.", false},
	} {
		instrument, err := meter.Float64Histogram(h.name,
			metric.WithDescription(h.help), metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(bounds...))
		if err != nil {
			return nil, fmt.Errorf("nearotel: %s: %w", h.name, err)
		}
		all[h.kind] = duration{instrument, h.ofCache}
	}
	return all, nil
}

// Observe is for NodeOptions.Observer: it records durations. Events are counted by what Watch
// shows.
func (t *Telemetry) Observe(o nearcache.Observation) {
	d, timed := t.durations[o.Kind]
	if !timed || o.Kind == nearcache.ObservedApplied && o.Took == 0 {
		return
	}
	var attributes []attribute.KeyValue
	if d.ofCache && o.Cache != "" {
		attributes = append(attributes, cacheName.String(o.Cache))
	}
	if o.Err != nil {
		attributes = append(attributes, errorType(o.Err))
	}
	d.Record(context.Background(), o.Took.Seconds(), metric.WithAttributes(t.with(attributes...)...))
}

// Watch shows the metrics of node from now on, also of caches that are opened later, until the
// Registration is unregistered. They are read when they are collected. The error is that of an
// instrument which the MeterProvider refused.
func (t *Telemetry) Watch(node *nearcache.Node) (metric.Registration, error) {
	instruments := make(map[string]metric.Float64Observable)
	var all []metric.Observable
	for _, m := range nearcache.MetricList() {
		if m.Kind == nearcache.Histogram {
			continue // Observe has it
		}
		instrument, err := t.observable(&m)
		if err != nil {
			return nil, fmt.Errorf("nearotel: %s: %w", nameOf(m.Name), err)
		}
		instruments[m.Name] = instrument
		all = append(all, instrument)
	}
	registration, err := t.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, m := range node.Metrics() {
			if instrument := instruments[m.Name]; instrument != nil {
				var attributes []attribute.KeyValue
				if m.Cache != "" {
					attributes = append(attributes, cacheName.String(m.Cache))
				}
				o.ObserveFloat64(instrument, m.Value, metric.WithAttributes(t.with(attributes...)...))
			}
		}
		return nil
	}, all...)
	if err != nil {
		return nil, fmt.Errorf("nearotel: %w", err)
	}
	return registration, nil
}

// observable makes the instrument of a metric.
func (t *Telemetry) observable(m *nearcache.Metric) (metric.Float64Observable, error) {
	name, unit := nameOf(m.Name), unitOf(m.Name)
	if m.Kind == nearcache.Counter {
		return t.meter.Float64ObservableCounter(name, metric.WithDescription(m.Help), metric.WithUnit(unit))
	}
	return t.meter.Float64ObservableGauge(name, metric.WithDescription(m.Help), metric.WithUnit(unit))
}

// nameOf returns the name that OpenTelemetry has for a metric: the two parts in front become
// namespaces, and the end that a unit or a kind has in Prometheus goes.
func nameOf(name string) string {
	name = strings.TrimSuffix(strings.TrimSuffix(name, "_total"), "_seconds")
	return strings.Replace(name, "_", ".", 2)
}

// unitOf returns the unit of a metric.
func unitOf(name string) string {
	switch {
	case strings.HasSuffix(name, "_seconds"):
		return "s"
	case strings.HasSuffix(name, "_bytes"):
		return "By"
	}
	return "1"
}
