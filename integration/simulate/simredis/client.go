package simredis

import (
	"errors"
	"net"
	"slices"

	"github.com/nearbus/nearbus/integration/simulate/internal/outbox"
)

// A client is one connection.
type client struct {
	server *Server
	conn   net.Conn
	out    *outbox.Outbox
	id     int64

	// Protected by the server's mutex.
	dead     bool
	protocol int
	name     string
	channels []string
	shards   []string
	quit     bool // when what was said has arrived
}

// admit takes in a client, unless the server is down.
func (s *Server) admit(conn net.Conn) *client {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil
	}
	s.lastID++
	c := &client{server: s, conn: conn, id: s.lastID, protocol: 2, out: outbox.New(conn, s.opts.OutputLimit)}
	s.clients = append(s.clients, c)
	return c
}

// serve answers requests until the connection ends.
func (c *client) serve() {
	written := make(chan struct{})
	// Ends when out does, below.
	go func() {
		defer close(written)
		c.out.Run()
	}()
	gently := c.answerAll()
	if !gently {
		_ = c.conn.Close()
	}
	c.out.End()
	<-written
	c.leave()
}

// answerAll answers requests, and reports whether what was said is to arrive still.
func (c *client) answerAll() (gently bool) {
	requests := &requestReader{from: c.conn}
	var args []string
	for {
		var err error
		args, err = requests.next(args, c.out.Flush)
		if broken, is := errors.AsType[protocolError](err); is {
			c.say(failure(string(broken)))
			c.out.Flush()
			return true
		}
		if err != nil {
			return false
		}
		switch c.answer(args) {
		case hungUp:
			return false
		case bye:
			c.out.Flush()
			return true
		}
	}
}

// What becomes of a connection after a request.
const (
	goOn = iota
	hungUp
	bye
)

// answer carries out one request, as soon as the server goes on.
func (c *client) answer(args []string) int {
	s := c.server
	s.mu.Lock()
	for s.frozen != nil {
		frozen := s.frozen
		s.mu.Unlock()
		<-frozen
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	if c.dead {
		return hungUp
	}
	answer := s.carryOutLocked(c, args) // which may change the protocol
	c.say(answer)
	if c.quit {
		return bye
	}
	return goOn
}

// say has a reply sent at the next flush.
func (c *client) say(r reply) {
	c.out.Put(func(b []byte) []byte { return r.appendTo(b, c.protocol) })
}

// leave takes c out of what the server knows.
func (c *client) leave() {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropLocked(func(other *client) bool { return other == c })
}

// dropLocked forgets some clients and returns them; their connections are to be closed.
func (s *Server) dropLocked(which func(*client) bool) (dead []*client) {
	s.clients = slices.DeleteFunc(s.clients, func(c *client) bool {
		if !which(c) {
			return false
		}
		c.dead = true
		for _, channel := range c.channels {
			forget(s.channels, channel, c)
		}
		for _, channel := range c.shards {
			forget(s.shards, channel, c)
		}
		c.channels, c.shards = nil, nil
		dead = append(dead, c)
		return true
	})
	return dead
}

func closeAll(clients []*client) {
	for _, c := range clients {
		_ = c.conn.Close()
	}
}

// Kind is a kind of clients.
type Kind string

// Kinds of clients, as CLIENT KILL TYPE has them.
const (
	AllClients    Kind = ""
	NormalClients Kind = "normal"
	Subscribers   Kind = "pubsub"
)

// KillClients ends the connections of a kind, and returns how many those were.
func (s *Server) KillClients(kind Kind) int {
	s.mu.Lock()
	dead := s.dropLocked(func(c *client) bool {
		return kind == AllClients || (kind == Subscribers) == c.subscribed()
	})
	s.mu.Unlock()
	closeAll(dead)
	return len(dead)
}

func (c *client) subscribed() bool { return len(c.channels)+len(c.shards) > 0 }
