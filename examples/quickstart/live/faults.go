package live

import (
	"context"
	"errors"
	"sync"
)

// Faults say what is broken.
type Faults struct {
	Cut    [servers]bool `json:"cut"`    // what the server sends to the bus, and the bus to the server, is lost
	Paused [servers]bool `json:"paused"` // the server stands still
	Bus    bool          `json:"bus"`    // the bus is stopped
	Store  bool          `json:"store"`  // the store does not answer
}

var (
	errBusStopped = errors.New("live: the bus is stopped")
	errNoSwitch   = errors.New("live: no such switch")
)

// switches hold the faults that are on.
type switches struct {
	mu      sync.Mutex // protects the following
	faults  Faults
	changed chan struct{} // closed and replaced by each change
}

func newSwitches() *switches { return &switches{changed: make(chan struct{})} }

// now returns the faults that are on.
func (s *switches) now() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

func (s *switches) change(f func(*Faults)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.faults)
	close(s.changed)
	s.changed = make(chan struct{})
}

// await waits until the faults are as holds wants them. The error is that of ctx.
func (s *switches) await(ctx context.Context, holds func(*Faults) bool) error {
	for {
		s.mu.Lock()
		ok, changed := holds(&s.faults), s.changed
		s.mu.Unlock()
		if ok {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// runs waits until a server does not stand still.
func (s *switches) runs(ctx context.Context, server int) error {
	return s.await(ctx, func(f *Faults) bool { return !f.Paused[server] })
}
