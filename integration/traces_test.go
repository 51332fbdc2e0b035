package integration_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearotel"
	"github.com/nearbus/nearbus/nearcache/nearredis"
)

// TestTraces_Redis: with the hook of go-redis for OpenTelemetry, a node by itself begins no trace,
// and a request has all of its commands in its own, without a value.
func TestTraces_Redis(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewInMemoryExporter()
	traces := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	client := redis.NewClient(nearredis.Recommend(&redis.Options{Addr: servers.Redis(t).Addr}))
	t.Cleanup(func() { _ = client.Close() })
	require.NoError(t, redisotel.InstrumentTracing(client, redisotel.WithTracerProvider(traces), redisotel.WithDBStatement(false), redisotel.WithDialFilter(true)))
	telemetry, err := nearotel.New(nearotel.Options{TracerProvider: traces})
	require.NoError(t, err)
	opts := nearredis.Options{OpenOptions: nearcache.OpenOptions{WaitReady: 30 * time.Second}}
	telemetry.Instrument(&opts.OpenOptions)
	node, err := nearredis.Open(t.Context(), client, opts)
	require.NoError(t, err)
	users, err := nearcache.New(node, "users", nearcache.Options[string]{})
	require.NoError(t, err)
	rounds := node.Stats().Journal.Rounds
	require.Eventually(t, func() bool { return node.Stats().Journal.Rounds > rounds+2 }, 30*time.Second, time.Millisecond)

	ctx, request := traces.Tracer("test").Start(t.Context(), "request")
	_, err = users.Fetch(ctx, "secret", func(context.Context, string) (string, error) { return "secret", nil })
	require.NoError(t, err)
	require.NoError(t, users.Set(ctx, "secret", "secret, too"))
	_, err = users.Get(ctx, "secret")
	require.NoError(t, err)
	request.End()
	require.NoError(t, node.Close(context.Background()))

	names := map[string]int{}
	for _, span := range spans.GetSpans() {
		assert.Equal(t, request.SpanContext().TraceID(), span.SpanContext.TraceID(), "%s begins a trace", span.Name)
		assert.NotContains(t, fmt.Sprintf("%+v", span.Attributes), "secret")
		name, _, _ := strings.Cut(span.Name, " ")
		names[name]++
	}
	assert.Equal(t, 1, names["nearbus.read"])
	assert.Equal(t, 1, names["nearbus.load"])
	assert.Greater(t, len(names), 3, "%v", names)
}
