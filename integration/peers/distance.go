package main

import (
	"net"
	"sync"
	"time"
)

// far returns the address of a server that is a round trip away from the one at addr: all
// bytes are passed on later, in both directions, by half of it, and no fewer at a time.
func (e *env) far(addr string, trip time.Duration) string {
	listener := value(net.Listen("tcp", "127.0.0.1:0"))
	d := &distance{half: trip / 2, target: addr}
	e.atEnd(func() { _ = listener.Close(); d.cut() })
	go func() { // ends when the listener is closed
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			d.connect(near)
		}
	}()
	return listener.Addr().String()
}

// distance passes connections on to a server.
type distance struct {
	half   time.Duration
	target string

	mu    sync.Mutex
	conns []net.Conn // protected by mu
}

func (d *distance) connect(near net.Conn) {
	server, err := net.Dial("tcp", d.target)
	if err != nil {
		_ = near.Close()
		return
	}
	d.mu.Lock()
	d.conns = append(d.conns, near, server)
	d.mu.Unlock()
	d.pass(near, server)
	d.pass(server, near)
}

func (d *distance) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		_ = c.Close()
	}
}

// piece is bytes under way.
type piece struct {
	bytes *[64 << 10]byte
	n     int
	due   time.Time
}

var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// pass passes bytes on in one direction, by two goroutines that end with the connections.
func (d *distance) pass(from, to net.Conn) {
	way := make(chan piece, 1024)
	go func() {
		defer close(way)
		for {
			buffer := buffers.Get().(*[64 << 10]byte)
			n, err := from.Read(buffer[:])
			if err != nil {
				return
			}
			way <- piece{buffer, n, time.Now().Add(d.half)}
		}
	}()
	go func() {
		defer from.Close()
		defer to.Close()
		for p := range way {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.bytes[:p.n]); err != nil {
				return
			}
			buffers.Put(p.bytes)
		}
	}()
}
