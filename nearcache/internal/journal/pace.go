package journal

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/pause"
	"github.com/nearbus/nearbus/shared"
)

const (
	// Hurried is from the beginning of a round to that of the next while the bus is not heard: what
	// it would have told, the journal has to. It is as long as this between attempts to read
	// journals if none of them can be reached.
	Hurried = 40 * time.Millisecond

	// hurriedRounds is how many such rounds all nodes of a fleet together begin in a second at most.
	hurriedRounds = 200

	// lateNews is how much later than by the journal news may come by a bus that is heard, or as
	// long as four of its round trips.
	lateNews = 50 * time.Millisecond

	// suspicion is how long the bus counts as not heard after news that came too late: it may be
	// half-open, and takes that long to notice.
	suspicion = 10 * time.Second
)

// pace says when rounds begin. It belongs to the goroutine that runs them.
type pace struct {
	retry     time.Duration // pause after the next failure; 0: Pause
	suspected int64         // when news of the bus was too late last; 0: never
	silent    bool          // no journal could be read in the last round
}

// Run runs rounds until Config.Done ends. Intervals are from beginning to beginning, so that a
// round that takes long does not put off the next one. They are cut at random, so that the
// nodes of a fleet do not ask in step.
func (f *Follower) Run() {
	ctx := f.conf.Done
	for due := f.conf.Owner.Now(); ctx.Err() == nil; {
		began := f.conf.Owner.Now()
		f.round(ctx, due)
		if f.failure.Load() == nil {
			f.pace.retry = 0
			interval := f.interval()
			due = f.rest(ctx, began+int64(interval-rand.N(interval/4+1)))
		} else {
			due = f.rest(ctx, f.retryAt(ctx, began))
		}
	}
}

// interval returns the time from a round that went well to the next.
func (f *Follower) interval() time.Duration {
	if f.conf.OnBus && (f.conf.Deaf() || f.suspects()) {
		return min(f.conf.Interval, f.hurried())
	}
	return f.conf.Interval
}

// hurried returns how soon a round may follow another one without a bus, so that all nodes of
// the fleet keep to hurriedRounds.
func (f *Follower) hurried() time.Duration {
	if !f.conf.OnBus {
		return Hurried
	}
	return max(Hurried, time.Duration(f.conf.Fleet())*time.Second/hurriedRounds)
}

// retryAt pauses after a round that failed, whatever is asked for: readers may be asking for one
// after the other, of servers that work as well. It returns when the next one is due: soon, if
// there is no server that works.
func (f *Follower) retryAt(ctx context.Context, began int64) int64 {
	retry := max(Pause, f.pace.retry)
	if !f.unreachable() {
		f.pace.retry = max(Pause, min(2*retry, f.conf.Interval/4))
		_ = pause.Sleep(ctx, retry)
		return began + int64(f.conf.Interval-rand.N(f.conf.Interval/4+1))
	}
	f.pace.retry = min(2*retry, f.conf.Interval, f.hurried()-Pause) // rest is Pause at least
	_ = pause.Sleep(ctx, retry)
	return f.conf.Owner.Now()
}

// suspects reports whether the bus counts as not heard because of news that came too late.
func (f *Follower) suspects() bool {
	now := f.conf.Owner.Now()
	if at, waits := f.unheard.oldest(); waits && now-at >= int64(f.patience()) {
		f.pace.suspected = now
		f.conf.Suspect()
	}
	return f.pace.suspicious(now)
}

func (p *pace) suspicious(now int64) bool {
	return p.suspected > 0 && now-p.suspected < int64(suspicion)
}

// unreachable reports whether no server answered in the last round.
func (f *Follower) unreachable() bool {
	err := f.Err()
	return f.pace.silent && (shared.Unreachable(err) || errors.Is(err, context.DeadlineExceeded))
}

// patience returns how much later than by the journal news may come by the bus.
func (f *Follower) patience() time.Duration { return max(lateNews, 4*f.conf.RoundTrip()) }

// rest waits until a round is due, or wanted, or news of the bus turns out to be late. It returns
// when the round was due.
func (f *Follower) rest(ctx context.Context, due int64) int64 {
	late := int64(0) // when the bus is to have told of what the journal told of
	if at, waits := f.unheard.oldest(); waits && !f.pace.suspicious(f.conf.Owner.Now()) {
		late = at + int64(f.patience())
	}
	for {
		now := f.conf.Owner.Now()
		next := due
		if late > now {
			next = min(due, late)
		}
		timer := time.NewTimer(max(time.Duration(next-now), Pause))
		select {
		case <-ctx.Done():
		case <-f.wake:
			due = f.conf.Owner.Now()
		case <-timer.C:
			if next < due && !f.suspects() {
				late = 0
				continue
			}
		}
		timer.Stop()
		return min(due, f.conf.Owner.Now())
	}
}
