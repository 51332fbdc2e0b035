package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"
)

// lifelong is what processes live through that none of its faults kills.
func lifelong() scenario {
	return scenario{
		name: "lifelong", about: "one fault after the other of the bus or of Redis, at random, and no process dies",
		bus: "pubsub", redis: []string{"--save", "1 1"}, between: 2 * time.Second,
		strike: func(ctx context.Context, f *field, i int) (uint64, error) {
			dice := rand.New(rand.NewPCG(f.plan.seed, uint64(i)))
			names := slices.Concat(mixedOfTier, mixedOfBus, []string{"messages"})
			return f.strikeOne(ctx, names[dice.IntN(len(names))], i)
		},
	}
}

// lifelongPlan is of processes that live for as long as a soak takes. What they write down
// is read at its end, so it is less than in other runs.
func (q *request) lifelongPlan(off []string) plan {
	p := q.plan(lifelong(), "nearbus", off)
	p.reads, p.writes, p.atLeast, p.measured = 500, 20, q.soak, true
	return p
}

// vitals are what a process takes up after it has collected its garbage.
type vitals struct {
	Goroutines int
	Heap       uint64 // bytes
}

func ownVitals() vitals {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return vitals{runtime.NumGoroutine(), m.HeapAlloc}
}

const quarters = 4

// measure takes the vitals of all processes at the end of each quarter of a run.
func (f *field) measure(elapsed time.Duration) error {
	if !f.plan.measured || int(quarters*elapsed/f.plan.atLeast) <= len(f.vitals) {
		return nil
	}
	all := make([]vitals, len(f.nodes))
	for i, p := range f.nodes {
		answer, err := p.tell("vitals")
		if err == nil {
			err = json.Unmarshal(answer, &all[i])
		}
		if err != nil {
			return err
		}
	}
	f.vitals = append(f.vitals, all)
	return nil
}

// What a process may take up more than after the first quarter: connections and what is
// near are not the same at any two moments.
const (
	moreGoroutines = 30
	moreHeap       = 8 << 20 // bytes
)

var errGrows = errors.New("checker: a process grows")

// flat returns an error if a process took up more at the end than after the first quarter.
func flat(measured [][]vitals) error {
	if len(measured) == 0 {
		return nil
	}
	var failures error
	for i := range measured[0] {
		first, last := measured[0][i], measured[len(measured)-1][i]
		if last.Goroutines > first.Goroutines+moreGoroutines || last.Heap > first.Heap+moreHeap {
			failures = errors.Join(failures, fmt.Errorf("%w: node %d: %+v after a quarter, %+v at the end", errGrows, i, first, last))
		}
	}
	return failures
}
