package nearcache_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
)

// met runs test with two nodes that know each other, with a journal or without,
// and a store that announces or does not. Both have k.
func met(t *testing.T, test func(t *testing.T, f *fleet, a, b *member), adjust ...func(f *fleet)) {
	t.Helper()
	for _, journal := range []bool{true, false} {
		for _, announces := range []bool{true, false} {
			t.Run(fmt.Sprintf("journal %v announces %v", journal, announces), func(t *testing.T) {
				bubble(t, func(t *testing.T, f *fleet) {
					f.journal, f.announces = journal, announces
					for _, change := range adjust {
						change(f)
					}
					a, b := f.join(), f.join()
					wait(4 * time.Second)
					require.NoError(t, b.Set(t.Context(), "k", "old"))
					settle()
					_, err := a.Get(t.Context(), "k")
					require.NoError(t, err)
					requireNear(t, a, "k", "old")
					test(t, f, a, b)
				})
			})
		}
	}
}

// pass calls Barrier for a time at most, and returns how long it took.
func (m *member) pass(t *testing.T, most time.Duration) (took time.Duration, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	began := time.Now()
	_, err = m.node.Barrier(ctx, nearcache.BarrierOptions{})
	return time.Since(began), err
}

// loseNews makes a node hear everything but news.
func (m *member) loseNews() { m.link.loses.Store(true) }

func TestBarrier(t *testing.T) {
	met(t, func(t *testing.T, _ *fleet, a, b *member) {
		require.NoError(t, b.Set(t.Context(), "k", "new"))
		took, err := b.pass(t, time.Minute)
		require.NoError(t, err)
		assert.Less(t, took, 100*time.Millisecond)
		v, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	})
}

// TestBarrier_LostMessages: it does not matter that the news was lost.
func TestBarrier_LostMessages(t *testing.T) {
	for name, write := range map[string]func(ctx context.Context, m *member) error{
		"set": func(ctx context.Context, m *member) error { return m.Set(ctx, "k", "new") },
		"set many": func(ctx context.Context, m *member) error {
			return m.SetMany(ctx, map[string]string{"k": "new", "l": "1"})
		},
		"invalidate": func(ctx context.Context, m *member) error { return m.Invalidate(ctx, "k") },
		"clear":      func(ctx context.Context, m *member) error { return m.Clear(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			met(t, func(t *testing.T, _ *fleet, a, b *member) {
				a.loseNews()
				require.NoError(t, write(t.Context(), b))
				requireNear(t, a, "k", "old")
				_, err := b.pass(t, time.Minute)
				require.NoError(t, err)
				v, err := a.Fetch(t.Context(), "k", is("new"))
				require.NoError(t, err)
				assert.Equal(t, "new", v)
			})
		})
	}
	if fault.Compiled {
		met(t, func(t *testing.T, _ *fleet, a, b *member) {
			a.loseNews()
			require.NoError(t, b.Set(t.Context(), "k", "new"))
			_, err := b.pass(t, time.Minute)
			require.NoError(t, err)
			if a.node.Stats().Near.Flushes == 0 {
				requireNear(t, a, "k", "old") // the test sees what is read before an answer
			}
		}, without(fault.Without(fault.Barriers)))
	}
}

// TestBarrier_JournalOutOfReach: a node that cannot read the journal does not
// answer until it can.
func TestBarrier_JournalOutOfReach(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, b *member) {
		a.link.deaf.Store(false)
		a.loseNews()
		wait(5 * time.Second)
		_, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		failTails(f)
		require.NoError(t, b.Set(t.Context(), "k", "new"))
		_, err = b.pass(t, 3*time.Second)
		given := &bus.BarrierError{}
		require.ErrorAs(t, err, &given)
		assert.Len(t, given.Missing, 1)
		time.AfterFunc(time.Second, func() { f.store.onBefore(nil) })
		_, err = b.pass(t, 3*time.Second)
		require.NoError(t, err)
		v, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	})
}

// TestBarrier_Owed: what could not be delivered is not behind a barrier.
func TestBarrier_Owed(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, b *member) {
		a.link.deaf.Store(false)
		_, err := a.Fetch(t.Context(), "k", is("old"))
		require.NoError(t, err)
		failWrites(f)
		require.ErrorIs(t, b.Invalidate(t.Context(), "k"), nearcache.ErrOutcomeUnknown)
		_, err = b.pass(t, 3*time.Second)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "1 invalidations could not be delivered yet")
		f.store.onBefore(nil)
		_, err = b.pass(t, 3*time.Second)
		require.NoError(t, err)
		v, err := a.Fetch(t.Context(), "k", is("new"))
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	})
}

// TestBarrier_DeadNode: a node that was killed stops being waited for, but not
// before it could only be cut off and go on serving.
func TestBarrier_DeadNode(t *testing.T) {
	met(t, func(t *testing.T, f *fleet, a, b *member) {
		a.link.mute.Store(true)
		a.link.deaf.Store(true)
		require.NoError(t, b.Set(t.Context(), "k", "new"))
		_, err := b.pass(t, time.Second)
		given := &bus.BarrierError{}
		require.ErrorAs(t, err, &given)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Len(t, given.Missing, 1)
		took, err := b.pass(t, time.Minute)
		require.NoError(t, err)
		const rest = 250 * time.Millisecond
		if f.journal {
			assert.GreaterOrEqual(t, took, 5*time.Second, "it may be cut off, and go on until MaxStaleness")
			assert.Less(t, took, 5*time.Second+rest)
		} else {
			assert.Less(t, took, 3*time.Second+rest, "a second has passed of HeartbeatTimeout and HeartbeatInterval")
		}
		v, err := a.Fetch(t.Context(), "k", is("new"))
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	}, intervals(time.Second, 5*time.Second))
}

func TestBarrier_ClosedNode(t *testing.T) {
	met(t, func(t *testing.T, _ *fleet, a, b *member) {
		require.NoError(t, a.node.Close(atOnce)) // its bus goes on
		took, err := b.pass(t, time.Minute)
		require.NoError(t, err)
		assert.Less(t, took, 150*time.Millisecond)
		_, err = a.pass(t, time.Minute)
		require.ErrorIs(t, err, nearcache.ErrClosed)

		ended := make(chan error)
		c := b
		c.link.deaf.Store(true)
		go func() {
			_, err := c.node.Barrier(t.Context(), nearcache.BarrierOptions{})
			ended <- err
		}()
		synctest.Wait()
		require.NoError(t, c.node.Close(atOnce))
		require.ErrorIs(t, <-ended, nearcache.ErrClosed)
	})
}

func TestBarrier_Alone(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a := f.join()
		took, err := a.pass(t, time.Minute)
		require.NoError(t, err)
		assert.Greater(t, took, 2*time.Second, "until then others may not have been heard of")
		assert.Less(t, took, 3*time.Second+10*time.Millisecond)
		took, err = a.pass(t, time.Minute)
		require.NoError(t, err)
		assert.Less(t, took, 110*time.Millisecond, "it has asked twice")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = a.node.Barrier(ctx, nearcache.BarrierOptions{})
		require.ErrorIs(t, err, context.Canceled)

		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = a.node.Barrier(ctx, nearcache.BarrierOptions{AtLeast: -1})
		require.ErrorContains(t, err, "AtLeast is negative")
		_, err = a.node.Barrier(ctx, nearcache.BarrierOptions{AtLeast: 1})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.EqualError(t, err, "nearcache: bus: barrier: 0 answered, not the 1 that were demanded: context deadline exceeded")
	})
}

func TestBarrier_WithoutBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
		require.NoError(t, err)
		node, err := nearcache.NewNode(tier, nil, nearcache.NodeOptions{})
		require.NoError(t, err)
		_, err = node.Barrier(t.Context(), nearcache.BarrierOptions{})
		require.ErrorIs(t, err, nearcache.ErrNoBus)
		require.NoError(t, node.Close(atOnce))
		_, err = node.Barrier(t.Context(), nearcache.BarrierOptions{})
		require.ErrorIs(t, err, nearcache.ErrClosed)
	})
}

// TestBarrier_BusOnly: without a shared tier the near tier is what there is.
func TestBarrier_BusOnly(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.joinBusOnly(), f.joinBusOnly()
		wait(4 * time.Second)
		_, err := a.Fetch(t.Context(), "k", is("old"))
		require.NoError(t, err)
		a.loseNews()
		require.NoError(t, b.Invalidate(t.Context(), "k"))
		requireNear(t, a, "k", "old")
		_, err = b.pass(t, time.Minute)
		require.NoError(t, err)
		v, err := a.Fetch(t.Context(), "k", is("new"))
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	})
}

// TestBarrier_Flood: barriers that are under way at the same time share the
// readings of the journal.
func TestBarrier_Flood(t *testing.T) {
	met(t, func(t *testing.T, f *fleet, a, b *member) {
		if !f.journal {
			return
		}
		done, before := make(chan error, 300), a.node.Stats().Journal.Rounds
		for range cap(done) {
			go func() {
				_, err := b.pass(t, time.Minute)
				done <- err
			}()
		}
		for range cap(done) {
			require.NoError(t, <-done)
		}
		assert.Less(t, a.node.Stats().Journal.Rounds-before, uint64(cap(done)))
	})
}

// TestBarrier_AnotherServer: a node that reads the journal of another server than the one
// that has the write does not answer, and neither does one that reads an older copy.
func TestBarrier_AnotherServer(t *testing.T) {
	for name, write := range map[string]func(ctx context.Context, m *member) error{
		"set":            func(ctx context.Context, m *member) error { return m.Set(ctx, "k", "new") },
		"delete":         func(ctx context.Context, m *member) error { return m.Delete(ctx, "k") },
		"clear":          func(ctx context.Context, m *member) error { return m.Clear(ctx) },
		"invalidate tag": func(ctx context.Context, m *member) error { return m.InvalidateTags(ctx, "t") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.journal = true
				a := f.join()
				wait(time.Second)
				other := newFleet(t)
				other.hub, other.journal = f.hub, true
				b := other.join() // its server is another one, and of a later epoch
				wait(4 * time.Second)
				require.NoError(t, write(t.Context(), a))
				_, err := a.pass(t, 10*time.Second)
				given := &bus.BarrierError{}
				require.ErrorAs(t, err, &given)
				assert.Len(t, given.Missing, 1)
				require.NoError(t, b.Set(t.Context(), "k", "new"))
				_, err = b.pass(t, 10*time.Second)
				require.ErrorAs(t, err, &given)
			})
		})
	}
}

// TestBarrier_BehindTheAsker: a node whose journal lags behind that of the asker answers
// when it has caught up.
func TestBarrier_BehindTheAsker(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		a, b := f.join(), f.join()
		wait(4 * time.Second)
		require.NoError(t, a.Set(t.Context(), "k", "old"))
		settle()
		_, err := b.Get(t.Context(), "k")
		require.NoError(t, err)
		b.loseNews()
		f.store.lag.Store(true)
		require.NoError(t, a.Set(t.Context(), "k", "new"))
		_, err = a.pass(t, 5*time.Second)
		given := &bus.BarrierError{}
		require.ErrorAs(t, err, &given, "it would answer with what the replica had")
		f.store.lag.Store(false)
		_, err = a.pass(t, 5*time.Second)
		require.NoError(t, err)
		v, err := b.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	})
}
