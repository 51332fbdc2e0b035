package nearotel

import (
	"context"
	"math/rand/v2"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/nearbus/nearbus/nearcache"
)

// scope names the library in metrics and spans.
const scope = "github.com/nearbus/nearbus/nearcache/nearotel"

// Options configure a [Telemetry]. The zero value is the production default.
type Options struct {
	// MeterProvider and TracerProvider make what metrics and spans go to. Nil means the
	// global ones of package otel.
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider

	// Key returns what spans of one key have as nearbus.key: the key, a part of it, a hash.
	// Empty means none. Keys may be personal, so nil means that no span has one. It may be
	// called from many goroutines.
	Key func(cache, key string) string

	// Attributes are on every metric and every span, such as a name of the node where a process
	// has several. Nil means none.
	Attributes []attribute.KeyValue
}

// Telemetry is a bridge to OpenTelemetry, for one node. It is safe for use by many goroutines.
type Telemetry struct {
	meter      metric.Meter
	tracer     trace.Tracer
	key        func(cache, key string) string
	attributes []attribute.KeyValue
	durations  map[nearcache.ObservationKind]duration
}

// New returns a Telemetry. The error is that of an instrument which the MeterProvider refused.
func New(opts Options) (*Telemetry, error) {
	if opts.MeterProvider == nil {
		opts.MeterProvider = otel.GetMeterProvider()
	}
	if opts.TracerProvider == nil {
		opts.TracerProvider = otel.GetTracerProvider()
	}
	t := &Telemetry{
		meter: opts.MeterProvider.Meter(scope), tracer: opts.TracerProvider.Tracer(scope),
		key: opts.Key, attributes: append([]attribute.KeyValue(nil), opts.Attributes...),
	}
	var err error
	t.durations, err = durations(t.meter)
	return t, err
}

// Instrument sets Node.Observer and Node.Tracer of opts, and Background if it is nil. An Observer
// that is set already is told as well, first.
func (t *Telemetry) Instrument(opts *nearcache.OpenOptions) {
	observe := t.Observe
	if other := opts.Node.Observer; other != nil {
		observe = func(o nearcache.Observation) {
			other(o)
			t.Observe(o)
		}
	}
	opts.Node.Observer, opts.Node.Tracer = observe, t.Trace
	if opts.Background == nil {
		opts.Background = Background()
	}
}

// Background returns a context for Background of [nearcache.NodeOptions], [nearcache.OpenOptions]
// and bus.Options, whose span is not sampled: a sampler that goes by the parent, as that of the SDK
// does unless it is given another one, drops what the client does in it.
func Background() context.Context {
	var id trace.TraceID
	var span trace.SpanID
	for i := range id {
		id[i] = byte(1 + rand.N(255)) // zeros are no ID
	}
	copy(span[:], id[:])
	return trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span}))
}

// with returns attributes with those of the options.
func (t *Telemetry) with(attributes ...attribute.KeyValue) []attribute.KeyValue {
	return append(attributes, t.attributes...)
}
