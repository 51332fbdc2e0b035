package nearotel_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearotel"
	"github.com/nearbus/nearbus/shared/memstore"
)

// scene is a node that is watched, and what OpenTelemetry has of it.
type scene struct {
	node   *nearcache.Node
	cache  *nearcache.Cache[string]
	spans  *tracetest.InMemoryExporter
	tracer trace.Tracer
	reader *metric.ManualReader
}

func newScene(t *testing.T, opts nearotel.Options) *scene {
	t.Helper()
	s := &scene{spans: tracetest.NewInMemoryExporter(), reader: metric.NewManualReader()}
	traces := sdktrace.NewTracerProvider(sdktrace.WithSyncer(s.spans))
	s.tracer = traces.Tracer("test")
	opts.TracerProvider, opts.MeterProvider = traces, metric.NewMeterProvider(metric.WithReader(s.reader))
	telemetry, err := nearotel.New(opts)
	require.NoError(t, err)
	var open nearcache.OpenOptions
	telemetry.Instrument(&open)
	transport := &traced{Transport: membus.NewHub().Join(), tracer: s.tracer}
	s.node, err = nearcache.Open(t.Context(), memstore.New(memstore.Options{}), transport, open)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.node.Close(context.Background())) })
	watch, err := telemetry.Watch(s.node)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, watch.Unregister()) })
	s.cache, err = nearcache.New(s.node, "users", nearcache.Options[string]{NotFoundTTL: time.Minute})
	require.NoError(t, err)
	return s
}

// traced is a transport whose client makes a span of each call.
type traced struct {
	*membus.Transport
	tracer trace.Tracer
}

func (c *traced) Publish(ctx context.Context, payload []byte) error {
	ctx, span := c.tracer.Start(ctx, "publish")
	defer span.End()
	return c.Transport.Publish(ctx, payload)
}

// request runs f inside of a span, as an HTTP server does.
func (s *scene) request(t *testing.T, name string, f func(ctx context.Context)) {
	t.Helper()
	ctx, span := s.tracer.Start(t.Context(), name)
	defer span.End()
	f(ctx)
}

// ended returns the spans that have ended, by name; several of one name have numbers.
func (s *scene) ended() map[string]tracetest.SpanStub {
	synctest.Wait()
	all := map[string]tracetest.SpanStub{}
	for _, span := range s.spans.GetSpans() {
		name := span.Name
		for n := 2; all[name].Name != ""; n++ {
			name = fmt.Sprint(span.Name, " ", n)
		}
		all[name] = span
	}
	s.spans.Reset()
	return all
}

// attributes returns those of a span in their order, as name=value.
func attributes(span tracetest.SpanStub) string {
	var all []string
	for _, a := range span.Attributes {
		all = append(all, string(a.Key)+"="+a.Value.String())
	}
	return strings.Join(all, " ")
}

func is(v string) func(context.Context, string) (string, error) {
	return func(context.Context, string) (string, error) { return v, nil }
}

// TestSpans_Load: a read that misses has one span in that of its request, and its load one inside
// of that, in which the loader runs. A hit has none.
func TestSpans_Load(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, nearotel.Options{})
		s.request(t, "request", func(ctx context.Context) {
			for range 2 {
				v, err := s.cache.Fetch(ctx, "secret", func(ctx context.Context, _ string) (string, error) {
					_, span := s.tracer.Start(ctx, "SELECT")
					defer span.End()
					time.Sleep(20 * time.Millisecond)
					return "value", nil
				})
				require.NoError(t, err)
				require.Equal(t, "value", v)
			}
		})
		spans := s.ended()
		require.Len(t, spans, 4)
		request, read, load, query := spans["request"], spans["nearbus.read"], spans["nearbus.load"], spans["SELECT"]
		assert.Equal(t, request.SpanContext.SpanID(), read.Parent.SpanID())
		assert.Equal(t, read.SpanContext.SpanID(), load.Parent.SpanID())
		assert.Equal(t, load.SpanContext.SpanID(), query.Parent.SpanID())
		assert.Equal(t, "nearbus.cache.name=users nearbus.result=load", attributes(read))
		assert.Equal(t, "nearbus.cache.name=users", attributes(load))
		assert.GreaterOrEqual(t, load.EndTime.Sub(load.StartTime), 20*time.Millisecond)
		assert.Empty(t, read.Links)
	})
}

// TestSpans_Waiter: who waits for the load of another request has a link to it, and no load of its
// own.
func TestSpans_Waiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, nearotel.Options{})
		var requests sync.WaitGroup
		for i := range 3 {
			requests.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				s.request(t, fmt.Sprint("request ", i), func(ctx context.Context) {
					_, err := s.cache.Fetch(ctx, "k", func(context.Context, string) (string, error) {
						time.Sleep(time.Second)
						return "v", nil
					})
					assert.NoError(t, err)
				})
			})
		}
		requests.Wait()
		spans := s.ended()
		require.Len(t, spans, 7)
		load, linked := spans["nearbus.load"], 0
		for _, name := range []string{"nearbus.read", "nearbus.read 2", "nearbus.read 3"} {
			read := spans[name]
			if read.SpanContext.TraceID() == load.SpanContext.TraceID() {
				assert.Empty(t, read.Links)
				continue
			}
			require.Len(t, read.Links, 1)
			assert.Equal(t, load.SpanContext.SpanID(), read.Links[0].SpanContext.SpanID())
			linked++
		}
		assert.Equal(t, 2, linked)
	})
}

// TestSpans_Many: a read of several keys is one span, with one link to each load that it waited
// for.
func TestSpans_Many(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, nearotel.Options{Key: func(string, string) string { return "key" }})
		load := func(ctx context.Context, keys []string) (map[string]string, error) {
			time.Sleep(time.Second)
			values := map[string]string{}
			for _, key := range keys {
				values[key] = "v"
			}
			return values, ctx.Err()
		}
		var requests sync.WaitGroup
		for i, keys := range [][]string{{"a", "b"}, {"a", "b", "c"}} {
			requests.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				s.request(t, "request", func(ctx context.Context) {
					got, err := s.cache.FetchMany(ctx, keys, load)
					assert.NoError(t, err)
					assert.Len(t, got, len(keys))
				})
			})
		}
		requests.Wait()
		spans := s.ended()
		require.Len(t, spans, 6)
		counts := map[string]int{}
		for name, span := range spans {
			if strings.HasPrefix(name, "nearbus.read") {
				counts[fmt.Sprint(attributes(span), " links=", len(span.Links))]++
			}
		}
		assert.Equal(t, map[string]int{
			"nearbus.cache.name=users nearbus.keys.count=2 links=0": 1,
			"nearbus.cache.name=users nearbus.keys.count=3 links=1": 1,
		}, counts)
	})
}

// TestSpans_Failure: an error is told by its type, and what it says is nowhere. That there is no
// value is no error.
func TestSpans_Failure(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		kind string
	}{
		"error":    {errors.New("secret"), "*errors.errorString"},
		"timeout":  {fmt.Errorf("secret: %w", context.DeadlineExceeded), "timeout"},
		"canceled": {context.Canceled, "canceled"},
		"panic":    {nil, "panic"},
		"absent":   {nearcache.ErrNotFound, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newScene(t, nearotel.Options{})
			s.request(t, "request", func(ctx context.Context) {
				_, err := s.cache.Fetch(ctx, "secret", func(context.Context, string) (string, error) {
					if c.err == nil {
						panic("secret")
					}
					return "", c.err
				})
				require.Error(t, err)
			})
			spans := s.ended()
			require.Len(t, spans, 3, name)
			for _, span := range spans {
				assert.NotContains(t, fmt.Sprintf("%+v", span), "secret", name)
			}
			read, load := spans["nearbus.read"], spans["nearbus.load"]
			if c.kind == "" {
				assert.Equal(t, "nearbus.cache.name=users nearbus.result=absent", attributes(read))
				assert.Equal(t, codes.Unset, read.Status.Code)
				assert.Equal(t, codes.Unset, load.Status.Code)
				return
			}
			assert.Equal(t, codes.Error, read.Status.Code, name)
			assert.Equal(t, codes.Error, load.Status.Code, name)
			assert.Contains(t, attributes(load), "error.type="+c.kind)
		})
	}
}

// TestSpans_NoRoots: outside of a request nothing begins a trace, and what the client does for the
// node itself is not sampled.
func TestSpans_NoRoots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, nearotel.Options{})
		time.Sleep(time.Minute) // of heartbeats and rounds
		_, err := s.cache.Fetch(t.Context(), "k", is("v"))
		require.NoError(t, err)
		require.NoError(t, s.cache.Set(t.Context(), "k", "w"))
		require.NoError(t, s.cache.Clear(nearotel.Background()))
		assert.Empty(t, s.ended())
	})
}

// TestSpans_Key: keys are there only if asked for, and as they are asked for.
func TestSpans_Key(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, nearotel.Options{
			Key:        func(cache, key string) string { return cache + "/" + strings.TrimRight(key, "0123456789") },
			Attributes: []attribute.KeyValue{attribute.String("nearbus.node", "a")},
		})
		s.request(t, "request", func(ctx context.Context) {
			_, err := s.cache.Get(ctx, "user:42")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		})
		assert.Equal(t, "nearbus.cache.name=users nearbus.node=a nearbus.key=users/user: nearbus.result=absent",
			attributes(s.ended()["nearbus.read"]))
	})
}

// collect returns what the metrics are, by name.
func (s *scene) collect(t *testing.T) map[string]metricdata.Metrics {
	t.Helper()
	synctest.Wait()
	var found metricdata.ResourceMetrics
	require.NoError(t, s.reader.Collect(t.Context(), &found))
	all := map[string]metricdata.Metrics{}
	for _, scope := range found.ScopeMetrics {
		for _, m := range scope.Metrics {
			all[m.Name] = m
		}
	}
	return all
}

// TestMetrics: every metric of the node is there, with its cache, and durations are histograms.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, nearotel.Options{Attributes: []attribute.KeyValue{attribute.String("nearbus.node", "a")}})
		for range 3 {
			_, err := s.cache.Fetch(t.Context(), "k", func(context.Context, string) (string, error) {
				time.Sleep(30 * time.Millisecond)
				return "v", nil
			})
			require.NoError(t, err)
		}
		_, err := s.cache.Fetch(t.Context(), "other", func(context.Context, string) (string, error) { return "", errors.New("no") })
		require.Error(t, err)
		all := s.collect(t)
		for _, m := range s.node.Metrics() {
			if m.Kind != nearcache.Histogram {
				name := strings.Replace(strings.TrimSuffix(strings.TrimSuffix(m.Name, "_total"), "_seconds"), "_", ".", 2)
				assert.Contains(t, all, name)
			}
		}
		users := attribute.NewSet(attribute.String("nearbus.cache.name", "users"), attribute.String("nearbus.node", "a"))
		hits := all["nearbus.cache.hits"].Data.(metricdata.Sum[float64])
		require.Len(t, hits.DataPoints, 1)
		assert.True(t, hits.IsMonotonic)
		assert.InDelta(t, 2, hits.DataPoints[0].Value, 0)
		assert.True(t, hits.DataPoints[0].Attributes.Equals(&users))
		assert.Equal(t, "s", all["nearbus.node.behind"].Unit)
		assert.Equal(t, "By", all["nearbus.near.bytes"].Unit)

		loads := all["nearbus.cache.load.duration"]
		assert.Equal(t, "s", loads.Unit)
		points := loads.Data.(metricdata.Histogram[float64]).DataPoints
		require.Len(t, points, 2)
		for _, p := range points {
			if _, failed := p.Attributes.Value("error.type"); failed {
				assert.Equal(t, uint64(1), p.Count)
				continue
			}
			assert.Equal(t, uint64(1), p.Count)
			assert.InDelta(t, 0.03, p.Sum, 1e-9)
			assert.Len(t, p.Bounds, 16)
		}
		assert.Contains(t, all, "nearbus.shared.read.duration")
		assert.Contains(t, all, "nearbus.journal.round.duration")
	})
}

// TestInstrument_Observer: an observer that is there already is told, too.
func TestInstrument_Observer(t *testing.T) {
	telemetry, err := nearotel.New(nearotel.Options{})
	require.NoError(t, err)
	var told []nearcache.ObservationKind
	opts := nearcache.OpenOptions{Node: nearcache.NodeOptions{
		Observer: func(o nearcache.Observation) { told = append(told, o.Kind) },
	}}
	telemetry.Instrument(&opts)
	opts.Node.Observer(nearcache.Observation{Kind: nearcache.ObservedGap})
	assert.Equal(t, []nearcache.ObservationKind{nearcache.ObservedGap}, told)
	assert.False(t, trace.SpanContextFromContext(opts.Background).IsSampled())
	assert.True(t, trace.SpanContextFromContext(opts.Background).IsValid())
}

func Example() {
	telemetry, err := nearotel.New(nearotel.Options{})
	if err != nil {
		log.Fatal(err)
	}
	opts := nearcache.OpenOptions{Bus: bus.Options{Node: "server-1"}} // or nearredis.Options
	telemetry.Instrument(&opts)
	node, err := nearcache.Open(context.Background(), memstore.New(memstore.Options{}), membus.NewHub().Join(), opts)
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close(context.Background())
	watch, err := telemetry.Watch(node)
	if err != nil {
		log.Fatal(err)
	}
	defer watch.Unregister() //nolint:errcheck // nothing is lost with it
	fmt.Println(node.Health().Trusted)
	// Output: true
}

// stuck is a span processor whose exporter is gone, and which waits for it.
type stuck struct {
	sdktrace.SpanProcessor
	free chan struct{}
}

func (p stuck) OnStart(context.Context, sdktrace.ReadWriteSpan) { <-p.free }
func (p stuck) OnEnd(sdktrace.ReadOnlySpan)                     { <-p.free }

// TestSpans_BackendIsGone: spans that cannot be begun or ended hold up one read for a moment.
func TestSpans_BackendIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := stuck{free: make(chan struct{})}
		telemetry, err := nearotel.New(nearotel.Options{TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p))})
		require.NoError(t, err)
		var opts nearcache.OpenOptions
		telemetry.Instrument(&opts)
		node, err := nearcache.Open(t.Context(), memstore.New(memstore.Options{}), membus.NewHub().Join(), opts)
		require.NoError(t, err)
		c, err := nearcache.New(node, "users", nearcache.Options[string]{})
		require.NoError(t, err)
		ctx, request := sdktrace.NewTracerProvider().Tracer("test").Start(t.Context(), "request")
		defer request.End()
		began := time.Now()
		for i := range 100 {
			_, err := c.Fetch(ctx, fmt.Sprint(i), is("v"))
			require.NoError(t, err)
		}
		assert.Equal(t, 50*time.Millisecond, time.Since(began))
		assert.Equal(t, uint64(200), node.Stats().Observer.DroppedSpans)
		close(p.free)
		require.NoError(t, node.Close(context.Background()))
	})
}
