package shared

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// ErrOpen is returned at once by every call while the breaker is open: the
// store failed Options.BreakAfter times in a row. Nothing was sent. Tail is not
// concerned.
var ErrOpen = errors.New("shared: breaker is open")

var (
	errUnfinished = errors.New("shared: call did not return")
	errNoVerdict  = errors.New("shared: says nothing of the server")
)

// breaker keeps calls from a store that fails. It is closed, or open for
// Options.BreakFor, after which one call at a time is let through as a probe;
// what becomes of it closes or opens the breaker.
type breaker struct {
	steps *gobreaker.TwoStepCircuitBreaker[struct{}]

	opened  atomic.Uint64
	refused atomic.Uint64
}

// newBreaker returns nil if the options ask for none.
func newBreaker(opts Options) *breaker {
	if opts.BreakAfter == 0 {
		return nil
	}
	b := &breaker{}
	b.steps = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1,
		Timeout:     opts.BreakFor,
		ReadyToTrip: func(c gobreaker.Counts) bool { return int(c.ConsecutiveFailures) >= opts.BreakAfter },
		IsExcluded:  func(err error) bool { return errors.Is(err, errNoVerdict) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				b.opened.Add(1)
			}
		},
	})
	return b
}

// enter lets a call through, whose verdict done wants, or refuses it.
func (b *breaker) enter() (done func(error), err error) {
	done, err = b.steps.Allow()
	if err != nil {
		b.refused.Add(1)
		if errors.Is(err, gobreaker.ErrTooManyRequests) {
			return nil, fmt.Errorf("%w, and a call that tries the server is under way", ErrOpen)
		}
		return nil, ErrOpen
	}
	return done, nil
}

// open reports whether calls are refused, but for a probe.
func (b *breaker) open() bool { return b.steps.State() != gobreaker.StateClosed }

// verdict turns the outcome of a call into what the breaker counts: nil for a
// server that answers, whatever it says. Of a caller who left nothing follows.
func verdict(caller context.Context, err error) error {
	switch {
	case errors.Is(err, errUnfinished):
		return err
	case answered(err):
		return nil
	case ended(caller), errors.Is(err, ErrTooLarge):
		return errNoVerdict
	}
	return err
}

// ended reports whether ctx has ended, or will in a moment: the deadline of a
// socket can pass before the context itself tells.
func ended(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(end)
}
