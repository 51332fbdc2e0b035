package simulate

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// socketBuffer is how many bytes may be on their way in one direction before a
// writer has to wait.
const socketBuffer = 1 << 20

// stream is one direction of a connection: what is written at one end is read at the
// other when it has arrived. Nothing is reordered. It has no goroutine: the reader
// waits for the next packet to arrive.
type stream struct {
	way  *way
	roll uint64 // of this stream, see seed

	mu       sync.Mutex // protects the fields below
	packets  []packet
	size     int       // bytes in packets
	count    uint64    // packets ever written
	last     time.Time // arrival of the last one
	ended    bool      // the writer has closed; after the packets comes io.EOF
	endsAt   time.Time
	left     bool  // the reader has closed
	broken   error // both ends are told at once
	vanishes bool  // nothing that is written arrives any more, and nobody is told

	readBy, writeBy time.Time     // deadlines; zero is none
	readable        chan struct{} // has a signal when a reader should look again
	writable        chan struct{} // likewise for a writer
	timer           *time.Timer   // of the reader
}

type packet struct {
	data    []byte
	arrives time.Time
}

func newStream(w *way, roll uint64) *stream {
	s := &stream{way: w, roll: roll, readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
	w.add(s)
	return s
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func passed(deadline, now time.Time) bool { return !deadline.IsZero() && !now.Before(deadline) }

// read waits for bytes, the end, or the deadline.
func (s *stream) read(b []byte) (int, error) {
	for {
		n, wait, err := s.take(b)
		if n > 0 || err != nil {
			return n, err
		}
		s.await(wait)
	}
}

// take returns what has arrived, or for how long to wait at most, 0 for as long as it
// takes.
func (s *stream) take(b []byte) (n int, wait time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	next := s.readBy
	switch {
	case s.left:
		return 0, 0, net.ErrClosed
	case passed(s.readBy, now):
		return 0, 0, os.ErrDeadlineExceeded
	case s.broken != nil:
		return 0, 0, s.broken
	case s.vanishes || s.way.isCut():
	case len(s.packets) > 0:
		if n = s.arrivedLocked(b, now); n > 0 || len(b) == 0 {
			return n, 0, nil
		}
		next = sooner(next, s.packets[0].arrives)
	case s.ended:
		if !now.Before(s.endsAt) {
			return 0, 0, io.EOF
		}
		next = sooner(next, s.endsAt)
	}
	if next.IsZero() {
		return 0, 0, nil
	}
	return 0, next.Sub(now), nil
}

func sooner(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

func (s *stream) arrivedLocked(b []byte, now time.Time) (n int) {
	for len(s.packets) > 0 && n < len(b) && !now.Before(s.packets[0].arrives) {
		p := &s.packets[0]
		taken := copy(b[n:], p.data)
		n += taken
		s.size -= taken
		if p.data = p.data[taken:]; len(p.data) == 0 {
			*p = packet{}
			s.packets = s.packets[1:]
		}
	}
	if n > 0 {
		signal(s.writable)
	}
	return n
}

// await waits for a signal, for a time at most. There is one reader at a time.
func (s *stream) await(wait time.Duration) {
	if wait == 0 {
		<-s.readable
		return
	}
	if s.timer == nil {
		s.timer = time.NewTimer(wait)
	} else {
		s.timer.Reset(wait)
	}
	select {
	case <-s.readable:
		s.timer.Stop()
	case <-s.timer.C:
	}
}

// write sends b, and waits while too much is on its way.
func (s *stream) write(b []byte) (int, error) {
	for {
		wait, err := s.put(b)
		if err != nil {
			return 0, err
		}
		if wait < 0 {
			return len(b), nil
		}
		if wait == 0 {
			<-s.writable
			continue
		}
		t := time.NewTimer(wait)
		select {
		case <-s.writable:
		case <-t.C:
		}
		t.Stop()
	}
}

// put returns how long to wait before the next attempt, 0 for as long as it takes;
// less if b is on its way.
func (s *stream) put(b []byte) (wait time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case s.ended:
		return 0, net.ErrClosed
	case passed(s.writeBy, now):
		return 0, os.ErrDeadlineExceeded
	case s.broken != nil:
		return 0, s.broken
	case s.left && !s.way.isCut() && !s.vanishes:
		return 0, syscall.EPIPE
	case s.size > 0 && s.size+len(b) > socketBuffer:
		if s.writeBy.IsZero() {
			return 0, nil
		}
		return s.writeBy.Sub(now), nil
	}
	s.last = later(s.last, now.Add(s.way.latency(s.nextRollLocked())))
	s.packets = append(s.packets, packet{append([]byte(nil), b...), s.last})
	s.size += len(b)
	signal(s.readable)
	return -1, nil
}

func (s *stream) nextRollLocked() uint64 {
	s.count++
	return scramble(s.roll ^ s.count)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// end is what the writer does last: what it wrote still arrives.
func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	s.endsAt = later(s.last, time.Now().Add(s.way.latency(s.nextRollLocked())))
	signal(s.readable)
	signal(s.writable)
}

// over reports whether nobody uses the stream any more.
func (s *stream) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left && s.ended
}

// leave is what the reader does last.
func (s *stream) leave() {
	s.mu.Lock()
	s.left, s.packets, s.size = true, nil, 0
	s.mu.Unlock()
	s.way.remove(s)
	signal(s.readable)
	signal(s.writable)
}

// reset breaks the stream at both ends, at once.
func (s *stream) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.broken = syscall.ECONNRESET
	}
	s.packets, s.size = nil, 0
	signal(s.readable)
	signal(s.writable)
}

// vanish makes everything that is written, and was and has not arrived, be lost
// without a word.
func (s *stream) vanish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vanishes = true
	signal(s.readable)
}

// delay has packets that should have arrived by now come later: they have to be sent
// again.
func (s *stream) delay(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := time.Now().Add(by)
	for i := range s.packets {
		s.packets[i].arrives = later(s.packets[i].arrives, at)
	}
	if len(s.packets) > 0 {
		s.last = later(s.last, at)
	}
	if s.ended {
		s.endsAt = later(s.endsAt, at)
	}
	signal(s.readable)
}

func (s *stream) setReadDeadline(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readBy.Equal(t) {
		return
	}
	s.readBy = t
	signal(s.readable)
}

func (s *stream) setWriteDeadline(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeBy = t
	if s.size > socketBuffer/2 {
		signal(s.writable)
	}
}

// conn is one end of a connection. Like a connection of the package net, it may be
// used by several goroutines, though not read by two at once.
type conn struct {
	in, out       *stream
	local, remote addr
}

var _ net.Conn = (*conn)(nil)

// addr is the address of an end.
type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

func (c *conn) Read(b []byte) (int, error)  { return c.in.read(b) }
func (c *conn) Write(b []byte) (int, error) { return c.out.write(b) }

// Close ends the connection. What was written before still arrives.
func (c *conn) Close() error {
	c.out.end()
	c.in.leave()
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	c.in.setReadDeadline(t)
	c.out.setWriteDeadline(t)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.setReadDeadline(t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.setWriteDeadline(t)
	return nil
}

// die is the end of a process at either end of the stream: it writes and reads nothing
// any more, and what is under way arrives or not.
func (s *stream) die(arrives bool) {
	if arrives {
		s.end()
		return
	}
	s.reset()
}
