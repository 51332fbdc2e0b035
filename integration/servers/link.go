package servers

import (
	"net"
	"sync"
	"time"
)

// link is one connection through a [Relay].
type link struct {
	client, server net.Conn

	once   sync.Once
	closed chan struct{} // closed by close
}

// close ends both connections. It may be called more than once.
func (l *link) close() {
	l.once.Do(func() {
		close(l.closed)
		_ = l.client.Close()
		_ = l.server.Close()
	})
}

// wait returns when the channel is closed. It reports false when the link was
// closed before.
func (l *link) wait(changed <-chan struct{}) bool {
	select {
	case <-changed:
		return true
	case <-l.closed:
		return false
	}
}

// sleep pauses for d. It reports false when the link was closed before.
func (l *link) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.closed:
		return false
	}
}
