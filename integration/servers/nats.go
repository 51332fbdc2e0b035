package servers

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// NATSServer is a nats-server that runs inside this process. To suspend it, put
// a [Relay] in front.
type NATSServer struct {
	// Addr is the host and port that the server listens on, and URL the same
	// as clients want it. They stay the same for the whole life of the server.
	Addr, URL string

	options server.Options
	dir     string

	mu     sync.Mutex // serializes the methods, guards server
	server *server.Server
}

// NATS starts a nats-server for the test; see [StartNATS].
func NATS(t testing.TB, adjust ...func(*server.Options)) *NATSServer {
	t.Helper()
	srv, err := StartNATS(adjust...)
	return inTest(t, srv, err)
}

// StartNATS starts a nats-server without JetStream. The functions may change
// its configuration before it starts; [JetStream] is one.
func StartNATS(adjust ...func(*server.Options)) (*NATSServer, error) {
	return onFreePorts(context.Background(), func() (*NATSServer, error) { return tryNATS(adjust) })
}

// JetStream turns JetStream on. It keeps its streams in the server's directory.
func JetStream(options *server.Options) { options.JetStream = true }

func tryNATS(adjust []func(*server.Options)) (*NATSServer, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "nearbus-nats-")
	if err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	n := &NATSServer{Addr: loopback(port), URL: "nats://" + loopback(port), dir: dir}
	n.options = server.Options{
		Host: "127.0.0.1", Port: port, StoreDir: dir, NoLog: true, NoSigs: true,
	}
	for _, change := range adjust {
		change(&n.options)
	}
	if err := n.Restart(); err != nil {
		n.Stop()
		return nil, err
	}
	return n, nil
}

// Restart ends the server, if it still runs, and starts it again on the same
// port with the same configuration and directory.
func (n *NATSServer) Restart() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.killLocked()
	// The server changes the options that it is given, so it gets a copy.
	srv, err := server.NewServer(n.options.Clone())
	if err != nil {
		return fmt.Errorf("servers: start nats: %w", err)
	}
	n.server = srv
	srv.Start()
	if srv.Addr() == nil {
		n.killLocked()
		return fmt.Errorf("servers: start nats: cannot listen on %s", n.Addr)
	}
	return nil
}

// Kill ends the server and every connection to it. Restart brings it back.
func (n *NATSServer) Kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.killLocked()
}

// Stop ends the server for good and removes its directory. It may be called
// more than once.
func (n *NATSServer) Stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.killLocked()
	_ = os.RemoveAll(n.dir) // A leftover in the system's temporary directory harms nobody.
}

func (n *NATSServer) killLocked() {
	if n.server == nil {
		return
	}
	n.server.Shutdown()
	n.server.WaitForShutdown()
	n.server = nil
}
