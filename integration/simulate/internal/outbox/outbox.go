// Package outbox holds what simulated servers have to send.
package outbox

import (
	"net"
	"sync"
)

// An Outbox is what waits to be sent over a connection. Nobody waits for the one who
// reads but the goroutine that sends. All methods may be called from many goroutines.
type Outbox struct {
	conn  net.Conn
	limit int
	wake  chan struct{}

	mu      sync.Mutex
	waiting []byte
	over    bool // nothing more is to be sent
}

// New returns an Outbox for a connection, which is closed when more than limit bytes wait.
func New(conn net.Conn, limit int) *Outbox {
	return &Outbox{conn: conn, limit: limit, wake: make(chan struct{}, 1)}
}

// Put has put append to what waits. It is sent at the next Flush.
func (o *Outbox) Put(put func(waiting []byte) []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return
	}
	o.waiting = put(o.waiting)
	if len(o.waiting) > o.limit {
		o.waiting, o.over = nil, true
		go o.conn.Close() // which may take a lock of who called
	}
}

// Flush has all sent that was put.
func (o *Outbox) Flush() {
	select {
	case o.wake <- struct{}{}:
	default: // Run was told already
	}
}

// End has Run return when what was put is sent.
func (o *Outbox) End() {
	o.mu.Lock()
	o.over = true
	o.mu.Unlock()
	o.Flush()
}

// Run sends until the End, or until the connection breaks, which it closes then.
func (o *Outbox) Run() {
	var sending []byte
	for range o.wake {
		for {
			o.mu.Lock()
			sending, o.waiting = o.waiting, sending[:0]
			over := o.over
			o.mu.Unlock()
			if len(sending) == 0 {
				if over {
					return
				}
				break
			}
			if _, err := o.conn.Write(sending); err != nil {
				_ = o.conn.Close()
				o.End()
				return
			}
		}
	}
}
