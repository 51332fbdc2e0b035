package servers

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Servers get ports below the range that systems hand to outgoing connections.
// Otherwise a client that dials a killed server again and again may be given
// the server's own port, connect to itself and keep the server from returning.
const (
	firstPort = 10000
	lastPort  = 21999
)

// clusterBusOffset is the distance from a Redis Cluster node's port to the port
// on which it talks to other nodes.
const clusterBusOffset = 10000

const (
	portTries  = 100
	startTries = 5
)

// freePort returns a loopback port that nothing listens on, nor on the one that
// belongs to it as cluster bus.
func freePort() (int, error) {
	for range portTries {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if unused(port) && unused(port+clusterBusOffset) {
			return port, nil
		}
	}
	return 0, errors.New("servers: no free loopback port found")
}

func unused(port int) bool {
	listener, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return false
	}
	return listener.Close() == nil
}

// onFreePorts returns what start starts. Another process may take a port between
// the look and its use, so it is tried on a few. The error is that of the last.
func onFreePorts[S any](ctx context.Context, start func() (S, error)) (S, error) {
	var s S
	var err error
	for range startTries {
		if s, err = start(); err == nil || ctx.Err() != nil {
			break
		}
	}
	return s, err
}

func loopback(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
