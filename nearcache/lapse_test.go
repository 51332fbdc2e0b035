package nearcache_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
)

var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}

// refuses makes every call of the store fail as if there were no server.
func refuses(f *fleet) {
	f.store.onBefore(func(context.Context, string, string) error { return errRefused })
}

// asks reads a key that is not near.
func asks(t *testing.T, m *member) { _, _ = m.Get(t.Context(), "k") }

// requireSilent requires that nothing was logged.
func requireSilent(t *testing.T, lines func() []string) {
	t.Helper()
	require.Equal(t, []string{""}, lines())
}

// TestLapse_Read: without a journal, a shared tier that is not there is told once, and
// so is that it is back.
func TestLapse_Read(t *testing.T) {
	logged(t, false, func(t *testing.T, f *fleet, m *member, lines func() []string) {
		for range 2 {
			refuses(f)
			for range 50 {
				asks(t, m)
				time.Sleep(200 * time.Millisecond)
			}
			got := lines()
			require.Len(t, got, 1, got)
			assert.Regexp(t, `^level=WARN msg="nearcache: the shared tier does not answer" error=".*connection refused"$`, got[0])
			f.store.onBefore(nil)
			for range 50 {
				asks(t, m)
				time.Sleep(200 * time.Millisecond)
			}
			got = lines()
			require.Len(t, got, 1, got)
			assert.Regexp(t, `^level=INFO msg="nearcache: the shared tier answers again" after=1\d(\.\d+)?s$`, got[0])
		}
	})
}

// TestLapse_Write: a node that only writes tells as well.
func TestLapse_Write(t *testing.T) {
	logged(t, false, func(t *testing.T, f *fleet, m *member, lines func() []string) {
		require.NoError(t, m.Set(t.Context(), "k", "v"))
		refuses(f)
		for range 2 {
			require.Error(t, m.Set(t.Context(), "k", "v"))
			require.Error(t, m.Invalidate(t.Context(), "k"))
		}
		got := lines()
		require.Len(t, got, 1, got)
		assert.Contains(t, got[0], `msg="nearcache: the shared tier does not answer"`)
		f.store.onBefore(nil)
		time.Sleep(10 * time.Second)
		require.NoError(t, m.Set(t.Context(), "k", "v"))
		assert.Contains(t, strings.Join(lines(), "\n"), `msg="nearcache: the shared tier answers again"`)
	})
}

// TestLapse_Silence: a server that says nothing is told, a call that takes too long now
// and then is not.
func TestLapse_Silence(t *testing.T) {
	logged(t, false, func(t *testing.T, f *fleet, m *member, lines func() []string) {
		silent := func(ctx context.Context, _, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}
		for range 5 {
			f.store.onBefore(silent)
			asks(t, m)
			f.store.onBefore(nil)
			asks(t, m)
		}
		requireSilent(t, lines)
		f.store.onBefore(silent)
		for range 3 {
			asks(t, m)
		}
		got := lines()
		require.Len(t, got, 1, got)
		assert.Contains(t, got[0], `msg="nearcache: the shared tier does not answer"`)
	})
}

// TestLapse_OneOfSeveral: of several servers one is down. That is one line, not one for
// each call.
func TestLapse_OneOfSeveral(t *testing.T) {
	logged(t, false, func(t *testing.T, f *fleet, m *member, lines func() []string) {
		asks(t, m)
		f.store.onBefore(func(_ context.Context, _, key string) error {
			if strings.HasSuffix(key, ":down") {
				return errRefused
			}
			return nil
		})
		for range 100 {
			_, _ = m.Get(t.Context(), "down")
			asks(t, m)
			time.Sleep(time.Second)
		}
		got := lines()
		require.Len(t, got, 1, got)
		assert.Contains(t, got[0], `msg="nearcache: the shared tier does not answer"`)
	})
}

// TestLapse_Journal: with a journal, what is told is that it cannot be read.
func TestLapse_Journal(t *testing.T) {
	logged(t, true, func(t *testing.T, f *fleet, m *member, lines func() []string) {
		refuses(f)
		for range 50 {
			asks(t, m)
			time.Sleep(200 * time.Millisecond)
		}
		got := lines()
		require.Len(t, got, 1, got)
		assert.Contains(t, got[0], `msg="nearcache: cannot read the journal"`)
		f.store.onBefore(nil)
		time.Sleep(10 * time.Second)
		asks(t, m)
		got = lines()
		require.Len(t, got, 1, got)
		assert.Contains(t, got[0], `msg="nearcache: the journal is read again"`)
	})
}

var errFull = fmt.Errorf("the server says so: %w: %w", shared.ErrFull, shared.ErrRefused)

// refusing has the store refuse what it is to store with err: values and leases, or
// everything.
func refusing(f *fleet, err error, everything bool) {
	f.store.onBefore(func(_ context.Context, op, _ string) error {
		if op == "fill" || op == "acquire" || everything && op == "write" {
			return err
		}
		return nil
	})
}

// TestRefusal_Full: that a server has no room is told once, while values are read and what
// makes them absent is taken, and so is that it has room again.
func TestRefusal_Full(t *testing.T) {
	for _, journal := range []bool{true, false} {
		logged(t, journal, func(t *testing.T, f *fleet, m *member, lines func() []string) {
			works := func() {
				for i := range 30 {
					_, err := m.Fetch(t.Context(), fmt.Sprint(i), is("v"))
					require.NoError(t, err)
					require.NoError(t, m.Invalidate(t.Context(), fmt.Sprint(i)))
					time.Sleep(time.Second)
				}
			}
			for range 2 {
				refusing(f, errFull, false)
				works()
				requireLine(t, lines, `^level=WARN msg="nearcache: the shared tier refuses to store" error=".*the server says so: shared: server is full`)
				time.Sleep(2 * time.Minute)
				require.NoError(t, m.Invalidate(t.Context(), "k"))
				requireSilent(t, lines)
				f.store.onBefore(nil)
				works()
				requireLine(t, lines, `^level=INFO msg="nearcache: the shared tier stores again" after=2m(29|30|31)(\.\d+)?s$`)
			}
		})
	}
}

// TestRefusal_SomeFindRoom: where memory is scarce, some values find room. That is no end.
func TestRefusal_SomeFindRoom(t *testing.T) {
	logged(t, true, func(t *testing.T, f *fleet, m *member, lines func() []string) {
		for i := range 300 {
			if i%2 == 0 {
				refusing(f, errFull, false)
			} else {
				f.store.onBefore(nil)
			}
			_, err := m.Fetch(t.Context(), fmt.Sprint(i), is("v"))
			require.NoError(t, err)
			time.Sleep(time.Second)
		}
		requireLine(t, lines, `^level=WARN msg="nearcache: the shared tier refuses to store"`)
	})
}

// TestRefusal_NoJournal: without a journal, a server that takes no writes is told, and not
// as one that does not answer.
func TestRefusal_NoJournal(t *testing.T) {
	refused := fmt.Errorf("READONLY: %w: %w", shared.ErrRefused, shared.ErrUnavailable)
	logged(t, false, func(t *testing.T, f *fleet, m *member, lines func() []string) {
		require.NoError(t, m.Set(t.Context(), "k", "v"))
		refusing(f, refused, true)
		for range 20 {
			require.ErrorIs(t, m.Invalidate(t.Context(), "k"), nearcache.ErrOutcomeUnknown)
		}
		requireLine(t, lines, `^level=WARN msg="nearcache: the shared tier refuses to store" error=".*READONLY`)
		f.store.onBefore(nil)
		time.Sleep(2 * time.Minute)
		require.NoError(t, m.Invalidate(t.Context(), "k"))
		requireLine(t, lines, `^level=INFO msg="nearcache: the shared tier stores again"`)
	})
}
