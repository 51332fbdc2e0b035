package shared

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// asks is how a store is asked for what it refuses after a deadline.
type asks[Q, A any] struct {
	send     func(context.Context, []Q) []A
	deadline func(*Q) *time.Time
	outcome  func(*A) (now time.Time, err *error) // now is the server's clock then
}

func writesBy(store func(context.Context, []driver.Write) []driver.Receipt) asks[driver.Write, driver.Receipt] {
	return asks[driver.Write, driver.Receipt]{store, func(w *driver.Write) *time.Time { return &w.NotAfter }, outcomeOf}
}

func (t *Tier) leases() asks[driver.Lease, driver.Grant] {
	return asks[driver.Lease, driver.Grant]{
		t.store.Acquire,
		func(l *driver.Lease) *time.Time { return &l.NotAfter },
		func(g *driver.Grant) (time.Time, *error) { return g.Now, &g.Err },
	}
}

func (t *Tier) touches() asks[driver.Touch, driver.Receipt] {
	return asks[driver.Touch, driver.Receipt]{t.toucher.Touch, func(d *driver.Touch) *time.Time { return &d.NotAfter }, outcomeOf}
}

func outcomeOf(r *driver.Receipt) (now time.Time, err *error) { return r.Now, &r.Err }

// inTime sends qs. Those that were refused as late although ctx has not ended go once more:
// then it was our idea of the server's clock that was off, and the answer has mended it.
// The deadlines of the others stay.
func inTime[Q, A any](ctx context.Context, t *Tier, k asks[Q, A], qs []Q) []A {
	answers := timed(ctx, t, k, qs)
	var late []int
	for i := range answers {
		if now, err := k.outcome(&answers[i]); errors.Is(*err, ErrTooLate) && !now.IsZero() && ctx.Err() == nil {
			late = append(late, i)
		}
	}
	if late != nil {
		again, end := pick(qs, late), t.deadline(ctx)
		for i := range again {
			*k.deadline(&again[i]) = end
		}
		for i, a := range timed(ctx, t, k, again) {
			answers[late[i]] = a
		}
	}
	for i := range answers {
		if _, err := k.outcome(&answers[i]); errors.Is(*err, ErrTooLate) {
			*err = fmt.Errorf("%w: %w", *err, context.DeadlineExceeded)
		}
	}
	return answers
}

// timed sends qs, and takes in the server's clock from the answers.
func timed[Q, A any](ctx context.Context, t *Tier, k asks[Q, A], qs []Q) []A {
	sent := time.Now()
	answers := k.send(ctx, qs)
	received := time.Now()
	for i := range answers {
		now, err := k.outcome(&answers[i])
		t.clock.observe(sent, received, now)
		if errors.Is(*err, ErrTooLate) {
			t.tooLate.Add(1)
		}
	}
	return answers
}
