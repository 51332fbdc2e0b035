package telemetry

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	// maxSpans is how many spans are open at a time.
	maxSpans = 1024

	// spanPatience is how long a read waits for the tracer to begin its span.
	spanPatience = 50 * time.Millisecond
)

// Span is what a tracer is told when a span begins. The fields are those of nearcache.Span.
type Span struct {
	Load       bool // of a loader; otherwise a read
	Cache      string
	Keys       []string
	Background bool
}

// SpanEnd is what a tracer is told when a span ends. The fields are those of nearcache.SpanEnd.
type SpanEnd struct {
	Source string
	Err    error
	Loads  []context.Context
}

// Tracer begins a span, and returns the context for what happens in it and what ends it.
type Tracer func(ctx context.Context, s Span) (context.Context, func(SpanEnd))

// Spans begins and ends spans. Each has a goroutine of its own that calls the tracer, so a
// tracer that panics or blocks is not on the path of a request. A nil Spans has no tracer. It
// is safe for use by many goroutines.
//
// The invariants: a request waits for the tracer for spanPatience at most, and not at all
// while a call for which one waited in vain has not returned; and there are maxSpans goroutines
// at most.
type Spans struct {
	tracer Tracer
	open   atomic.Int64 // goroutines
	stuck  atomic.Int64 // those that were waited for in vain, and have not returned

	dropped, panics atomic.Uint64
}

// NewSpans returns Spans for a tracer; nil if there is none.
func NewSpans(tracer Tracer) *Spans {
	if tracer == nil {
		return nil
	}
	return &Spans{tracer: tracer}
}

// OpenSpan is a span that has begun. A nil OpenSpan is none.
type OpenSpan struct {
	Context context.Context // for what happens in it

	begun chan begun   // holds one
	ended chan SpanEnd // likewise
	late  atomic.Bool  // nobody waits for it any more
}

// begun is what the tracer returned.
type begun struct {
	ctx context.Context
	end func(SpanEnd)
}

// Begin begins a span, and returns the context for what happens in it. Whoever is given a
// span must end it.
func (s *Spans) Begin(ctx context.Context, span Span) (context.Context, *OpenSpan) {
	if s == nil {
		return ctx, nil
	}
	if s.stuck.Load() > 0 {
		s.dropped.Add(1)
		return ctx, nil
	}
	if s.open.Add(1) > maxSpans {
		s.open.Add(-1)
		s.dropped.Add(1)
		return ctx, nil
	}
	o := &OpenSpan{begun: make(chan begun, 1), ended: make(chan SpanEnd, 1)}
	go s.run(ctx, span, o) // ends when the span has ended and the tracer has returned
	timer := time.NewTimer(spanPatience)
	defer timer.Stop()
	select {
	case b := <-o.begun:
		o.Context = b.ctx
		return b.ctx, o
	case <-timer.C:
	}
	o.late.Store(true)
	s.stuck.Add(1)
	s.dropped.Add(1)
	o.End(SpanEnd{})
	return ctx, nil
}

// End ends the span, and returns at once. It must be called once.
func (o *OpenSpan) End(e SpanEnd) {
	if o != nil {
		o.ended <- e
	}
}

// run calls the tracer for one span, at its beginning and at its end.
func (s *Spans) run(ctx context.Context, span Span, o *OpenSpan) {
	var b begun
	defer func() { // also if the tracer ended this goroutine
		if b.ctx == nil {
			b.ctx = ctx
		}
		o.begun <- b
		last := <-o.ended
		defer s.leave(o)
		if b.end != nil {
			s.guard(func() { b.end(last) })
		}
	}()
	s.guard(func() {
		inner, end := s.tracer(ctx, span)
		b = begun{inner, end}
	})
}

// guard calls the tracer, and counts a panic or an end of the goroutine.
func (s *Spans) guard(call func()) {
	returned := false
	defer func() {
		if !returned {
			_ = recover() // what it says may carry a value
			s.panics.Add(1)
		}
	}()
	call()
	returned = true
}

// leave takes in that the goroutine of a span is over.
func (s *Spans) leave(o *OpenSpan) {
	if o.late.Load() {
		s.stuck.Add(-1)
	}
	s.open.Add(-1)
}

// Dropped returns how many spans were not begun, or given up, and how often the tracer
// panicked.
func (s *Spans) Dropped() (spans, panics uint64) {
	if s == nil {
		return 0, 0
	}
	return s.dropped.Load(), s.panics.Load()
}
