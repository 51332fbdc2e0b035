// Package tee has a client speak to two servers at once, and compares what they answer:
// a real server, whose answers the client gets, and a simulated one.
package tee

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Protocol says how requests and answers are told apart.
type Protocol struct {
	// Answer reads one answer, as a whole.
	Answer func(r *bufio.Reader) ([]byte, error)

	// Requests returns how many whole requests b begins with, each of which has one
	// answer, and their length. If it is nil, clients have to make one request after the
	// other; if not, requests of several clients reach both servers in the same order.
	Requests func(b []byte) (n, length int)
}

// ErrDifferent is what a client gets in place of an answer that is not the same.
var ErrDifferent = errors.New("tee: the answers of the servers are not the same")

// A Comparison is of all that some connections carried.
type Comparison struct {
	turn sync.Mutex // held while requests are sent and answered

	// Same reports whether two answers are the same although their bytes are not. It may
	// be nil.
	Same func(request, real, simulated []byte) bool

	mu        sync.Mutex
	compared  int
	last      [][]byte // requests
	different error
}

// keptRequests is how many requests a difference is reported with.
const keptRequests = 6

// Alone calls f while no request is under way.
func (c *Comparison) Alone(f func()) {
	c.turn.Lock()
	defer c.turn.Unlock()
	f()
}

// Compared returns how many answers were the same.
func (c *Comparison) Compared() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.compared
}

// Err returns the first difference, or nil.
func (c *Comparison) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.different
}

func (c *Comparison) sent(request []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.last) == keptRequests {
		c.last = append(c.last[:0], c.last[1:]...)
	}
	c.last = append(c.last, append([]byte(nil), request...))
}

// compare returns an error if two answers are not the same.
func (c *Comparison) compare(real, simulated []byte, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var request []byte
	if len(c.last) > 0 {
		request = c.last[len(c.last)-1]
	}
	if err == nil && (string(real) == string(simulated) || c.Same != nil && c.Same(request, real, simulated)) {
		c.compared++
		return nil
	}
	if c.different == nil {
		var story strings.Builder
		for _, r := range c.last {
			fmt.Fprintf(&story, "sent      %s\n", short(r))
		}
		if err != nil {
			fmt.Fprintf(&story, "failed    %v\n", err)
		}
		c.different = fmt.Errorf("%w\n%sreal      %s\nsimulated %s", ErrDifferent, story.String(), short(real), short(simulated))
	}
	return ErrDifferent
}

// long is how much of a request or an answer is shown.
const long = 400

func short(b []byte) string {
	if len(b) <= long {
		return strconv.Quote(string(b))
	}
	return fmt.Sprintf("%q and %d bytes", b[:long], len(b)-long)
}

// patience is how long the simulated server may take for what the real one has answered.
const patience = 10 * time.Second

// Conn is a connection to both servers. Writes and reads are one after the other.
type Conn struct {
	net.Conn // to the real server

	simulated  net.Conn
	comparison *Comparison
	protocol   Protocol
	fromReal   *bufio.Reader
	fromOther  *bufio.Reader
	unfinished []byte // beginning of a request
	rest       []byte // of answers that the client has not read
	err        error  // in place of what follows
}

// New returns a connection that does what both are told, and compares answers.
func New(real, simulated net.Conn, c *Comparison, protocol Protocol) *Conn {
	return &Conn{
		Conn: real, simulated: simulated, comparison: c, protocol: protocol,
		fromReal: bufio.NewReader(real), fromOther: bufio.NewReader(simulated),
	}
}

// Write sends b to both servers, and waits for the answers to the requests in it.
func (c *Conn) Write(b []byte) (int, error) {
	c.comparison.turn.Lock()
	defer c.comparison.turn.Unlock()
	c.comparison.sent(b)
	n, err := c.Conn.Write(b)
	if err != nil {
		return n, err
	}
	if _, err := c.simulated.Write(b); err != nil {
		return 0, c.closed(err)
	}
	if c.protocol.Requests == nil {
		return n, nil
	}
	c.unfinished = append(c.unfinished, b...)
	requests, length := c.protocol.Requests(c.unfinished)
	c.unfinished = c.unfinished[length:]
	_ = c.SetReadDeadline(time.Now().Add(patience))
	for range requests {
		if c.err == nil {
			c.err = c.readAnswer()
		}
	}
	return n, nil
}

// readAnswer reads an answer from both servers.
func (c *Conn) readAnswer() error {
	real, err := c.protocol.Answer(c.fromReal)
	if err != nil {
		return err
	}
	_ = c.simulated.SetReadDeadline(time.Now().Add(patience))
	simulated, err := c.protocol.Answer(c.fromOther)
	if err := c.comparison.compare(real, simulated, err); err != nil {
		return err
	}
	c.rest = append(c.rest, real...)
	return nil
}

// closed returns err, by which the simulated server has closed the connection, if the real
// one has, too.
func (c *Conn) closed(err error) error {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	var timeout net.Error
	if _, other := c.fromReal.Peek(1); other == nil || errors.As(other, &timeout) && timeout.Timeout() {
		return c.comparison.compare(nil, nil, err)
	}
	return err
}

// Read returns an answer of the real server, or a part of one, when the simulated one has
// given the same.
func (c *Conn) Read(b []byte) (int, error) {
	if len(c.rest) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		if err := c.readAnswer(); err != nil {
			return 0, err
		}
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// Close closes both connections.
func (c *Conn) Close() error {
	return errors.Join(c.Conn.Close(), c.simulated.Close())
}
