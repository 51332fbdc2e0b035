package nearotel_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearotel"
	"github.com/nearbus/nearbus/shared/memstore"
)

// BenchmarkCost is what a hit, a load and a write cost in memory: without an observer, with one
// that does nothing, and with OpenTelemetry, whose spans go nowhere. Each is done inside of a span.
func BenchmarkCost(b *testing.B) {
	for _, watched := range []string{"nobody", "observer", "otel"} {
		var opts nearcache.OpenOptions
		traces := sdktrace.NewTracerProvider(sdktrace.WithBatcher(tracetest.NewNoopExporter()))
		switch watched {
		case "observer":
			opts.Node.Observer = func(nearcache.Observation) {}
		case "otel":
			meters := metric.NewMeterProvider(metric.WithReader(metric.NewManualReader()))
			telemetry, err := nearotel.New(nearotel.Options{TracerProvider: traces, MeterProvider: meters})
			require.NoError(b, err)
			telemetry.Instrument(&opts)
		}
		node, err := nearcache.Open(b.Context(), memstore.New(memstore.Options{}), membus.NewHub().Join(), opts)
		require.NoError(b, err)
		c, err := nearcache.New(node, "users", nearcache.Options[string]{})
		require.NoError(b, err)
		require.NoError(b, c.Set(b.Context(), "k", "v"))
		ctx, span := traces.Tracer("bench").Start(b.Context(), "request")
		next := 0
		for name, do := range map[string]func() error{
			"hit":  func() error { _, err := c.Get(ctx, "k"); return err },
			"load": func() error { next++; _, err := c.Fetch(ctx, strconv.Itoa(next), is("v")); return err },
			"set":  func() error { return c.Set(ctx, "set", "v") },
		} {
			b.Run(name+"/"+watched, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := do(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		span.End()
		require.NoError(b, node.Close(context.Background()))
	}
}
