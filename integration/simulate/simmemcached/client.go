package simmemcached

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/nearbus/nearbus/integration/simulate/internal/outbox"
)

// A client is one connection.
type client struct {
	server *Server
	conn   net.Conn
	in     *bufio.Reader
	out    *outbox.Outbox
	dead   bool // protected by the server's mutex
}

// admit takes in a client, unless the server is down.
func (s *Server) admit(conn net.Conn) *client {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil
	}
	c := &client{server: s, conn: conn, in: bufio.NewReader(conn), out: outbox.New(conn, outputLimit)}
	s.clients = append(s.clients, c)
	return c
}

// outputLimit is how many bytes wait for a client at most.
const outputLimit = 1 << 30

// serve answers requests until the connection ends.
func (c *client) serve() {
	written := make(chan struct{})
	// Ends when out does, below.
	go func() {
		defer close(written)
		c.out.Run()
	}()
	c.answerAll()
	_ = c.conn.Close()
	c.out.End()
	<-written
}

func (c *client) answerAll() {
	for {
		line, err := c.in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			line, err = c.longLine(bytes.Clone(line))
		}
		if err != nil {
			return
		}
		r := request{words: strings.Fields(string(bytes.TrimRight(line, "\r\n")))}
		if c.readValue(&r) != nil || !c.carryOut(&r) {
			return
		}
		if c.in.Buffered() == 0 {
			c.out.Flush()
		}
	}
}

// maxLine bounds a request for many keys.
const maxLine = 1 << 20

// longLine reads the rest of a line.
func (c *client) longLine(line []byte) ([]byte, error) {
	for len(line) < maxLine {
		more, err := c.in.ReadSlice('\n')
		line = append(line, more...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
	return nil, bufio.ErrTooLong
}

// readValue reads the value that follows the line of a request that stores.
func (c *client) readValue(r *request) error {
	if !r.parseStorage() || r.length < 0 {
		return nil
	}
	if c.server.size(r.words[1], r.flags, r.length) > c.server.opts.MaxItem {
		r.tooLarge = true
		_, err := io.CopyN(io.Discard, c.in, int64(r.length)+2)
		return err
	}
	value := make([]byte, r.length+2)
	if _, err := io.ReadFull(c.in, value); err != nil {
		return err
	}
	r.badChunk = string(value[r.length:]) != "\r\n" // what follows is taken for a request
	r.value = string(value[:r.length])
	return nil
}

// carryOut carries out a request as soon as the server goes on, and reports whether the
// connection does.
func (c *client) carryOut(r *request) bool {
	s := c.server
	s.mu.Lock()
	for s.frozen != nil {
		frozen := s.frozen
		s.mu.Unlock()
		<-frozen
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	if c.dead || len(r.words) == 1 && r.words[0] == "quit" {
		return false
	}
	c.out.Put(func(b []byte) []byte {
		answered := s.answerLocked(b, r)
		if r.quiet {
			return b
		}
		return answered
	})
	return true
}
