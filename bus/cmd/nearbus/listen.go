package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nearbus/nearbus/bus"
)

// listener hears the bus of a fleet, and asks who is there.
type listener struct {
	*bus.Bus
	fleet *fleet

	cut  func(reason error) // called as soon as messages may have been missed; may be nil
	back func()             // called as soon as the bus is heard; likewise

	ready   chan struct{} // a signal that the bus is heard; never closed
	gaps    chan error    // the latest reason why it is not
	changed chan struct{} // a signal that somebody came, left or differs
	told    chan settings // what servers tell of their options
}

// settings are the options of a server.
type settings struct {
	digest uint64
	all    []bus.Setting
}

// beatEvery is how often servers hear of this program. One with a shorter HeartbeatTimeout than
// the program has pauses would take it for one that died, and have a gap each time.
const beatEvery = 200 * time.Millisecond

// listen opens the bus, to publish on it or only to look. Close closes it. Who only looks may be
// killed: the servers do not take it for one of whose messages the last may be missing.
func (f *fleet) listen(publishes bool) (*listener, error) {
	host, _ := os.Hostname()
	node := fmt.Sprintf("nearbus@%.40s-%d", host, os.Getpid())
	b, err := bus.New(f.transport, bus.Options{
		Node: node, Tool: true, ReadOnly: !publishes, HeartbeatInterval: beatEvery, HeartbeatTimeout: 3 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	return &listener{
		Bus: b, fleet: f, ready: make(chan struct{}, 1), gaps: make(chan error, 1),
		changed: make(chan struct{}, 1), told: make(chan settings, 64),
	}, nil
}

// leave closes the bus. A server that hangs keeps the program from its goodbye, but not much longer
// than until the deadline of ctx.
func (l *listener) leave(ctx context.Context) {
	left := make(chan struct{})
	go func() { // ends with the bus, or with the program
		_ = l.Close()
		close(left)
	}()
	end, _ := ctx.Deadline()
	select {
	case <-left:
	case <-time.After(time.Until(end) + l.fleet.inv.tidying()):
	}
}

// subscribe begins to hear. Apply is called with what comes.
func (l *listener) subscribe(apply func(bus.Message)) error {
	return l.Subscribe(bus.Handler{
		Apply: apply,
		Gap: func(reason error) {
			replace(l.gaps, reason)
			if l.cut != nil {
				l.cut(reason)
			}
		},
		Ready: func() {
			replace(l.ready, struct{}{})
			if l.back != nil {
				l.back()
			}
		},
		Peers: func() { replace(l.changed, struct{}{}) },
		Settings: func(digest uint64, all []bus.Setting) {
			select {
			case l.told <- settings{digest, all}:
			default: // it is asked for again
			}
		},
	})
}

// replace leaves v in a channel with room for one, in the place of what is there.
func replace[T any](c chan T, v T) {
	for {
		select {
		case c <- v:
			return
		default:
		}
		select {
		case <-c:
		default:
		}
	}
}

// awaitReady waits until the bus is heard, up to the end of ctx. The error says why it is not.
func (l *listener) awaitReady(ctx context.Context) error {
	p := l.fleet.inv.progress("waiting for the bus at " + l.fleet.bus.String())
	defer p.stop()
	for why := errUnheard; ; {
		select {
		case <-l.ready:
			return nil
		case why = <-l.gaps:
			if isRefusal(why) {
				return l.unheard(why)
			}
		case <-ctx.Done():
			if interrupted(ctx) {
				return ctx.Err()
			}
			return l.unheard(why)
		}
	}
}

// refusals are what servers say to those whom they will not serve later either.
var refusals = []string{"WRONGPASS", "NOAUTH", "NOPERM", "DB index is out of range", "cluster support disabled", "unknown command"}

func isRefusal(err error) bool {
	return slices.ContainsFunc(refusals, func(text string) bool { return strings.Contains(err.Error(), text) })
}

// errUnheard is that nothing says why the bus is not heard.
var errUnheard = errors.New("no message comes back in time")

// unheard is the error for a bus that is not heard, for a reason.
func (l *listener) unheard(why error) error {
	return fmt.Errorf("the bus at %s is not heard: %w", l.fleet.bus, why)
}

// reason returns the latest reason why the bus is not heard.
func (l *listener) reason() error {
	select {
	case why := <-l.gaps:
		return why
	default:
		return errUnheard
	}
}

// errAlone is that nobody answers.
var errAlone = errors.New("no server is there")

// roll asks who is there, and waits for those who do not answer such questions. The error is
// errAlone if nobody is.
func (l *listener) roll(ctx context.Context) ([]bus.Peer, error) {
	peers, err := l.RollCall(ctx)
	switch {
	case err == nil && l.fleet.inv.wait > 0:
		peers, err = l.longer(ctx)
	case err == nil && len(peers) == 0:
		peers, err = l.late(ctx)
	}
	switch {
	case interrupted(ctx):
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("nobody could be asked: %w", l.unheard(l.reason()))
	case len(peers) == 0:
		return nil, fmt.Errorf("%w: nobody listens on %s at %s: is it the right server, and is -namespace that of the servers?",
			errAlone, l.fleet.channel, l.fleet.bus)
	}
	slices.SortFunc(peers, func(a, b bus.Peer) int {
		return cmp.Or(strings.Compare(a.Node, b.Node), cmp.Compare(a.Incarnation, b.Incarnation))
	})
	return peers, nil
}

// longer returns who is there after a while.
func (l *listener) longer(ctx context.Context) ([]bus.Peer, error) {
	select {
	case <-time.After(l.fleet.inv.wait):
		return l.RollCall(ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// beatsWithin is within which each server has sent a heartbeat: they do so every second by default.
const beatsWithin = 2 * time.Second

// late returns who is there once somebody is heard: a server with much to do answers late.
func (l *listener) late(ctx context.Context) (peers []bus.Peer, err error) {
	for end := time.After(beatsWithin); len(peers) == 0 && err == nil; {
		select {
		case <-l.changed:
			peers, err = l.RollCall(ctx)
		case <-end:
			return peers, nil
		case <-ctx.Done():
			return peers, nil
		}
	}
	return peers, err
}

// Who does not answer the question for options is asked again, and so are others with the same
// options, for a third of -timeout: a server answers once in a second, whoever asks.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 400 * time.Millisecond
)

// options returns what is behind the digests of peers, as far as they tell.
func (l *listener) options(ctx context.Context, peers []bus.Peer) (map[uint64][]bus.Setting, error) {
	known, wanted := make(map[uint64][]bus.Setting), make(map[uint64][]uint64)
	for _, p := range peers {
		if p.About.Options != 0 {
			wanted[p.About.Options] = append(wanted[p.About.Options], p.Incarnation)
		}
	}
	p := l.fleet.inv.progress("asking for options")
	defer p.stop()
	again, end := time.After(0), time.After(l.fleet.inv.timeout/3)
	for try, pause := 0, firstPause; len(wanted) > 0; {
		select {
		case s := <-l.told:
			known[s.digest] = s.all
			delete(wanted, s.digest)
		case <-again:
			for _, alike := range wanted {
				l.AskSettings(alike[try%len(alike)])
			}
			again = time.After(pause)
			try, pause = try+1, min(2*pause, longestPause)
		case <-end:
			return known, nil
		case <-ctx.Done():
			return known, ctx.Err()
		}
	}
	return known, nil
}
