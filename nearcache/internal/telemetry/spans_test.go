package telemetry

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

type inSpan struct{}

// TestSpans: what the tracer returns is the context inside, and it is told the end.
func TestSpans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ends []SpanEnd
		s := NewSpans(func(ctx context.Context, span Span) (context.Context, func(SpanEnd)) {
			assert.Equal(t, "users", span.Cache)
			return context.WithValue(ctx, inSpan{}, 7), func(e SpanEnd) { ends = append(ends, e) }
		})
		ctx, span := s.Begin(t.Context(), Span{Cache: "users"})
		assert.Equal(t, 7, ctx.Value(inSpan{}))
		failure := errors.New("no")
		span.End(SpanEnd{Err: failure})
		synctest.Wait()
		assert.Equal(t, []SpanEnd{{Err: failure}}, ends)
		assert.Zero(t, s.open.Load())
	})
}

// TestSpans_Blocks: a tracer that blocks holds up those who came before that was noticed, for
// spanPatience, and nobody else until it returns. Its spans are ended.
func TestSpans_Blocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free, ended := make(chan struct{}), 0
		var mu sync.Mutex
		s := NewSpans(func(ctx context.Context, _ Span) (context.Context, func(SpanEnd)) {
			<-free
			return ctx, func(SpanEnd) { mu.Lock(); defer mu.Unlock(); ended++ }
		})
		began := time.Now()
		var first sync.WaitGroup
		for range 3 {
			first.Go(func() {
				_, span := s.Begin(t.Context(), Span{})
				assert.Nil(t, span)
			})
		}
		first.Wait()
		assert.Equal(t, spanPatience, time.Since(began))
		for range 100 {
			_, span := s.Begin(t.Context(), Span{})
			assert.Nil(t, span)
		}
		assert.Equal(t, spanPatience, time.Since(began))
		spans, _ := s.Dropped()
		assert.Equal(t, uint64(103), spans)
		close(free)
		synctest.Wait()
		assert.Equal(t, 3, ended)
		assert.Zero(t, s.stuck.Load())
		_, span := s.Begin(t.Context(), Span{})
		assert.NotNil(t, span)
		span.End(SpanEnd{})
	})
}

// TestSpans_Bounded: there are no more spans at a time than goroutines for them.
func TestSpans_Bounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSpans(func(ctx context.Context, _ Span) (context.Context, func(SpanEnd)) { return ctx, nil })
		var open []*OpenSpan
		for range maxSpans + 1 {
			_, span := s.Begin(t.Context(), Span{})
			open = append(open, span)
		}
		assert.Nil(t, open[maxSpans])
		for _, span := range open {
			span.End(SpanEnd{})
		}
		synctest.Wait()
		assert.Zero(t, s.open.Load())
		spans, _ := s.Dropped()
		assert.Equal(t, uint64(1), spans)
	})
}

// TestSpans_Panics: a tracer that panics, ends its goroutine or returns nothing leaves the
// caller its context.
func TestSpans_Panics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tracer := range map[string]Tracer{
			"panics":             func(context.Context, Span) (context.Context, func(SpanEnd)) { panic("no") },
			"ends its goroutine": func(context.Context, Span) (context.Context, func(SpanEnd)) { runtime.Goexit(); return nil, nil },
			"panics at the end": func(context.Context, Span) (context.Context, func(SpanEnd)) {
				return nil, func(SpanEnd) { panic("no") }
			},
			"ends its goroutine at the end": func(context.Context, Span) (context.Context, func(SpanEnd)) {
				return nil, func(SpanEnd) { runtime.Goexit() }
			},
		} {
			s := NewSpans(tracer)
			ctx, span := s.Begin(t.Context(), Span{})
			assert.Equal(t, t.Context(), ctx, name)
			span.End(SpanEnd{})
			synctest.Wait()
			_, panics := s.Dropped()
			assert.Equal(t, uint64(1), panics, name)
			assert.Zero(t, s.open.Load(), name)
		}
	})
}
