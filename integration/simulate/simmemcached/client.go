package simmemcached

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
)

// A client is one connection.
type client struct {
	server *Server
	conn   net.Conn
	in     *bufio.Reader
	out    []byte
	dead   bool // protected by the server's mutex
}

// admit takes in a client, unless the server is down.
func (s *Server) admit(conn net.Conn) *client {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil
	}
	c := &client{server: s, conn: conn, in: bufio.NewReader(conn)}
	s.clients = append(s.clients, c)
	return c
}

// serve answers requests until the connection ends.
func (c *client) serve() {
	for {
		line, err := c.in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			line, err = c.longLine(bytes.Clone(line))
		}
		if err != nil {
			return
		}
		request := request{words: strings.Fields(string(bytes.TrimRight(line, "\r\n")))}
		if err := c.readValue(&request); err != nil {
			return
		}
		if !c.carryOut(&request) {
			return
		}
		if c.in.Buffered() > 0 {
			continue
		}
		if _, err := c.conn.Write(c.out); err != nil {
			return
		}
		c.out = c.out[:0]
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
	for {
		s.mu.Lock()
		if c.dead || s.frozen == nil {
			break
		}
		frozen := s.frozen
		s.mu.Unlock()
		<-frozen
	}
	defer s.mu.Unlock()
	if c.dead || len(r.words) == 1 && r.words[0] == "quit" {
		return false
	}
	answered := len(c.out)
	c.out = s.answerLocked(c.out, r)
	if r.quiet {
		c.out = c.out[:answered]
	}
	return true
}
