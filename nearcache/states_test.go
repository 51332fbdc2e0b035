package nearcache_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
)

// TestStates_Breaker: that the breaker opened is told once, with what opened it, and so is that
// it closed.
func TestStates_Breaker(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		f.tierOpts = shared.Options{BreakAfter: 2, BreakFor: 2 * time.Second, Attempts: 1}
		lines := f.log()
		m := f.join()
		for range 2 {
			f.store.onBefore(func(_ context.Context, op, _ string) error {
				if op == "tail" {
					return nil
				}
				return syscall.ECONNREFUSED
			})
			for range 10 {
				_, err := m.Get(t.Context(), "k")
				require.Error(t, err)
			}
			requireLine(t, lines, `^level=WARN msg="nearcache: the breaker of the shared tier is open: its calls fail at once" error=.*connection refused`)
			time.Sleep(5 * time.Second)
			f.store.onBefore(nil)
			_, err := m.Fetch(t.Context(), "k", is("v"))
			require.NoError(t, err)
			requireLine(t, lines, `^level=INFO msg="nearcache: the breaker of the shared tier is closed again" after=5s$`)
			require.NoError(t, m.Delete(t.Context(), "k"))
		}
	})
}

// TestStates_Texts: messages in plain text that are not carried out are one line, however many
// there are, and one when they are again.
func TestStates_Texts(t *testing.T) {
	logged(t, true, func(t *testing.T, f *fleet, m *member, lines func() []string) {
		failWrites := func(_ context.Context, op, _ string) error {
			if op == "write" {
				return errDown
			}
			return nil
		}
		f.store.onBefore(failWrites)
		person := f.hub.Join()
		for range 10 {
			require.NoError(t, person.Publish(t.Context(), []byte("invalidate users k")))
			wait(time.Second)
		}
		requireLine(t, lines, `^level=ERROR msg="nearcache: a plain-text message was not carried out in the shared tier" error=`)
		require.EqualValues(t, 10, m.node.Stats().Bus.FailedTexts)
		f.store.onBefore(nil)
		wait(10 * time.Second)
		require.NoError(t, person.Publish(t.Context(), []byte("invalidate users k")))
		wait(time.Second)
		requireLine(t, lines, `^level=INFO msg="nearcache: plain-text messages are carried out again" after=\d+(\.\d+)?s$`)
	})
}

// TestStates_Undelivered: invalidations that are pending for long are told, and that they are
// delivered. Short outages have other lines.
func TestStates_Undelivered(t *testing.T) {
	logged(t, true, func(t *testing.T, f *fleet, m *member, lines func() []string) {
		failWrites := func(_ context.Context, op, _ string) error {
			if op == "write" {
				return errDown
			}
			return nil
		}
		for _, c := range []struct {
			out  time.Duration
			told bool
		}{{30 * time.Second, false}, {3 * time.Minute, true}} {
			f.store.onBefore(failWrites)
			require.Error(t, m.Invalidate(t.Context(), "k"))
			time.Sleep(c.out)
			if c.told {
				requireLine(t, lines, `^level=WARN msg="nearcache: invalidations could not be delivered for more than a minute" pending=1 error=.*connection refused`)
			}
			f.store.onBefore(nil)
			wait(10 * time.Second)
			if c.told {
				requireLine(t, lines, `^level=INFO msg="nearcache: all invalidations are delivered" after=3m\d(\.\d+)?s$`)
			} else {
				requireSilent(t, lines)
			}
		}
	})
}

// TestStates_Unsafe: a journal that is not safe is told until a reset says nothing of that.
func TestStates_Unsafe(t *testing.T) {
	logged(t, true, func(t *testing.T, f *fleet, _ *member, lines func() []string) {
		memory := f.store.Store.(*memstore.Store)
		reset := func(warning error) string {
			f.store.warning = warning
			memory.BeginEpoch()
			wait(2 * time.Second)
			return strings.Join(lines(), "\n")
		}
		const safe = `(?m)^level=INFO msg="nearcache: the journal is safe again" after=`
		got := reset(errors.New("may be evicted"))
		require.Regexp(t, `(?m)^level=WARN msg="nearcache: the journal is not safe" warning="may be evicted"$`, got)
		require.NotRegexp(t, safe, got)
		require.Regexp(t, safe+`\d(\.\d+)?s$`, reset(nil))
		require.NotRegexp(t, safe, reset(nil))
	})
}

// TestStates_NodeOptions: that an option of nodes differs has an end as well.
func TestStates_NodeOptions(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		lines := f.log()
		f.join()
		f.nodeOpts.Logger = nil
		f.nodeOpts.MaxStaleness = 7 * time.Second
		other := f.join()
		wait(13 * time.Minute)
		requireLine(t, lines, `^level=WARN msg="nearcache: another server has had another option for more than 10 minutes" option=MaxStaleness here=`+nearcache.DefaultStaleness.String()+` there=7s server=`)
		require.NoError(t, other.node.Close(t.Context()))
		wait(2 * time.Second)
		requireLine(t, lines, `^level=INFO msg="nearcache: no other server has another option any more" option=MaxStaleness after=\d+m\d+(\.\d+)?s$`)
	})
}
