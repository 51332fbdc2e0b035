package redisstore

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/driver"
)

// TestReceipt: an answer to a write that the script does not give is an error, whatever its
// length.
func TestReceipt(t *testing.T) {
	ctx := context.Background()
	now := string(word(1_000_000))
	for answer, want := range map[string]error{
		now + "1": driver.ErrTooLate, now + "2": driver.ErrLeaseLost, now + "3": errNotStaged, now + "4": errNoRename, now + "5": errAnswer, now + "\x02": errAnswer,
		"": errAnswer, "2": errAnswer, now: errAnswer, now + "22": errAnswer, now + now: errAnswer,
	} {
		assert.ErrorIs(t, receipt(ctx, answer, nil).Err, want, "%q", answer)
	}
	for _, answer := range []any{nil, int64(1), []any{now}} {
		assert.ErrorIs(t, receipt(ctx, answer, nil).Err, errAnswer, "%v", answer)
	}
	answer := string(word(3)) + string(word(4)) + now + string(word(5))
	assert.Equal(t, driver.Receipt{Revision: driver.Revision{Epoch: 3, Number: 4}, Now: time.UnixMicro(1_000_000), Entry: 5}, receipt(ctx, answer, nil))
}

// TestNotice_OfEachCall: whatever a store asks a server that is gone has the client of a
// Cluster look anew.
func TestNotice_OfEachCall(t *testing.T) {
	for name, call := range map[string]func(ctx context.Context, s *Store){
		"read":    func(ctx context.Context, s *Store) { _, _ = s.Read(ctx, []string{"k"}) },
		"time":    func(ctx context.Context, s *Store) { _, _ = s.Time(ctx) },
		"acquire": func(ctx context.Context, s *Store) { s.Acquire(ctx, []driver.Lease{{Key: "k"}}) },
		"several": func(ctx context.Context, s *Store) { s.Acquire(ctx, []driver.Lease{{Key: "k"}, {Key: "l"}}) },
	} {
		client := redis.NewClient(&redis.Options{
			MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
			Dialer: func(context.Context, string, string) (net.Conn, error) { return nil, io.EOF },
		})
		s, err := New(client, Options{})
		require.NoError(t, err)
		asked := 0
		s.reload = func(context.Context) { asked++ }
		call(t.Context(), s)
		assert.Equal(t, 1, asked, name)
		require.NoError(t, client.Close())
	}
}
