package shared

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/nearbus/nearbus/shared/internal/bounded"
)

// Pauses between the attempts of a call grow from about the first to about the
// longest; each is off by up to a half at random.
const (
	firstPause   = 10 * time.Millisecond
	longestPause = 200 * time.Millisecond
)

// call is one call of the store. It reports what became of it and whether
// another attempt may do better. The error is nil if a server answered.
type call func(ctx context.Context) (again bool, err error)

// do makes a call within limit, which is Options.Timeout or shorter, past the breaker,
// and again where that may help. The error is that of the last attempt; if none was
// made, that of the context, [ErrOpen], or that of asking for the server's time.
func (t *Tier) do(ctx context.Context, limit time.Duration, c call) (err error) {
	limited := bounded.WithTimeout(ctx, limit)
	defer limited.Cancel()
	if err := limited.Err(); err != nil {
		return err
	}
	if t.breaker == nil {
		return t.attempt(limited, c)
	}
	done, err := t.breaker.enter()
	if err != nil {
		return err
	}
	err = errUnfinished // stands if the store panics
	defer func() { done(verdict(ctx, err)) }()
	err = t.attempt(limited, c)
	return err
}

// attempt makes a call up to Options.Attempts times. It gives up at once when
// the next attempt would come after the end of ctx.
func (t *Tier) attempt(ctx context.Context, c call) error {
	again, err := t.once(ctx, c)
	if !again {
		return err
	}
	pauses := backoff.ExponentialBackOff{
		InitialInterval: firstPause, MaxInterval: longestPause, Multiplier: 2, RandomizationFactor: 0.5,
	}
	pauses.Reset()
	for made := 1; again && made < t.opts.Attempts && ctx.Err() == nil; made++ {
		pause := pauses.NextBackOff()
		if end, _ := ctx.Deadline(); time.Until(end) <= pause {
			return err
		}
		if ended := bounded.Sleep(ctx, pause); ended != nil {
			return because(ended, err)
		}
		t.retries.Add(1)
		again, err = t.once(ctx, c)
	}
	return err
}

// once makes a call. The first in the life of a Tier asks the server for its
// time before, which costs a round trip.
func (t *Tier) once(ctx context.Context, c call) (again bool, err error) {
	if !t.clock.known() {
		sent := time.Now()
		now, err := t.store.Time(ctx)
		if err != nil {
			return transient(err), fmt.Errorf("shared: the server was to tell its time first: %w", err)
		}
		t.clock.observe(sent, time.Now(), now)
	}
	return c(ctx)
}

// because makes err the error of a context that ended. No error stays none.
func because(ended, err error) error {
	if ended == nil || err == nil || errors.Is(err, ended) {
		return err
	}
	return fmt.Errorf("%w (%w)", ended, err)
}

// transient reports whether err says that the way to the server failed, or that
// the server is not ready: another attempt may do better. That a context ended
// is not of this kind.
func transient(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var broken net.Error
	return errors.As(err, &broken) || errors.Is(err, ErrUnavailable) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// Unreachable reports whether err, of a call of a Tier, says that the server was not
// there: its connection could not be made or ended, or it is not ready. One that only
// took too long may have been there.
func Unreachable(err error) bool { return transient(err) && !overtakes(err) }

// answered reports whether err, or that there is none, shows that a server
// answered. What is too large was not sent.
func answered(err error) bool {
	switch {
	case err == nil, errors.Is(err, ErrTooLate):
		return true
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, ErrTooLarge):
		return false
	}
	return !transient(err)
}

// underWay reports whether a write that failed with err may still be under way:
// its client gave it up, or its caller did. What was refused is not.
func underWay(err error) bool {
	if errors.Is(err, ErrTooLate) {
		return false
	}
	return overtakes(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// overtakes reports whether a write that failed with err may still be under
// way, past the end of its connection, so that it could land after a second
// attempt of it and after what others wrote since. A client's own timeout is of
// this kind; that a connection was refused or ended is not: its server takes in
// nothing more of it.
func overtakes(err error) bool {
	if err == nil {
		return false
	}
	var broken net.Error
	return errors.As(err, &broken) && broken.Timeout()
}
