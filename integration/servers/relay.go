package servers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// Relay passes TCP connections on to a server and can fail them as networks
// do. A new Relay passes everything on. Its methods may be called from many
// goroutines.
type Relay struct {
	// Addr is the loopback address that clients connect to.
	Addr string

	target string
	pumps  sync.WaitGroup

	mu       sync.Mutex // guards what follows
	mode     mode
	delay    time.Duration
	hold     hold
	harm     Harm
	changed  chan struct{} // closed and replaced when mode or delay changes
	listener net.Listener  // nil while connections are refused
	links    map[*link]struct{}
	stopped  bool
}

type mode int

const (
	forwarding  mode = iota
	stalled          // bytes wait
	blackholing      // bytes vanish
)

// hold says that some chunks from the server are passed on late.
type hold struct {
	share             float64
	shortest, longest time.Duration
}

// Harm counts what a [Relay] did to connections.
type Harm struct {
	Cut     uint64 // connections closed
	Dropped uint64 // chunks of bytes that vanished
	Held    uint64 // chunks passed on late because of Hold
}

// RelayTo starts a relay for the test; see [StartRelay].
func RelayTo(t testing.TB, target string) *Relay {
	t.Helper()
	relay, err := StartRelay(target)
	return inTest(t, relay, err)
}

// StartRelay listens on a free loopback port and passes every connection on to
// target, a host and port.
func StartRelay(target string) (*Relay, error) {
	return onFreePorts(context.Background(), func() (*Relay, error) { return tryRelay(target) })
}

func tryRelay(target string) (*Relay, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	r := &Relay{
		Addr:    loopback(port),
		target:  target,
		changed: make(chan struct{}),
		links:   make(map[*link]struct{}),
	}
	if err := r.Resume(); err != nil {
		return nil, err
	}
	return r, nil
}

// Cut closes all connections. New ones are passed on.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cutLocked()
}

// Refuse closes all connections and refuses new ones, as a host does on which
// no server runs.
func (r *Relay) Refuse() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closeListenerLocked()
	r.cutLocked()
}

// Stall holds all bytes back, in both directions, as a network does that loses
// packets for a while: connections stay open, new ones are accepted, nothing
// arrives. After Resume all bytes arrive.
func (r *Relay) Stall() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changeLocked(stalled, r.delay)
}

// Blackhole drops all bytes, in both directions, as a network does behind a
// half-open connection: connections stay open, new ones are accepted, nothing
// arrives, not even the end of a connection. Resume closes the connections.
func (r *Relay) Blackhole() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changeLocked(blackholing, r.delay)
}

// Delay passes bytes on, in both directions, d later or a little more.
func (r *Relay) Delay(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changeLocked(r.mode, d)
}

// Hold passes this share of the chunks that come from the server on later, by a
// time between shortest and longest, as a network does that loses a packet now
// and then and sends it again.
func (r *Relay) Hold(share float64, shortest, longest time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hold = hold{share, shortest, longest}
}

// Harm returns what was done so far.
func (r *Relay) Harm() Harm {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.harm
}

// Resume ends what Refuse, Stall, Blackhole, Delay and Hold began. It fails only when
// another process took the port that was refused.
func (r *Relay) Resume() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return ErrStopped
	}
	if r.mode == blackholing {
		r.cutLocked() // Their streams have holes.
	}
	r.hold = hold{}
	r.changeLocked(forwarding, 0)
	return r.listenLocked()
}

// Stop closes the relay and all its connections for good. It may be called more
// than once.
func (r *Relay) Stop() {
	r.mu.Lock()
	r.stopped = true
	r.closeListenerLocked()
	r.cutLocked()
	r.mu.Unlock()
	r.pumps.Wait()
}

func (r *Relay) listenLocked() error {
	if r.listener != nil {
		return nil
	}
	listener, err := net.Listen("tcp", r.Addr)
	if err != nil {
		return fmt.Errorf("servers: relay: %w", err)
	}
	r.listener = listener
	// Ends when Refuse or Stop closes the listener; Stop waits.
	r.pumps.Go(func() { r.accept(listener) })
	return nil
}

func (r *Relay) closeListenerLocked() {
	if r.listener != nil {
		_ = r.listener.Close()
		r.listener = nil
	}
}

func (r *Relay) changeLocked(m mode, delay time.Duration) {
	r.mode, r.delay = m, delay
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *Relay) cutLocked() {
	for l := range r.links {
		l.close()
		r.harm.Cut++
	}
	clear(r.links)
}

// lateness returns how much later a chunk from the server is to be passed on.
func (r *Relay) lateness() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hold.share == 0 || rand.Float64() >= r.hold.share {
		return 0
	}
	r.harm.Held++
	return r.hold.shortest + rand.N(r.hold.longest-r.hold.shortest+1)
}

func (r *Relay) dropped() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.harm.Dropped++
}

// state returns what to do with bytes now, and a channel that is closed when
// that changes.
func (r *Relay) state() (mode, time.Duration, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mode, r.delay, r.changed
}

func (r *Relay) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		r.connect(listener, client)
	}
}

// connect dials the server and starts to pass bytes on. The client is turned
// away when the server is not there.
func (r *Relay) connect(listener net.Listener, client net.Conn) {
	server, err := net.Dial("tcp", r.target)
	if err != nil {
		_ = client.Close()
		return
	}
	l := &link{client: client, server: server, closed: make(chan struct{})}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener != listener {
		l.close()
		return
	}
	r.links[l] = struct{}{}
	// Both end when either connection does, or with Cut; Stop waits.
	r.pumps.Go(func() { r.pump(l, client, server) })
	r.pumps.Go(func() { r.pump(l, server, client) })
}

func (r *Relay) drop(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.links, l)
	l.close()
}

const chunkSize = 32 << 10

// pump passes bytes on in one direction.
func (r *Relay) pump(l *link, from, to net.Conn) {
	defer r.drop(l)
	chunk := make([]byte, chunkSize)
	for {
		n, err := from.Read(chunk)
		if from == l.server && n > 0 {
			if late := r.lateness(); late > 0 {
				l.sleep(late)
			}
		}
		if r.admit(l) {
			_, _ = to.Write(chunk[:n]) // A broken connection is seen by the read from it.
		}
		if err != nil {
			r.awaitForwarding(l)
			return
		}
	}
}

// admit waits as long as bytes are to wait and reports whether to pass them on.
func (r *Relay) admit(l *link) bool {
	for {
		mode, delay, changed := r.state()
		switch {
		case mode == blackholing:
			r.dropped()
			return false
		case mode == forwarding && delay == 0:
			return true
		case mode == forwarding:
			return l.sleep(delay)
		case !l.wait(changed):
			return false
		}
	}
}

// awaitForwarding keeps the end of one connection from the other as long as
// nothing is passed on.
func (r *Relay) awaitForwarding(l *link) {
	for {
		mode, _, changed := r.state()
		if mode == forwarding || !l.wait(changed) {
			return
		}
	}
}
