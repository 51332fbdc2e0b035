package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// mixed is several faults at once.
func mixed() []scenario {
	return []scenario{{
		name: "mix", about: "a fault of the bus, one of Redis and one of a process at the same time, at random",
		bus: "pubsub", redis: []string{"--save", "1 1"}, strike: mix, between: 2 * time.Second,
	}}
}

var (
	mixedOfTier = []string{"redis-refused", "redis-half-open", "redis-paused", "redis-disk", "chunks-held"}
	mixedOfBus  = []string{"bus-cut", "bus-half-open"}
)

// mix picks by the seed of the run, so that the same faults come again in the
// same order. Each works on something else: on a way that two harmed, the first
// to end would end both.
func mix(ctx context.Context, f *field, i int) (uint64, error) {
	dice := rand.New(rand.NewPCG(f.plan.seed, uint64(i)))
	chosen := []string{mixedOfTier[dice.IntN(len(mixedOfTier))]}
	if dice.IntN(3) == 0 {
		chosen = append(chosen, "messages") // tells processes, which must live
	} else {
		chosen = append(chosen, mixedOfBus[dice.IntN(len(mixedOfBus))], "killed")
	}
	var all errgroup.Group
	var evidence atomic.Uint64
	for _, name := range chosen {
		all.Go(func() error {
			seen, err := f.strikeOne(ctx, name, i)
			evidence.Add(seen)
			if err == nil && seen == 0 {
				err = fmt.Errorf("%w: %s", errNoFault, name)
			}
			return err
		})
	}
	err := all.Wait()
	return evidence.Load(), err
}

func (f *field) strikeOne(ctx context.Context, name string, i int) (uint64, error) {
	if name == "killed" {
		return kill(f, f.nodes[(i+1)%len(f.nodes)])
	}
	all := slices.Concat(busFaults(), tierFaults())
	s := slices.IndexFunc(all, func(s scenario) bool { return s.name == name })
	return all[s].strike(ctx, f, i)
}
