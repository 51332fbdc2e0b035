package nearcache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// maxJitter leaves lifetimes something.
const maxJitter = 0.9

// validateLoads checks the options of what loaders return and how many run.
func (o *Options[V]) validateLoads() error {
	if o.NotFoundTTL < 0 {
		return fmt.Errorf("nearcache: Options.NotFoundTTL is negative: %v", o.NotFoundTTL)
	}
	if err := (duration{"NotFoundTTL", o.NotFoundTTL}).tooLong("Options"); err != nil {
		return err
	}
	if o.SourceLag < 0 {
		return fmt.Errorf("nearcache: Options.SourceLag is negative: %v", o.SourceLag)
	}
	if err := (duration{"SourceLag", o.SourceLag}).tooLong("Options"); err != nil {
		return err
	}
	if !(o.TTLJitter >= 0 && o.TTLJitter <= maxJitter) { // not a number is out of range, too
		return fmt.Errorf("nearcache: Options.TTLJitter is %v, not in 0 to %v", o.TTLJitter, maxJitter)
	}
	if o.MaxLoads < 0 {
		return fmt.Errorf("nearcache: Options.MaxLoads is negative: %d", o.MaxLoads)
	}
	return nil
}

// jitter returns the share of a lifetime that is left to it.
func (o *Options[V]) jitter() float64 {
	if o.TTLJitter == 0 {
		return 1
	}
	return 1 - o.TTLJitter*rand.Float64()
}

func share(d time.Duration, part float64) time.Duration {
	if part == 1 {
		return d
	}
	return max(1, time.Duration(float64(d)*part))
}

// enter waits for one of the places of loaders, if they are limited, and
// returns how to leave it.
func (k *keyspace) enter(ctx context.Context) (leave func(), err error) {
	if k.places == nil {
		return func() {}, nil
	}
	select {
	case k.places <- struct{}{}:
		return k.leave, nil
	default:
	}
	k.queued.Add(1)
	ctx, cancel := context.WithTimeout(ctx, k.opts.LoadTimeout)
	defer cancel()
	select {
	case k.places <- struct{}{}:
		return k.leave, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("nearcache: cache %q: no place among %d loads in time: %w", k.name, k.opts.MaxLoads, ctx.Err())
	}
}

func (k *keyspace) leave() { <-k.places }
