package memcachestore_test

import (
	"context"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
)

// failing is a connection whose reads fail, once it has given its answers.
type failing struct {
	net.Conn
	answers *int
	err     error
}

func (failing) Write(p []byte) (int, error) { return len(p), nil }

func (f failing) Read(p []byte) (int, error) {
	if *f.answers == 0 {
		return 0, f.err
	}
	*f.answers--
	return copy(p, "END\r\n"), nil
}

func (failing) Close() error                  { return nil }
func (failing) SetDeadline(_ time.Time) error { return nil }

// TestStore_TriesDeadConnectionsAgain: a request is made again where a connection died
// that had been kept, and not for any other reason.
func TestStore_TriesDeadConnectionsAgain(t *testing.T) {
	reset := &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	for name, c := range map[string]struct {
		read, dial error
		want       int // connections that are made
	}{
		"ended":               {io.EOF, nil, 1},
		"ended in an answer":  {io.ErrUnexpectedEOF, nil, 1},
		"reset":               {reset, nil, 1},
		"took too long":       {&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, nil, 0},
		"closed by its owner": {&net.OpError{Op: "read", Err: net.ErrClosed}, nil, 0},
		"then refused":        {io.EOF, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			dials, answers := 0, 0
			client := memcache.New("127.0.0.1:1")
			client.DialContext = func(context.Context, string, string) (net.Conn, error) {
				dials++
				if c.dial != nil && answers == 0 {
					return nil, c.dial
				}
				return failing{answers: &answers, err: c.read}, nil
			}
			store, err := memcachestore.New(client, memcachestore.Options{})
			require.NoError(t, err)
			record := driver.Record{Kind: driver.KindValue, Nonce: 1}
			write := []driver.Write{{Key: "k", Image: record.Append(nil)}}
			for _, call := range []func() error{
				func() error { _, err := store.Read(t.Context(), []string{"k"}); return err },
				func() error { _, err := store.Read(t.Context(), []string{"k", "l"}); return err },
				func() error { return store.Write(t.Context(), write)[0].Err },
			} {
				answers = 1
				_, err := store.Read(t.Context(), []string{"k"})
				require.NoError(t, err, "its connection is kept")
				dials = 0
				require.Error(t, call())
				assert.Equal(t, c.want, dials, "on a connection that was kept")
				dials = 0
				require.Error(t, call())
				assert.Equal(t, 1, dials, "on a new one")
			}
		})
	}
}
