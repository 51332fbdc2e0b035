package simmemcached

import (
	"container/list"
	"maps"
	"net"
	"slices"
	"sync"
	"time"
)

// Version is the version of Memcached whose answers a [Server] gives.
const Version = "1.6.18"

// Options configure a [Server]. The zero value has unbounded memory.
type Options struct {
	// Now tells the time, to which the offset of [Server.SetClock] is added. Nil means
	// time.Now, which is the bubble's.
	Now func() time.Time

	// MaxItem is the size of the largest item, in bytes: the option -I. Zero means 1 MiB.
	MaxItem int
}

// Server is a simulated Memcached server. Make one with [New].
type Server struct {
	opts Options

	mu      sync.Mutex // protects all below; never held while anything waits
	ahead   time.Duration
	began   time.Time // by the true clock
	started int64     // s since 1970, by the server's clock
	down    bool
	frozen  chan struct{} // closed when the server goes on; nil if it does
	clients []*client     // in the order in which they came

	items     map[string]*list.Element
	recent    *list.List // of *item, what was used last first
	bytes     int
	maxMemory int
	cas       uint64

	refused map[string]string
	calls   map[string]int
	unknown map[string]int
}

// New returns a server that answers and has no items.
func New(opts Options) *Server {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.MaxItem == 0 {
		opts.MaxItem = 1 << 20
	}
	s := &Server{opts: opts, refused: make(map[string]string), calls: make(map[string]int), unknown: make(map[string]int)}
	s.beginRunLocked()
	return s
}

// beginRunLocked begins with a new process, which has no items.
func (s *Server) beginRunLocked() {
	s.items, s.recent, s.bytes, s.cas = make(map[string]*list.Element), list.New(), 0, 0
	s.began = s.opts.Now()
	// The process believes that it is a little older, so that no time is zero.
	s.started = s.began.Add(s.ahead).Unix() - olderThanItIs
}

const olderThanItIs = 2 // s

// Serve answers one client until its connection ends, and closes it. A server that is
// down closes it at once.
func (s *Server) Serve(conn net.Conn) {
	defer conn.Close()
	if c := s.admit(conn); c != nil {
		c.serve()
		s.drop(func(other *client) bool { return other == c })
	}
}

// SetClock makes the server's clock ahead by so much, or behind. As Memcached looks at
// the time of day when it starts only, that counts from the next [Server.Restart] on, and
// for expiries that are times of day.
func (s *Server) SetClock(ahead time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead = ahead
}

// Freeze has the server stand still: connections stay open, and nothing is answered.
func (s *Server) Freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen == nil && !s.down {
		s.frozen = make(chan struct{})
	}
}

// Thaw lets a server go on that stands still.
func (s *Server) Thaw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.thawLocked()
}

func (s *Server) thawLocked() {
	if s.frozen != nil {
		close(s.frozen)
		s.frozen = nil
	}
}

// Stop ends the process, as a crash would: connections end, and new ones are closed at
// once, until [Server.Restart].
func (s *Server) Stop() {
	s.mu.Lock()
	s.down = true
	s.thawLocked()
	s.mu.Unlock()
	s.KillClients()
}

// Close ends the server for good: no goroutine of it is left.
func (s *Server) Close() { s.Stop() }

// Restart ends the process, as a crash would, and begins with a new one, which has no
// items and counts changes from the beginning.
func (s *Server) Restart() {
	s.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beginRunLocked()
	s.down = false
}

// KillClients ends all connections, and returns how many those were.
func (s *Server) KillClients() int { return s.drop(func(*client) bool { return true }) }

// drop forgets some clients and ends their connections.
func (s *Server) drop(which func(*client) bool) int {
	var dead []*client
	s.mu.Lock()
	s.clients = slices.DeleteFunc(s.clients, func(c *client) bool {
		if which(c) {
			c.dead = true
			dead = append(dead, c)
		}
		return c.dead
	})
	s.mu.Unlock()
	for _, c := range dead {
		_ = c.conn.Close()
	}
	return len(dead)
}

// FlushAll removes all items.
func (s *Server) FlushAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushLocked()
}

// Remove removes items, as an eviction would, and returns how many were there.
func (s *Server) Remove(keys ...string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		if s.removeLocked(key) {
			n++
		}
	}
	return n
}

// Evict evicts up to so many items, those that were used least lately, and returns their
// names.
func (s *Server) Evict(n int) (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		last := s.recent.Back()
		if last == nil {
			break
		}
		keys = append(keys, last.Value.(*item).key)
		s.removeLocked(last.Value.(*item).key)
	}
	return keys
}

// SetMaxMemory bounds the memory by so many bytes; 0 is no bound.
func (s *Server) SetMaxMemory(bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maxMemory = bytes
	s.evictLocked()
}

// Memory returns how many bytes items count for.
func (s *Server) Memory() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// Keys returns the names of all items in order.
func (s *Server) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.items))
}

// Refuse has the server answer a command with an error: "SERVER_ERROR out of memory
// storing object". An empty error lets the command be carried out again.
func (s *Server) Refuse(command, err string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == "" {
		delete(s.refused, command)
		return
	}
	s.refused[command] = err
}

// Calls returns how often each command was carried out or refused.
func (s *Server) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// Unknown returns the commands that this package does not know, and how often they came.
func (s *Server) Unknown() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.unknown)
}
