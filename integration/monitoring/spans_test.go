package monitoring_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/nearbus/nearbus/nearcache/nearotel"
)

// spans are those of a fleet, and what the requests met that they tell of.
type spans struct {
	exporter  *tracetest.InMemoryExporter
	tracer    trace.Tracer
	telemetry *nearotel.Telemetry
	open      openSpans
	servers   []*server // all that ever were

	mu       sync.Mutex              // protects the fields below
	requests map[trace.TraceID]error // of reads, by the trace of each
	loads    map[trace.SpanID]error  // by the span in which the loader ran
}

// openSpans counts the spans that were begun and have not ended.
type openSpans struct {
	sdktrace.SpanProcessor
	n atomic.Int64
}

func (o *openSpans) OnStart(context.Context, sdktrace.ReadWriteSpan) { o.n.Add(1) }
func (o *openSpans) OnEnd(sdktrace.ReadOnlySpan)                     { o.n.Add(-1) }
func (o *openSpans) Shutdown(context.Context) error                  { return nil }
func (o *openSpans) ForceFlush(context.Context) error                { return nil }

func newSpans(t *testing.T) *spans {
	t.Helper()
	s := &spans{
		exporter: tracetest.NewInMemoryExporter(),
		requests: make(map[trace.TraceID]error), loads: make(map[trace.SpanID]error),
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(&s.open), sdktrace.WithSyncer(s.exporter))
	s.tracer = provider.Tracer("test")
	var err error
	s.telemetry, err = nearotel.New(nearotel.Options{TracerProvider: provider})
	require.NoError(t, err)
	return s
}

// client begins the span that the instrumentation of a client has of a call, and returns its end.
func (s *spans) client(ctx context.Context) (end func()) {
	if s == nil {
		return func() {}
	}
	_, span := s.tracer.Start(ctx, "client")
	return func() { span.End() }
}

// serve makes requests of a server until ctx ends. Each is a trace.
func (s *spans) serve(ctx context.Context, of *server) {
	for ctx.Err() == nil {
		for range 5 {
			s.request(ctx, of)
		}
		time.Sleep(rand.N(10 * time.Second))
	}
}

func (s *spans) request(ctx context.Context, of *server) {
	key := fmt.Sprint("secret", rand.IntN(20))
	n := rand.IntN(20)
	if n > 1 {
		s.read(ctx, of, key)
		return
	}
	ctx, span := s.tracer.Start(ctx, "request")
	defer span.End()
	if n == 0 {
		_ = of.users.Set(ctx, key, "secret")
	} else {
		_ = of.users.Invalidate(ctx, key)
	}
}

func (s *spans) read(ctx context.Context, of *server, key string) {
	ctx, span := s.tracer.Start(ctx, "request")
	defer span.End()
	_, err := of.users.Fetch(ctx, key, func(ctx context.Context, _ string) (string, error) { return s.load(ctx, of) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[span.SpanContext().TraceID()] = err
}

// together reads a key that nobody has twice at once.
func (s *spans) together(ctx context.Context, of *server) {
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { s.read(ctx, of, "secret of two") })
	}
	both.Wait()
}

var errSource = errors.New("secret of the source")

// load is a loader that takes long enough for others to wait for it.
func (s *spans) load(ctx context.Context, of *server) (v string, err error) {
	time.Sleep(50 * time.Millisecond)
	switch {
	case ctx.Err() != nil: // the fleet has ended, and nobody waits any more
		err = ctx.Err()
	case of.sourceDown.Load():
		err = errSource
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads[trace.SpanContextFromContext(ctx).SpanID()] = err
	return "secret", err
}

// TestSpans: whatever is broken, the traces of a fleet are whole, tell of each failure by its type,
// and have no keys and values.
func TestSpans(t *testing.T) {
	t.Parallel()
	for name, c := range broken {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSpans(t)
			opts := c.opts
			opts.spans = s
			inFleet(t, opts, func(f *fleet) {
				time.Sleep(time.Minute)
				c.switchOn(f, true)
				s.together(f.ctx, f.servers[1])
				time.Sleep(4 * time.Minute)
				c.switchOn(f, false)
				time.Sleep(time.Minute)
			})
			failed := s.require(t)
			assert.Equal(t, c.fails, len(failed) > 0, "reads fail: %v", failed)
		})
	}
}

// require requires the promises of the spans of all requests, and returns why reads failed.
func (s *spans) require(t *testing.T) (failed []error) {
	t.Helper()
	assert.Zero(t, s.open.n.Load(), "spans that have not ended")
	all := s.exporter.GetSpans()
	byID := make(map[trace.SpanID]*tracetest.SpanStub, len(all))
	reads, loads := make(map[trace.TraceID]*tracetest.SpanStub), make(map[trace.SpanID]*tracetest.SpanStub)
	ended := make(map[trace.SpanID]int) // loads, by the read that began them
	for i := range all {
		span := &all[i]
		byID[span.SpanContext.SpanID()] = span
		switch span.Name {
		case "nearbus.read":
			require.NotContains(t, reads, span.SpanContext.TraceID(), "two spans of one read")
			reads[span.SpanContext.TraceID()] = span
		case "nearbus.load":
			loads[span.SpanContext.SpanID()] = span
			ended[span.Parent.SpanID()]++
		}
		require.NotContains(t, fmt.Sprintf("%+v", span), "secret")
	}
	for i := range all {
		span := &all[i]
		parent, known := byID[span.Parent.SpanID()]
		require.Equal(t, span.Name != "request", known, "%s is a root or not", span.Name)
		switch span.Name {
		case "nearbus.read":
			require.Equal(t, "request", parent.Name)
		case "nearbus.load":
			require.Equal(t, "nearbus.read", parent.Name)
		}
	}
	s.requireLoads(t, loads)
	linked := 0
	for id, read := range reads {
		err, ok := s.requests[id]
		require.True(t, ok, "a read that was none")
		if requireStatus(t, read, err); err != nil && !errors.Is(err, context.Canceled) { // or the fleet has ended
			failed = append(failed, err)
		}
		for _, link := range read.Links {
			require.Contains(t, loads, link.SpanContext.SpanID())
		}
		own := ended[read.SpanContext.SpanID()]
		require.LessOrEqual(t, own, 1)
		if attributeOf(read, "nearbus.result") == "load" {
			require.Equal(t, 1, own+len(read.Links), "the load that brought the value is inside of the read or linked")
		}
		linked += len(read.Links)
	}
	assert.Positive(t, linked, "reads wait for loads of others")
	over := 0 // reads that began when the fleet had ended
	for id, err := range s.requests {
		if _, begun := reads[id]; !begun && errors.Is(err, context.Canceled) {
			over++
		}
	}
	s.requireNoneLost(t, len(reads)+over)
	return failed
}

// requireLoads requires one span for each call of the loader.
func (s *spans) requireLoads(t *testing.T, loads map[trace.SpanID]*tracetest.SpanStub) {
	t.Helper()
	require.Len(t, loads, len(s.loads))
	for id, err := range s.loads {
		require.Contains(t, loads, id)
		requireStatus(t, loads[id], err)
	}
}

// requireStatus requires of a span that it tells how what it is of ended.
func requireStatus(t *testing.T, span *tracetest.SpanStub, err error) {
	t.Helper()
	if err == nil {
		require.Equal(t, codes.Unset, span.Status.Code)
		require.Empty(t, attributeOf(span, "error.type"))
		return
	}
	require.Equal(t, codes.Error, span.Status.Code, err)
	require.NotEmpty(t, attributeOf(span, "error.type"), err)
}

func attributeOf(span *tracetest.SpanStub, name attribute.Key) string {
	for _, a := range span.Attributes {
		if a.Key == name {
			return a.Value.String()
		}
	}
	return ""
}

// requireNoneLost requires a span of each read that was no hit.
func (s *spans) requireNoneLost(t *testing.T, reads int) {
	t.Helper()
	var hits, old, dropped uint64
	for _, of := range s.servers {
		read := of.users.Stats().Reads
		hits, old = hits+read.Hits, old+read.Stale
		stats := of.node.Stats().Observer
		dropped += stats.DroppedSpans + stats.Panics
	}
	assert.Zero(t, dropped)
	assert.LessOrEqual(t, reads+int(hits), len(s.requests), "a hit has no span")
	assert.GreaterOrEqual(t, reads+int(hits+old), len(s.requests), "a read is a hit, is given an old value at once, or has a span")
	assert.Positive(t, hits)
}
