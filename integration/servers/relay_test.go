package servers_test

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
)

// silence is how long nothing must arrive for a connection to count as silent.
const silence = 50 * time.Millisecond

// echoServer sends back what it gets and returns its address.
func echoServer(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func send(t *testing.T, conn net.Conn, text string) {
	_, err := conn.Write([]byte(text))
	require.NoError(t, err)
}

func receive(conn net.Conn, size int, within time.Duration) (string, error) {
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	buf := make([]byte, size)
	n, err := io.ReadFull(conn, buf)
	return string(buf[:n]), err
}

func requireEcho(t *testing.T, conn net.Conn) {
	t.Helper()
	send(t, conn, "hello")
	got, err := receive(conn, len("hello"), patience)
	require.NoError(t, err)
	require.Equal(t, "hello", got)
}

func requireSilent(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := receive(conn, 1, silence)
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())
}

func requireClosed(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := receive(conn, 1, patience)
	require.True(t, errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET), "%v", err)
}

func TestRelay_PassesBytesOn(t *testing.T) {
	t.Parallel()
	relay := servers.RelayTo(t, echoServer(t))
	requireEcho(t, dial(t, relay.Addr))
}

func TestRelay_CutClosesConnectionsAndTakesNewOnes(t *testing.T) {
	t.Parallel()
	relay := servers.RelayTo(t, echoServer(t))
	conn := dial(t, relay.Addr)
	requireEcho(t, conn)

	relay.Cut()

	requireClosed(t, conn)
	requireEcho(t, dial(t, relay.Addr))
}

func TestRelay_RefuseTurnsAwayUntilResume(t *testing.T) {
	t.Parallel()
	relay := servers.RelayTo(t, echoServer(t))
	conn := dial(t, relay.Addr)
	requireEcho(t, conn)

	relay.Refuse()
	requireClosed(t, conn)
	_, err := net.Dial("tcp", relay.Addr)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	require.NoError(t, relay.Resume())
	requireEcho(t, dial(t, relay.Addr))
}

func TestRelay_StallHoldsBytesUntilResume(t *testing.T) {
	t.Parallel()
	relay := servers.RelayTo(t, echoServer(t))
	conn := dial(t, relay.Addr)
	requireEcho(t, conn)

	relay.Stall()
	send(t, conn, "late")
	requireSilent(t, conn)

	require.NoError(t, relay.Resume())
	got, err := receive(conn, len("late"), patience)
	require.NoError(t, err)
	assert.Equal(t, "late", got)
}

func TestRelay_BlackholeDropsBytesAndKeepsConnectionsOpen(t *testing.T) {
	t.Parallel()
	relay := servers.RelayTo(t, echoServer(t))
	conn := dial(t, relay.Addr)
	requireEcho(t, conn)

	relay.Blackhole()
	send(t, conn, "lost")
	requireSilent(t, conn)
	fresh := dial(t, relay.Addr)
	send(t, fresh, "lost")
	requireSilent(t, fresh)

	require.NoError(t, relay.Resume())
	requireClosed(t, conn)
	requireClosed(t, fresh)
	requireEcho(t, dial(t, relay.Addr))
}

func TestRelay_BlackholeHidesTheEndOfAServer(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	relay := servers.RelayTo(t, server.Addr)
	conn := dial(t, relay.Addr)
	send(t, conn, "PING\r\n")
	_, err := receive(conn, len("+PONG\r\n"), patience)
	require.NoError(t, err)

	relay.Blackhole()
	server.Kill()

	requireSilent(t, conn)
	require.NoError(t, relay.Resume())
	requireClosed(t, conn)
}

func TestRelay_ClosesTheClientWhenTheServerIsGone(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	relay := servers.RelayTo(t, server.Addr)
	conn := dial(t, relay.Addr)
	server.Kill()
	requireClosed(t, conn)
	requireClosed(t, dial(t, relay.Addr))
}

func TestRelay_DelayIsAddedEachWay(t *testing.T) {
	t.Parallel()
	relay := servers.RelayTo(t, echoServer(t))
	conn := dial(t, relay.Addr)
	requireEcho(t, conn)

	const delay = 20 * time.Millisecond
	relay.Delay(delay)
	begin := time.Now()
	requireEcho(t, conn)

	assert.GreaterOrEqual(t, time.Since(begin), 2*delay)
}

func TestRelay_StopEndsEverything(t *testing.T) {
	t.Parallel()
	relay, err := servers.StartRelay(echoServer(t))
	require.NoError(t, err)
	conn := dial(t, relay.Addr)
	relay.Stall()

	relay.Stop()
	relay.Stop()

	requireClosed(t, conn)
	_, err = net.Dial("tcp", relay.Addr)
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	assert.ErrorIs(t, relay.Resume(), servers.ErrStopped)
}
