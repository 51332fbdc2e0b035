package simulate

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/nearbus/nearbus/integration/history"
)

// network connects processes with hosts, in memory and in the time of the bubble.
// Names lead to hosts, and may be made to lead elsewhere; connections stay where they
// are.
type network struct {
	seed seed
	calm weather // without faults

	mu      sync.Mutex // protects the fields below
	names   map[string]*host
	ways    map[route]*way
	dials   map[[2]string]uint64 // by process and host
	open    []*connection
	severed map[string]bool // processes that are gone
	strays  []stray
}

// stray says that a process got a connection to a host which the name led to when the process
// began to ask for it, and does not any more.
type stray struct {
	process string
	at      history.Moment
}

// route is a direction between a process and a host.
type route struct {
	process, host string
	in            bool // towards the process
}

// host is a machine with one server on it.
type host struct {
	name  string
	serve func(net.Conn) // blocks until the connection has ended

	open sync.WaitGroup // connections

	mu   sync.Mutex // protects the following field
	down bool       // nobody listens: connections are refused
}

func newNetwork(s seed, calm weather) *network {
	return &network{seed: s, calm: calm, names: make(map[string]*host), ways: make(map[route]*way), dials: make(map[[2]string]uint64), severed: make(map[string]bool)}
}

// point makes a name lead to a host.
func (n *network) point(name string, h *host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[name] = h
}

func (n *network) resolve(process, name string) (h *host, gone bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.names[name], n.severed[process]
}

func (n *network) way(process, host string, in bool) *way {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := route{process, host, in}
	w := n.ways[r]
	if w == nil {
		w = newWay(n.calm)
		n.ways[r] = w
	}
	return w
}

// both returns the two directions between a process and a host.
func (n *network) both(process, host string) []*way {
	return []*way{n.way(process, host, false), n.way(process, host, true)}
}

// dialer returns what a process connects with. Names have no port: what follows a
// colon is left out.
func (n *network) dialer(process string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, address string) (net.Conn, error) {
		name, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		return n.dial(ctx, process, name)
	}
}

// synAgain is when a client asks for a connection again that was not answered. It
// doubles each time.
const synAgain = time.Second

func (n *network) dial(ctx context.Context, process, name string) (net.Conn, error) {
	h, gone := n.resolve(process, name)
	switch {
	case gone:
		return nil, syscall.ENETDOWN
	case h == nil:
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	out, in := n.way(process, h.name, false), n.way(process, h.name, true)
	roll := n.nextRoll(process, h.name)
	for again := synAgain; ; again *= 2 {
		if err := sleep(ctx, out.latency(roll)+in.latency(scramble(roll))); err != nil {
			return nil, err
		}
		switch {
		case out.isCut() || in.isCut():
		case h.isDown():
			return nil, fmt.Errorf("dial %s: %w", name, syscall.ECONNREFUSED)
		default:
			n.noteStray(process, name, h)
			return endsWith(ctx, n.connect(process, h, roll)), nil
		}
		if err := sleep(ctx, again); err != nil {
			return nil, err
		}
	}
}

func (n *network) noteStray(process, name string, h *host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.names[name] != h {
		n.strays = append(n.strays, stray{process, now()})
	}
}

// strayed reports whether a process had such a connection by then. It may be open still.
func (n *network) strayed(process string, by history.Moment) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.strays, func(s stray) bool { return s.process == process && s.at <= by })
}

func (n *network) nextRoll(process, host string) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	pair := [2]string{process, host}
	n.dials[pair]++
	return n.seed.mix(process+" "+host, n.dials[pair])
}

func (n *network) connect(process string, h *host, roll uint64) net.Conn {
	there := newStream(n.way(process, h.name, false), scramble(roll+1))
	back := newStream(n.way(process, h.name, true), scramble(roll+2))
	n.remember(&connection{h.name, roll, there, back})
	client := &conn{in: back, out: there, local: addr(process), remote: addr(h.name)}
	server := &conn{in: there, out: back, local: addr(h.name), remote: addr(process)}
	h.open.Go(func() {
		h.serve(server)
		_ = server.Close()
	})
	return client
}

// connection is both directions of one.
type connection struct {
	host        string
	roll        uint64
	there, back *stream
}

func (n *network) remember(c *connection) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open = slices.DeleteFunc(n.open, func(c *connection) bool { return c.there.over() && c.back.over() })
	n.open = append(n.open, c)
}

// breakSome resets about half of the connections to a host, each as a whole.
func (n *network) breakSome(host string, roll uint64) {
	n.mu.Lock()
	all := slices.Clone(n.open)
	n.mu.Unlock()
	for _, c := range all {
		if c.host == host && scramble(c.roll^roll)%2 == 0 {
			c.there.reset()
			c.back.reset()
		}
	}
}

func (h *host) isDown() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.down
}

// refuse has connections refused from now on, or no longer.
func (h *host) refuse(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = down
}

// waysOfProcess returns all directions from and to a process.
func (n *network) waysOfProcess(process string) (all []*way) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for r, w := range n.ways {
		if r.process == process {
			all = append(all, w)
		}
	}
	return all
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sever takes a process off the network for good. What it had sent arrives or not.
func (n *network) sever(process string, arrives bool) {
	n.mu.Lock()
	n.severed[process] = true
	n.mu.Unlock()
	for _, w := range n.waysOfProcess(process) {
		for _, s := range w.all() {
			s.die(arrives)
		}
	}
}
