package simulate

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// connected calls f in a bubble with both ends of a connection.
func connected(t *testing.T, f func(t *testing.T, n *network, client, server net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(1, calm(false))
		ends := make(chan net.Conn, 1)
		done := make(chan struct{})
		n.point("server", &host{name: "host", serve: func(c net.Conn) { ends <- c; <-done }})
		client, err := n.dialer("process")(t.Context(), "tcp", "server:6379")
		require.NoError(t, err)
		f(t, n, client, <-ends)
		close(done)
		_ = client.Close()
	})
}

func TestConn_Delivers(t *testing.T) {
	connected(t, func(t *testing.T, _ *network, client, server net.Conn) {
		began := time.Now()
		_, err := client.Write([]byte("hello "))
		require.NoError(t, err)
		_, err = client.Write([]byte("world"))
		require.NoError(t, err)
		require.NoError(t, client.Close())
		all, err := io.ReadAll(server)
		require.NoError(t, err, "what was written before the end arrives")
		assert.Equal(t, "hello world", string(all))
		assert.Positive(t, time.Since(began), "it takes time")
		_, err = client.Write([]byte("x"))
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

func TestConn_Deadlines(t *testing.T) {
	connected(t, func(t *testing.T, _ *network, client, server net.Conn) {
		began := time.Now()
		require.NoError(t, client.SetReadDeadline(began.Add(time.Second)))
		b := make([]byte, 8)
		_, err := client.Read(b)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(began))
		_, err = server.Write([]byte("late"))
		require.NoError(t, err)
		time.Sleep(time.Second)
		_, err = client.Read(b)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "a deadline stands until it is changed")

		require.NoError(t, client.SetReadDeadline(time.Time{}))
		n, err := client.Read(b)
		require.NoError(t, err)
		assert.Equal(t, "late", string(b[:n]))

		time.AfterFunc(time.Second, func() { _ = client.SetReadDeadline(time.Now()) })
		_, err = client.Read(b)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "a deadline wakes who reads")
	})
}

func TestConn_CutAndLateDelivery(t *testing.T) {
	connected(t, func(t *testing.T, n *network, client, server net.Conn) {
		out := n.way("process", "host", false)
		out.cut()
		_, err := client.Write([]byte("abandoned"))
		require.NoError(t, err)
		require.NoError(t, client.Close())
		require.NoError(t, server.SetReadDeadline(time.Now().Add(time.Minute)))
		_, err = server.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, server.SetReadDeadline(time.Time{}))
		out.mend(time.Second)
		began := time.Now()
		all, err := io.ReadAll(server)
		require.NoError(t, err)
		assert.Equal(t, "abandoned", string(all), "it lands although its writer has left")
		assert.GreaterOrEqual(t, time.Since(began), time.Second)
	})
}

func TestConn_HalfOpen(t *testing.T) {
	connected(t, func(t *testing.T, n *network, client, server net.Conn) {
		n.way("process", "host", true).vanish()
		_, err := server.Write([]byte("gone"))
		require.NoError(t, err, "nobody is told")
		require.NoError(t, client.SetReadDeadline(time.Now().Add(time.Hour)))
		_, err = client.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, server.SetWriteDeadline(time.Now().Add(time.Minute)))
		for err == nil {
			_, err = server.Write(make([]byte, 1<<16))
		}
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "the buffer is full")
	})
}

func TestConn_Reset(t *testing.T) {
	connected(t, func(t *testing.T, n *network, client, server net.Conn) {
		time.AfterFunc(time.Second, n.way("process", "host", true).reset)
		_, err := client.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.NoError(t, server.Close())
	})
}

func TestNetwork_NamesMove(t *testing.T) {
	connected(t, func(t *testing.T, n *network, client, server net.Conn) {
		other := &host{name: "other", serve: func(c net.Conn) { _, _ = c.Write([]byte("other")) }}
		n.point("server", other)
		second, err := n.dialer("process")(t.Context(), "tcp", "server:6379")
		require.NoError(t, err)
		all, err := io.ReadAll(second)
		require.NoError(t, err)
		assert.Equal(t, "other", string(all))
		require.NoError(t, second.Close())
		_, err = server.Write([]byte("old"))
		require.NoError(t, err)
		b := make([]byte, 8)
		l, err := client.Read(b)
		require.NoError(t, err)
		assert.Equal(t, "old", string(b[:l]), "a connection of before stays")

		other.refuse(true)
		_, err = n.dialer("process")(t.Context(), "tcp", "server:6379")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		_, err = n.dialer("process")(t.Context(), "tcp", "nowhere:6379")
		require.ErrorContains(t, err, "no such host")
	})
}
