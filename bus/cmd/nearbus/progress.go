package main

import (
	"sync"
	"time"
)

// Progress is told after a second, and again now and then.
const (
	firstProgress = time.Second
	nextProgress  = 5 * time.Second
)

// progress tells what is waited for, beside the output.
type progress struct {
	end  chan struct{}
	done sync.WaitGroup
}

// progress says what is waited for, if it takes longer than a second, until stop is called.
func (inv *invocation) progress(what string) *progress {
	p := &progress{end: make(chan struct{})}
	if inv.quiet {
		return p
	}
	began := time.Now()
	p.done.Go(func() { // ends with stop, which waits
		for pause := firstProgress; ; pause = nextProgress {
			select {
			case <-p.end:
				return
			case <-time.After(pause):
				inv.notef("%s: %v so far\n", what, time.Since(began).Round(time.Second))
			}
		}
	})
	return p
}

func (p *progress) stop() {
	close(p.end)
	p.done.Wait()
}
