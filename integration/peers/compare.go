package main

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// contender is one of those who do the same work.
type contender struct {
	who string

	// loop does the work n times, one after the other. Several workers may do
	// so at once; each has a number of its own.
	loop func(worker, n int) error
}

// each is a contender whose work is one call of op for each i.
func each(who string, op func(i int) error) contender {
	next := make([]int, callers) // by worker
	return contender{who, func(worker, n int) error {
		for range n {
			i := next[worker]
			next[worker]++
			if err := op(worker*(keySpace/callers) + i); err != nil {
				return err
			}
		}
		return nil
	}}
}

// cell is what one contender reached.
type cell struct {
	who     string
	samples []float64
	cpu     []float64 // nanoseconds of processors for each piece of work, Redis included
}

func (c *cell) median() float64 {
	slices.Sort(c.samples)
	return c.samples[len(c.samples)/2]
}

// compare has the contenders work in turns, by so many workers, and returns
// the nanoseconds for each piece of work, on the wall.
func (e *env) compare(workers int, contenders ...contender) []cell {
	cells := make([]cell, len(contenders))
	counts := make([]int, len(contenders))
	for i, c := range contenders {
		cells[i].who = c.who
		counts[i] = e.calibrate(workers, c)
	}
	for round := range e.rounds {
		runtime.GC() // a turn is too short for another collection
		for at := range contenders {
			i := (round + at) % len(contenders)
			c := contenders[i]
			e.work(workers, max(1, counts[i]/8), c) // what others left in the processor's cache is not its own
			before, n := e.processors(), float64(counts[i]*workers)
			took := e.work(workers, counts[i], c)
			cells[i].samples = append(cells[i].samples, float64(took.Nanoseconds())/n)
			cells[i].cpu = append(cells[i].cpu, (e.processors()-before)/n)
		}
	}
	return cells
}

// calibrate returns how often a worker has to do the work for a turn to last
// long enough.
func (e *env) calibrate(workers int, c contender) int {
	n := 1
	for {
		took := e.work(workers, n, c)
		if took >= e.turn/2 {
			return max(1, int(float64(n)*float64(e.turn)/float64(took)))
		}
		n *= 2
	}
}

func (e *env) work(workers, n int, c contender) time.Duration {
	var wg sync.WaitGroup
	errs := make([]error, workers)
	began := time.Now()
	for w := range workers {
		wg.Go(func() { errs[w] = c.loop(w, n) })
	}
	wg.Wait()
	took := time.Since(began)
	for _, err := range errs {
		if err != nil {
			must(fmt.Errorf("%s: %w", c.who, err))
		}
	}
	return took
}

// onProcessors returns a row of what the work of another cost the processors.
// Whoever else uses the machine has less of a say in it than in what the clock
// on the wall shows.
func onProcessors(work string, cells []cell, targets ...target) row {
	r := row{work: work + ", time of processors", unit: nanoseconds, targets: targets}
	for _, c := range cells {
		r.cells = append(r.cells, cell{who: c.who, samples: c.cpu})
	}
	return r
}

// rates turns nanoseconds into numbers for each second.
func rates(cells []cell) []cell {
	for _, c := range cells {
		for i, ns := range c.samples {
			c.samples[i] = 1e9 / ns
		}
	}
	return cells
}
