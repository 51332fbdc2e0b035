package simredis

import (
	"net"
	"sync"
)

// output is what waits to be sent to a client. Nobody waits for the client but the
// goroutine that sends.
type output struct {
	conn  net.Conn
	limit int
	wake  chan struct{}

	mu      sync.Mutex
	waiting []byte
	over    bool // nothing more is to be sent
}

func newOutput(conn net.Conn, limit int) *output {
	return &output{conn: conn, limit: limit, wake: make(chan struct{}, 1)}
}

// say puts a reply behind what waits. It is sent at the next flush.
func (o *output) say(r reply, protocol int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return
	}
	o.waiting = r.appendTo(o.waiting, protocol)
	if len(o.waiting) > o.limit { // as client-output-buffer-limit does
		o.waiting, o.over = nil, true
		go o.conn.Close() // which may take a lock of who called
	}
}

// flush has all sent that was said.
func (o *output) flush() {
	select {
	case o.wake <- struct{}{}:
	default: // it was told already
	}
}

// end has run return when what was said is sent.
func (o *output) end() {
	o.mu.Lock()
	o.over = true
	o.mu.Unlock()
	o.flush()
}

// run sends until the end, or until the connection breaks.
func (o *output) run() {
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
				o.end()
				return
			}
		}
	}
}
