package nearotel

import (
	"context"
	"errors"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/nearbus/nearbus/nearcache"
)

const (
	cacheName  = attribute.Key("nearbus.cache.name")
	result     = attribute.Key("nearbus.result")
	keysCount  = attribute.Key("nearbus.keys.count")
	background = attribute.Key("nearbus.background")
	oneKey     = attribute.Key("nearbus.key")

	absent = "absent" // the result of a read that found that there is no value
)

// Trace is for NodeOptions.Tracer: see the package comment.
func (t *Telemetry) Trace(ctx context.Context, s nearcache.Span) (context.Context, func(nearcache.SpanEnd)) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx, nil
	}
	name := "nearbus.read"
	if s.Load {
		name = "nearbus.load"
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithAttributes(t.attributesOf(&s)...))
	if !span.IsRecording() {
		return ctx, func(nearcache.SpanEnd) { span.End() }
	}
	return ctx, func(e nearcache.SpanEnd) { end(span, &s, &e) }
}

// attributesOf returns what is known of a span when it begins, for the sampler as well.
func (t *Telemetry) attributesOf(s *nearcache.Span) []attribute.KeyValue {
	all := t.with(cacheName.String(s.Cache))
	if len(s.Keys) > 1 {
		all = append(all, keysCount.Int(len(s.Keys)))
	} else if t.key != nil && len(s.Keys) == 1 {
		if key := t.key(s.Cache, s.Keys[0]); key != "" {
			all = append(all, oneKey.String(key))
		}
	}
	if s.Background {
		all = append(all, background.Bool(true))
	}
	return all
}

// end ends a span with what became of it.
func end(span trace.Span, s *nearcache.Span, e *nearcache.SpanEnd) {
	missing := errors.Is(e.Err, nearcache.ErrNotFound)
	switch {
	case missing && !s.Load:
		span.SetAttributes(result.String(absent))
	case e.Source != "":
		span.SetAttributes(result.String(e.Source))
	}
	if e.Err != nil && !missing { // what an error says may have a value in it
		span.SetStatus(codes.Error, "")
		span.SetAttributes(errorType(e.Err))
	}
	var linked []trace.SpanContext
	for _, load := range e.Loads {
		of := trace.SpanContextFromContext(load)
		if !of.IsValid() || slices.ContainsFunc(linked, of.Equal) {
			continue
		}
		linked = append(linked, of)
		span.AddLink(trace.Link{SpanContext: of})
	}
	span.End()
}

// errorType returns error.type, which has few values.
func errorType(err error) attribute.KeyValue {
	var panicked *nearcache.PanicError
	switch {
	case errors.As(err, &panicked):
		return semconv.ErrorTypeKey.String("panic")
	case errors.Is(err, context.DeadlineExceeded):
		return semconv.ErrorTypeKey.String("timeout")
	case errors.Is(err, context.Canceled):
		return semconv.ErrorTypeKey.String("canceled")
	}
	return semconv.ErrorType(err)
}
