package bustest

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/nearbus/nearbus/bus"
)

// gapMark stands in listener.heard where the transport reported a gap.
const gapMark = "<gap>"

// listener receives from a transport and notes what happens.
type listener struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when Receive returned
	hold   chan struct{} // if not nil, Deliver waits until it is closed
	stopAt string        // if not empty, Deliver of this payload cancels

	mu    sync.Mutex // protects the following fields
	heard []string
	ready int
	err   error

	inside  atomic.Int32 // calls of the sink that run
	overlap atomic.Bool  // two ran at once
}

// listen starts receiving and waits for Ready.
func (s *scene) listen(t bus.Transport) *listener {
	return s.listenWith(t, &listener{})
}

func (s *scene) listenWith(t bus.Transport, l *listener) *listener {
	ctx, cancel := context.WithCancel(s.ctx)
	l.cancel, l.done = cancel, make(chan struct{})
	// Ends with ctx; stop waits.
	go func() {
		defer close(l.done)
		err := t.Receive(ctx, l.sink())
		l.mu.Lock()
		defer l.mu.Unlock()
		l.err = err
		if err == nil {
			l.err = errors.New("no reason returned by Receive")
		}
	}()
	s.undo = append(s.undo, l.stop)
	s.until(func() bool { return l.isReady() || l.returned() != nil }, "Ready")
	s.noError(l.returned(), "Receive returned")
	return l
}

// stop cancels the receiving, waits for it and returns what it did wrong.
func (l *listener) stop() error {
	l.cancel()
	if !within(l.done) {
		return errors.New("call of Receive did not return when its context ended")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.overlap.Load() {
		return errors.New("functions of the sink were called at the same time")
	}
	if l.ready > 1 {
		return errors.New("more than one call of Ready")
	}
	return nil
}

func (l *listener) sink() bus.Sink {
	return bus.Sink{
		Ready: func() { l.note(func() { l.ready++ }) },
		Gap:   func(error) { l.note(func() { l.heard = append(l.heard, gapMark) }) },
		Deliver: func(payload []byte) {
			if l.hold != nil {
				<-l.hold
			}
			l.note(func() { l.heard = append(l.heard, string(payload)) })
			if l.stopAt != "" && string(payload) == l.stopAt {
				l.cancel()
			}
		},
	}
}

// note runs what with the lock held and looks for calls that overlap.
func (l *listener) note(what func()) {
	if l.inside.Add(1) > 1 {
		l.overlap.Store(true)
	}
	defer l.inside.Add(-1)
	runtime.Gosched() // gives a second call the chance to be seen
	l.mu.Lock()
	defer l.mu.Unlock()
	what()
}

func (l *listener) isReady() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ready > 0
}

// returned returns what Receive returned, nil while it runs.
func (l *listener) returned() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// lost reports whether the transport said that continuity is lost.
func (l *listener) lost() bool {
	return l.returned() != nil || slices.Contains(l.all(), gapMark)
}

func (l *listener) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.heard)
}

// has reports whether all payloads were heard.
func (l *listener) has(payloads ...string) bool {
	heard := l.all()
	for _, p := range payloads {
		if !slices.Contains(heard, p) {
			return false
		}
	}
	return true
}
