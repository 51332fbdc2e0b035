package nearcache_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared/driver"
)

// TestHazard14_WriteFailed: the source has changed, but the shared tier was
// down when it was told. When it comes back, it has the old value.
func TestHazard14_WriteFailed(t *testing.T) {
	for name, write := range map[string]func(ctx context.Context, m *member) error{
		"set":        func(ctx context.Context, m *member) error { return m.Set(ctx, "k", "new") },
		"delete":     func(ctx context.Context, m *member) error { return m.Delete(ctx, "k") },
		"invalidate": func(ctx context.Context, m *member) error { return m.Invalidate(ctx, "j", "k") },
		"clear":      func(ctx context.Context, m *member) error { return m.Clear(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			run := func(off fault.Switches) (own, others string) {
				journaled(t, func(t *testing.T, f *fleet, a, b *member) {
					failWrites(f)
					require.ErrorIs(t, write(t.Context(), a), nearcache.ErrOutcomeUnknown)
					assert.Equal(t, off.Off(fault.Debts), a.node.Health().PendingInvalidations == 0)
					var err error
					own, err = a.Fetch(t.Context(), "k", is("new"))
					require.NoError(t, err)

					f.store.onBefore(nil)
					wait(2500 * time.Millisecond)
					assert.Zero(t, a.Stats().Writes.Pending)
					others, err = b.Fetch(t.Context(), "k", is("new"))
					require.NoError(t, err)
				}, without(off))
				return own, others
			}
			own, others := run(fault.Without())
			assert.Equal(t, "new", own, "the node of the write reads the source")
			assert.Equal(t, "new", others, "the invalidation is delivered in the end")
			if fault.Compiled {
				own, others = run(fault.Without(fault.Debts))
				assert.Equal(t, "old", own, "the test sees what debts are for")
				assert.Equal(t, "old", others)
			}
		})
	}
}

// failWrites makes the shared tier refuse writes, and nothing else.
func failWrites(f *fleet) {
	f.store.onBefore(func(_ context.Context, op, _ string) error {
		if op == "write" {
			return errDown
		}
		return nil
	})
}

func isAll(v string) func(context.Context, []string) (map[string]string, error) {
	return func(_ context.Context, keys []string) (map[string]string, error) {
		found := make(map[string]string, len(keys))
		for _, key := range keys {
			found[key] = v
		}
		return found, nil
	}
}

// TestHazard14_FetchMany: of many keys, those in doubt are loaded.
func TestHazard14_FetchMany(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		for _, key := range []string{"doubtful", "sound"} {
			require.NoError(t, f.join().Set(t.Context(), key, "old"))
		}
		settle()
		failWrites(f)
		require.Error(t, m.Delete(t.Context(), "doubtful"))
		got, err := m.FetchMany(t.Context(), []string{"doubtful", "sound"}, isAll("new"))
		require.NoError(t, err)
		assert.Equal(t, map[string]string{"doubtful": "new", "sound": "old"}, got)
	})
}

// TestHazard14_Get: a read without a source says that the key is in doubt,
// unless it was told to call that a miss.
func TestHazard14_Get(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m, lenient := f.join(), f.join(nearcache.Options[string]{ErrorsAsMisses: true})
		require.NoError(t, m.Set(t.Context(), "k", "old"))
		failWrites(f)
		require.Error(t, m.Delete(t.Context(), "k"))
		require.Error(t, lenient.Delete(t.Context(), "k"))
		_, err := m.Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrOutcomeUnknown)
		_, err = lenient.Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		_, err = m.Get(t.Context(), "other")
		require.ErrorIs(t, err, nearcache.ErrNotFound)

		f.store.onBefore(nil)
		wait(3 * time.Second)
		_, err = m.Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
	})
}

// TestHazard14_NoFill: what is loaded while the key is in doubt stays on this
// node.
func TestHazard14_NoFill(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		failWrites(f)
		require.Error(t, m.Set(t.Context(), "k", "new"))
		load, loads := counting("new", 0)
		for range 10 {
			_, err := m.Fetch(t.Context(), "k", load)
			require.NoError(t, err)
		}
		assert.EqualValues(t, 1, loads.Load())
		assert.EqualValues(t, 1, m.Stats().Loads.Degraded)
		assert.Zero(t, f.store.fills.Load())
		assert.Zero(t, f.store.acquires.Load())
	})
}

// TestHazard14_Superseded: a later write of the key that succeeds settles what
// is owed, and nothing is dropped after it.
func TestHazard14_Superseded(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		failWrites(f)
		require.Error(t, m.Set(t.Context(), "k", "failed"))
		wait(10 * time.Millisecond) // the first try to pay fails, the next is far off
		f.store.onBefore(nil)
		require.NoError(t, m.Set(t.Context(), "k", "later"))
		assert.Zero(t, m.Stats().Writes.Pending)
		wait(3 * time.Second)
		requireNear(t, m, "k", "later")
	})
}

// TestHazard14_NotSuperseded: a write that began before another one failed settles
// nothing: it may have been there first.
func TestHazard14_NotSuperseded(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		f.store.onAfter(during(f, "write", func(ctx context.Context) {
			failWrites(f)
			assert.Error(t, m.Delete(ctx, "k"))
			settle() // the payer waits now, or it could pay before the debt is seen
			f.store.onBefore(nil)
		}))
		require.NoError(t, m.Set(t.Context(), "k", "before"))
		assert.Equal(t, 1, m.Stats().Writes.Pending)
		wait(3 * time.Second)
		_, err := m.Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
	})
}

// TestG3_OutcomeUnknown: the write is there, only the answer was lost. The others
// hear of it from the write, and not only when the debt is paid.
func TestG3_OutcomeUnknown(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		require.NoError(t, b.Set(t.Context(), "k", "old"))
		var writes atomic.Int64
		f.store.onBefore(func(_ context.Context, op, _ string) error {
			if op == "write" && writes.Add(1) > 1 {
				return errDown // what is owed is not delivered
			}
			return nil
		})
		f.store.onAfter(func(_ context.Context, op, _ string) error {
			if op == "write" {
				return errDown
			}
			return nil
		})
		require.ErrorIs(t, a.Set(t.Context(), "k", "new"), nearcache.ErrOutcomeUnknown)
		settle()
		v, err := b.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	})
}

// TestHazard14_CallerGone: what is owed does not depend on who asked for it.
func TestHazard14_CallerGone(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, b *member) {
		f.store.onBefore(func(ctx context.Context, op, _ string) error {
			if op != "write" {
				return nil
			}
			<-ctx.Done() // the server does not answer
			return ctx.Err()
		})
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() { gone <- a.Set(ctx, "k", "new") }()
		wait(time.Millisecond)
		cancel()
		require.ErrorIs(t, <-gone, context.Canceled)
		f.store.onBefore(nil)
		wait(20 * time.Second)
		assert.Zero(t, a.Stats().Writes.Pending)
		_, err := b.Get(t.Context(), "k")
		assert.ErrorIs(t, err, nearcache.ErrNotFound)
	})
}

// TestHazard14_NotBroadcast: the shared tier has the write, but without a
// journal only the bus can tell the others.
func TestHazard14_NotBroadcast(t *testing.T) {
	for name, write := range map[string]func(ctx context.Context, m *member) error{
		"set":    func(ctx context.Context, m *member) error { return m.Set(ctx, "k", "new") },
		"delete": func(ctx context.Context, m *member) error { return m.Delete(ctx, "k") },
		"clear":  func(ctx context.Context, m *member) error { return m.Clear(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			run := func(off fault.Switches) (v string) {
				bubble(t, func(t *testing.T, f *fleet) {
					f.off = off
					a, b := f.join(), f.join()
					require.NoError(t, b.Set(t.Context(), "k", "old"))
					a.link.mute.Store(true)
					require.ErrorIs(t, write(t.Context(), a), nearcache.ErrNotBroadcast)
					requireNear(t, b, "k", "old")
					// Shorter than it takes to notice that a is silent.
					wait(200 * time.Millisecond)
					a.link.mute.Store(false)
					wait(2 * time.Second)
					assert.Zero(t, a.Stats().Writes.Pending)
					var err error
					v, err = b.Fetch(t.Context(), "k", is("new"))
					require.NoError(t, err)
				})
				return v
			}
			assert.Equal(t, "new", run(fault.Without()))
			if fault.Compiled {
				assert.Equal(t, "new", run(fault.Without(fault.Debts)), "the bus sends its message again")
			}
		})
	}
}

// TestHazard5_FailedEarly: a write fails before its deadline, say because the
// client gave up its connection, and what it sent arrives after a later write was
// acknowledged, in time for the server.
func TestHazard5_FailedEarly(t *testing.T) {
	for _, own := range []bool{true, false} {
		journaled(t, func(t *testing.T, f *fleet, a, b *member) {
			a.link.deaf.Store(false)
			f.store.Store = &straying{Store: f.store.Store, Journaler: f.store.Store.(driver.Journaler)}
			require.ErrorIs(t, a.Set(t.Context(), "k", "first"), os.ErrDeadlineExceeded)
			writer := b
			if own {
				writer = a
			}
			wait(100 * time.Millisecond)
			require.NoError(t, writer.Set(t.Context(), "k", "second"))
			wait(100 * time.Millisecond)
			for range 40 {
				v, err := a.Fetch(t.Context(), "k", is("second"))
				require.NoError(t, err)
				require.Equal(t, "second", v)
				wait(100 * time.Millisecond)
			}
			v, err := b.Fetch(t.Context(), "k", is("second"))
			require.NoError(t, err)
			assert.Equal(t, "second", v)
			assert.Zero(t, a.Stats().Writes.Pending)
		})
	}
}

// straying is a store whose first write fails and arrives half a second later.
type straying struct {
	driver.Store
	driver.Journaler
	strayed atomic.Bool
}

func (s *straying) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	if s.strayed.Swap(true) {
		return s.Store.Write(ctx, writes)
	}
	time.AfterFunc(500*time.Millisecond, func() {
		s.Store.Write(context.WithoutCancel(ctx), writes)
	})
	return []driver.Receipt{{Err: os.ErrDeadlineExceeded}} // of the connection
}

// TestHazard14_BusDown: the shared tier is back and the bus is not. What is owed
// reaches the shared tier once, and does not undo what others write there.
func TestHazard14_BusDown(t *testing.T) {
	for name, write := range map[string]func(ctx context.Context, m *member) error{
		"delete": func(ctx context.Context, m *member) error { return m.Delete(ctx, "k") },
		"clear":  func(ctx context.Context, m *member) error { return m.Clear(ctx) },
	} {
		for _, journal := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", journal ", journal), func(t *testing.T) {
				bubble(t, func(t *testing.T, f *fleet) {
					f.journal = journal
					a, b := f.join(), f.join()
					a.link.mute.Store(true)
					failWrites(f)
					require.Error(t, write(t.Context(), a))
					f.store.onBefore(nil)
					wait(5 * time.Second)
					assert.Equal(t, journal, a.Stats().Writes.Pending == 0, "the others learn it from the journal, if there is one")

					require.NoError(t, b.Invalidate(t.Context(), "k")) // it knows the clock by now
					_, err := b.Fetch(t.Context(), "k", is("new"))
					require.NoError(t, err)
					writes := f.store.writes.Load()
					wait(time.Minute)
					assert.Equal(t, writes, f.store.writes.Load())
					v, err := a.Fetch(t.Context(), "k", none)
					require.NoError(t, err)
					assert.Equal(t, "new", v)

					a.link.mute.Store(false)
					wait(5 * time.Second)
					assert.Zero(t, a.Stats().Writes.Pending)
				})
			})
		}
	}
}

// TestHazard14_PaidOnceTheJournalIsBack: others believe the shared tier again from when
// they can read the journal, so what is owed does not wait for its turn.
func TestHazard14_PaidOnceTheJournalIsBack(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, _ *member) {
		f.store.onBefore(func(context.Context, string, string) error { return errDown })
		require.ErrorIs(t, a.Invalidate(t.Context(), "k"), nearcache.ErrOutcomeUnknown)
		for range 10 { // the tries are at different times each
			wait(20 * time.Second)
			f.store.onBefore(nil)
			for a.node.Health().Journal != nil {
				wait(time.Millisecond)
			}
			assert.Zero(t, a.node.Health().PendingInvalidations)
			f.store.onBefore(func(context.Context, string, string) error { return errDown })
			require.ErrorIs(t, a.Invalidate(t.Context(), "k"), nearcache.ErrOutcomeUnknown)
		}
	})
}

// TestHazard14_Overflow: what is owed is bounded; more than that is a Clear.
func TestHazard14_Overflow(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		require.NoError(t, m.Set(t.Context(), "first", "old"))
		require.NoError(t, m.Set(t.Context(), "last", "old"))
		require.NoError(t, m.Set(t.Context(), "untouched", "v"))
		failWrites(f)
		require.Error(t, m.Delete(t.Context(), "first"))
		for i := range 4096 {
			require.Error(t, m.Delete(t.Context(), strconv.Itoa(i)))
		}
		require.Error(t, m.Delete(t.Context(), "last"))
		assert.LessOrEqual(t, m.Stats().Writes.Pending, 4097)

		f.store.onBefore(nil)
		wait(10 * time.Second)
		assert.Zero(t, m.Stats().Writes.Pending)
		for _, key := range []string{"first", "last", "untouched"} {
			_, err := m.Get(t.Context(), key)
			require.ErrorIs(t, err, nearcache.ErrNotFound, key)
		}
	})
}

// TestHazard14_Close: a node that owes can be closed at any time.
func TestHazard14_Close(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		f.store.down()
		require.Error(t, m.Delete(t.Context(), "k"))
		require.ErrorContains(t, m.node.Close(atOnce), "1 invalidations could not be delivered yet")
	})
}
