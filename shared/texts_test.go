package shared_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// nobody is a store whose server is not there.
type nobody struct{ driver.Store }

func (nobody) Time(context.Context) (time.Time, error) {
	return time.Time{}, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
}

// TestErrors_Text: callers read of what they called, and of no library behind it.
func TestErrors_Text(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier, err := shared.New(nobody{memstore.New(memstore.Options{})}, shared.Options{BreakAfter: 1})
		require.NoError(t, err)
		_, err = tier.Get(t.Context(), "k")
		require.EqualError(t, err, "shared: the server was to tell its time first: dial: connection refused")
		require.True(t, shared.Unreachable(err))
		_, err = tier.Get(t.Context(), "k")
		require.EqualError(t, err, "shared: breaker is open")
		require.ErrorIs(t, err, shared.ErrOpen)
	})
}
