package simredis

import (
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

// Server is a simulated Redis server. Make one with [New].
type Server struct {
	opts Options

	mu      sync.Mutex // protects all below; never held while anything waits
	random  *rand.Rand
	ahead   time.Duration // of the clock
	data    *data
	runID   string
	replID  string
	replID2 string
	down    bool          // stopped or closed
	frozen  chan struct{} // closed when the server goes on; nil if it does

	clients  []*client // in the order in which they came
	lastID   int64
	channels map[string][]*client // by the channel, in the order in which they subscribed
	shards   map[string][]*client // likewise, of sharded channels

	scripts *interpreter
	cached  map[string]*script // by the SHA-1 that clients know it by

	maxMemory int
	policy    Policy
	full      bool // at the beginning of the command that is being carried out
	swept     int  // how many keys could expire after all that had were removed

	refused map[string]string // errors by command
	denied  map[string]bool   // commands that users may not run
	calls   map[string]int    // of commands, in scripts too
	unknown map[string]int    // commands

	primary  *link      // of a replica
	replicas []*link    // of a primary
	effects  [][]string // of what is carried out, for the replicas
	applying bool       // what the primary did
}

// New returns a server that answers and has no data.
func New(opts Options) *Server {
	opts = opts.withDefaults()
	s := &Server{
		opts:    opts,
		random:  rand.New(rand.NewPCG(opts.Seed, 0)),
		data:    newData(),
		replID2: zeroID,
		policy:  NoEviction,
		refused: make(map[string]string),
		denied:  make(map[string]bool),
		calls:   make(map[string]int),
		unknown: make(map[string]int),
	}
	s.scripts = newInterpreter(s)
	s.beginRunLocked()
	if opts.RunID != "" {
		s.runID = opts.RunID
	}
	return s
}

// beginRunLocked begins with a new process, which has no clients.
func (s *Server) beginRunLocked() {
	s.runID, s.replID, s.replID2 = newID(s.random), newID(s.random), zeroID
	s.channels, s.shards = make(map[string][]*client), make(map[string][]*client)
	s.cached = make(map[string]*script)
}

// Serve answers one client until its connection ends, and closes it. A server that is
// down closes it at once.
func (s *Server) Serve(conn net.Conn) {
	defer conn.Close()
	c := s.admit(conn)
	if c == nil {
		return
	}
	c.serve()
}

// Time returns the server's clock.
func (s *Server) Time() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.timeLocked()
}

func (s *Server) timeLocked() time.Time { return s.opts.Now().Add(s.ahead) }

func (s *Server) millisLocked() int64 { return s.timeLocked().UnixMilli() }

// SetClock makes the server's clock ahead by so much, or behind.
func (s *Server) SetClock(ahead time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead = ahead
}

// RunID returns the id of the run, which INFO tells.
func (s *Server) RunID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runID
}

// Freeze has the server stand still: connections stay open, and nothing is answered.
func (s *Server) Freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen == nil && !s.down {
		s.frozen = make(chan struct{})
		s.primary.silence(silentFrozen, true)
	}
}

// Thaw lets a server go on that stands still.
func (s *Server) Thaw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.thawLocked()
}

func (s *Server) thawLocked() {
	if s.frozen == nil {
		return
	}
	close(s.frozen)
	s.frozen = nil
	if s.primary != nil {
		s.primary.silence(silentFrozen, false)
		s.primary.hurry()
	}
}

// Stop ends the process, as a crash would: connections end, and new ones are closed at
// once, until [Server.Restart].
func (s *Server) Stop() {
	s.mu.Lock()
	dead := s.stopLocked()
	s.mu.Unlock()
	closeAll(dead)
}

// Close ends the server for good: no goroutine of it is left once its connections are
// closed, nor is a replica tied to it.
func (s *Server) Close() {
	s.Stop()
	s.SetReplicaOf(nil)
}

func (s *Server) stopLocked() (dead []*client) {
	s.down = true
	s.thawLocked()
	s.primary.silence(silentDown, true)
	return s.dropLocked(func(*client) bool { return true })
}

// Restart begins with a new run that has the data of a snapshot, or none for nil. It
// ends the run before, as a crash would. A replica stays one.
func (s *Server) Restart(from *Snapshot) { s.restart(from, false) }

// Restore puts the server back to where it was, its run included, as when a machine is
// restored with its memory. Connections end.
func (s *Server) Restore(from *Snapshot) { s.restart(from, true) }

func (s *Server) restart(from *Snapshot, sameRun bool) {
	s.mu.Lock()
	dead := s.stopLocked()
	s.data, s.swept = newData(), 0
	if from != nil {
		s.data = from.data.clone()
	}
	s.beginRunLocked()
	if sameRun {
		s.runID, s.replID, s.replID2 = from.runID, from.replID, from.second
		maps.Copy(s.cached, from.cached)
	}
	s.down = false
	s.primary.silence(silentDown, false)
	s.resyncLocked()
	s.mu.Unlock()
	closeAll(dead)
}

// A Snapshot is what a server was at a time.
type Snapshot struct {
	data                  *data
	runID, replID, second string
	cached                map[string]*script
}

// Snapshot returns what the server is now.
func (s *Server) Snapshot() *Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Snapshot{data: s.data.clone(), runID: s.runID, replID: s.replID, second: s.replID2, cached: maps.Clone(s.cached)}
}

// FlushAll removes all keys.
func (s *Server) FlushAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushLocked()
	s.shipLocked()
}

func (s *Server) flushLocked() {
	s.data, s.swept = newData(), 0
	s.propagate("FLUSHALL")
}

// Remove removes keys, as an eviction would, and returns how many were there.
func (s *Server) Remove(keys ...string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, key := range keys {
		if s.data.remove(key) {
			s.propagate("DEL", key)
			n++
		}
	}
	s.shipLocked()
	return n
}

// Keys returns the names of all keys that have not expired, in order.
func (s *Server) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keysLocked()
}

func (s *Server) keysLocked() []string {
	return slices.DeleteFunc(s.data.names(), func(key string) bool { return s.lookLocked(key) == nil })
}

// Calls returns how often each command was carried out or refused, in scripts too.
func (s *Server) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// Unknown returns the commands that no server of this kind knows, and how often they came.
// Those that a test does not expect show that this package lacks something.
func (s *Server) Unknown() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.unknown)
}
