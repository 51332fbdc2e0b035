package nearcache_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
)

// restore has the server of f lose the latest write of k, which replaced what it has
// now, once back is called.
func (f *fleet) restore(t *testing.T, b *member) (back func()) {
	t.Helper()
	store := f.store.Store.(*memstore.Store)
	images, err := store.Read(t.Context(), []string{"users:k"})
	require.NoError(t, err)
	require.NoError(t, b.Set(t.Context(), "k", "lost"))
	wait(time.Second)
	return func() {
		store.Plant("users:k", images[0])
		store.BeginEpoch()
	}
}

// ways are all that read a record. Each returns what it gives for k, "" for nothing.
var ways = map[string]func(ctx context.Context, m *member) string{
	"Get": func(ctx context.Context, m *member) string {
		v, _ := m.Get(ctx, "k")
		return v
	},
	"Fetch": func(ctx context.Context, m *member) string {
		v, _ := m.Fetch(ctx, "k", is("loaded"))
		return v
	},
	"GetMany": func(ctx context.Context, m *member) string {
		values, _ := m.GetMany(ctx, []string{"other", "k"})
		return values["k"]
	},
	"FetchMany": func(ctx context.Context, m *member) string {
		values, _ := m.FetchMany(ctx, []string{"other", "k"}, func(_ context.Context, keys []string) (map[string]string, error) {
			values := map[string]string{}
			for _, key := range keys {
				values[key] = "loaded"
			}
			return values, nil
		})
		return values["k"]
	},
	"Lookup": func(ctx context.Context, m *member) string {
		a, _ := m.Read(ctx, "k", read{FromShared: true}, nil)
		return a.Value
	},
}

// TestG4_RestoredOutOfReach: a node that could not reach the shared tier for longer
// than MaxStaleness reaches it again, and it has lost writes meanwhile. What it gives
// first is not what they had replaced.
func TestG4_RestoredOutOfReach(t *testing.T) {
	for name, first := range ways {
		t.Run(name, func(t *testing.T) {
			get := func(off fault.Switches) (v string) {
				journaled(t, func(t *testing.T, f *fleet, a, b *member) {
					back := f.restore(t, b)
					f.store.down()
					wait(6 * time.Second)
					back()
					f.store.onBefore(nil)
					v = first(t.Context(), a)
					wait(2 * time.Second)
					require.True(t, a.node.Health().Trusted)
					require.NotEqual(t, "old", first(t.Context(), a))
				}, without(off))
				return v
			}
			assert.Contains(t, []string{"", "loaded"}, get(fault.Without()))
			if fault.Compiled {
				assert.Equal(t, "old", get(fault.Without(fault.Confirmation)), "the test sees what the mechanism is for")
			}
		})
	}
}

// TestG4_RestoredBeforeLease: the record comes between the read and the request for
// the lease.
func TestG4_RestoredBeforeLease(t *testing.T) {
	get := func(off fault.Switches) (v string) {
		journaled(t, func(t *testing.T, f *fleet, a, b *member) {
			back := f.restore(t, b)
			f.evict(t, "users:k")
			f.store.down()
			wait(6 * time.Second)
			f.store.onBefore(func(_ context.Context, op, _ string) error {
				switch op {
				case "acquire":
					back()
					f.store.onBefore(nil)
				case "tail":
					return errDown
				}
				return nil
			})
			var err error
			v, err = a.Fetch(t.Context(), "k", is("loaded"))
			require.NoError(t, err)
		}, without(off))
		return v
	}
	assert.Equal(t, "loaded", get(fault.Without()))
	if fault.Compiled {
		assert.Equal(t, "old", get(fault.Without(fault.Confirmation)), "the test sees what the mechanism is for")
	}
}

// TestG4_RestoredBeforeStart: a node that has just started does not know yet what
// epoch the shared tier is in.
func TestG4_RestoredBeforeStart(t *testing.T) {
	get := func(opts nearcache.NodeOptions, off fault.Switches) (v string) {
		journaled(t, func(t *testing.T, f *fleet, _, b *member) {
			f.restore(t, b)()
			f.store.onBefore(func(_ context.Context, op, _ string) error {
				if op == "tail" {
					time.Sleep(100 * time.Millisecond)
				}
				return nil
			})
			tier, err := shared.New(f.store.forNode(f), shared.Options{})
			require.NoError(t, err)
			node, err := nearcache.NewBrokenNode(tier, nil, opts, off)
			require.NoError(t, err)
			defer func() { require.NoError(t, node.Close(atOnce)) }()
			c, err := nearcache.New(node, "users", nearcache.Options[string]{})
			require.NoError(t, err)
			v, _ = c.Get(t.Context(), "k")
		})
		return v
	}
	assert.Empty(t, get(nearcache.NodeOptions{}, fault.Without()))
	assert.Empty(t, get(nearcache.NodeOptions{ServeStale: true}, fault.Without()), "the journal can be read")
	if fault.Compiled {
		assert.Equal(t, "old", get(nearcache.NodeOptions{}, fault.Without(fault.Confirmation)), "the test sees what the mechanism is for")
	}
}

// TestHazard18_RestoredDuringSleep: the machine slept. That the journal was read a
// moment ago is the word of a clock that slept as well.
func TestHazard18_RestoredDuringSleep(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, b *member) {
		back := f.restore(t, b)
		failTails(f)
		back()
		nearcache.Jump(a.node)
		_, err := a.Get(t.Context(), "k")
		require.ErrorIs(t, err, errDown)
		f.store.onBefore(nil)
		_, err = a.Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
	})
}

// TestHazard13_DeposedAnswersReads: a primary that was deposed and knows it confirms
// nothing, and gives what it has. That a value was read from it a moment ago is no
// reason to serve it for longer.
func TestHazard13_DeposedAnswersReads(t *testing.T) {
	for name, tags := range map[string][]string{"plain": nil, "tagged": {"t"}} {
		t.Run(name, func(t *testing.T) {
			journaled(t, func(t *testing.T, f *fleet, a, b *member) {
				require.NoError(t, b.SetEntry(t.Context(), "other", tagged("old", tags...)))
				wait(time.Second)
				failTails(f)
				wait(3 * time.Second)
				got, err := a.Read(t.Context(), "other", read{FromShared: true}, nil) // with all that decides on it
				require.NoError(t, err)
				require.Equal(t, "old", got.Value)
				requireNear(t, a, "other", "old")
				for range 100 {
					wait(100 * time.Millisecond)
					_, err = a.Get(t.Context(), "other")
					switch behind := a.node.Health().Behind; { // in between, it is for the clock of the near tier to say
					case behind <= 5*time.Second:
						require.NoError(t, err)
					case behind > 5*time.Second+near.Tick:
						require.ErrorIs(t, err, errDown)
					}
				}
				assert.NotZero(t, a.Stats().Shared.Unverified)
				v, err := a.Fetch(t.Context(), "other", is("loaded"))
				require.NoError(t, err)
				assert.Equal(t, "loaded", v)
				requireNear(t, a, "other", "loaded") // it comes from the source
			}, intervals(time.Second, 5*time.Second))
		})
	}
}

// TestConfirm_Absent: that there is no value is not believed either.
func TestConfirm_Absent(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		intervals(time.Second, 5*time.Second)(f)
		opts := nearcache.Options[string]{NotFoundTTL: time.Hour}
		a, b := f.join(opts), f.join(opts)
		absent := func(context.Context, string) (string, error) { return "", nearcache.ErrNotFound }
		_, err := b.Fetch(t.Context(), "k", absent)
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		failTails(f)
		wait(3 * time.Second)
		_, err = a.Read(t.Context(), "k", read{FromShared: true}, nil)
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		wait(3 * time.Second)
		v, err := a.Fetch(t.Context(), "k", is("loaded"))
		require.NoError(t, err)
		assert.Equal(t, "loaded", v)
	})
}

// TestConfirm_WaiterLeaves: who waits for the journal leaves with its context, or with
// the node.
func TestConfirm_WaiterLeaves(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, _ *member) {
		failTails(f)
		wait(6 * time.Second)
		f.store.onBefore(func(ctx context.Context, op, _ string) error {
			if op == "tail" {
				<-ctx.Done()
			}
			return ctx.Err()
		})
		wait(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := a.Get(ctx, "k")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 10*time.Millisecond, time.Since(began))

		left := make(chan error)
		go func() {
			_, err := a.Get(context.WithoutCancel(t.Context()), "k")
			left <- err
		}()
		wait(10 * time.Millisecond)
		require.NoError(t, a.node.Close(atOnce))
		require.ErrorIs(t, <-left, nearcache.ErrClosed)
	})
}

// TestConfirm_OneRoundForMany: those who wait do not have the journal read without a
// break.
func TestConfirm_OneRoundForMany(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, _ *member) {
		failTails(f)
		wait(6 * time.Second)
		rounds := a.node.Stats().Journal.Rounds
		for range 1000 {
			time.Sleep(time.Millisecond)
			go func() { _, _ = a.Get(t.Context(), "k") }()
		}
		wait(time.Second)
		assert.LessOrEqual(t, a.node.Stats().Journal.Rounds-rounds, uint64(110))
	})
}

// TestServeStale_BelievesRecords: whoever chose to go on reads the shared tier, too.
func TestServeStale_BelievesRecords(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, b *member) {
		failTails(f)
		require.NoError(t, b.Set(t.Context(), "other", "v"))
		wait(time.Minute)
		for i := range 3 {
			v, err := a.Get(t.Context(), "other")
			require.NoError(t, err)
			require.Equal(t, "v", v)
			require.NoError(t, b.Set(t.Context(), fmt.Sprint("more ", i), "v"))
			v, err = a.Get(t.Context(), fmt.Sprint("more ", i))
			require.NoError(t, err)
			require.Equal(t, "v", v)
		}
		assert.EqualValues(t, 4, a.Stats().Shared.Unverified)
		assert.NotZero(t, a.node.Stats().Near.Stale)
	}, func(f *fleet) { f.nodeOpts.ServeStale = true })
}

// TestConfirm_AfterABreak: whoever has seen that the server was away does not wait for
// MaxStaleness to pass before it asks whether writes were lost.
func TestConfirm_AfterABreak(t *testing.T) {
	for name, see := range map[string]func(t *testing.T, a *member){
		"by a read": func(t *testing.T, a *member) {
			_, err := a.Get(t.Context(), "other")
			require.ErrorIs(t, err, io.EOF)
		},
		"by a write": func(t *testing.T, a *member) {
			require.ErrorIs(t, a.Set(t.Context(), "other", "v"), nearcache.ErrOutcomeUnknown)
		},
		"by a batch": func(t *testing.T, a *member) {
			require.Error(t, a.SetMany(t.Context(), map[string]string{"other": "v"}))
		},
		"by a tag": func(t *testing.T, a *member) {
			require.ErrorIs(t, a.InvalidateTags(t.Context(), "t"), nearcache.ErrOutcomeUnknown)
		},
		"by a lease": func(t *testing.T, a *member) {
			v, err := a.Fetch(t.Context(), "other", is("loaded"))
			require.NoError(t, err)
			require.Equal(t, "loaded", v)
		},
		"by the journal": func(*testing.T, *member) { wait(time.Second) },
		"not at all":     func(*testing.T, *member) {},
	} {
		t.Run(name, func(t *testing.T) {
			journaled(t, func(t *testing.T, f *fleet, a, b *member) {
				back := f.restore(t, b)
				f.store.onBefore(func(_ context.Context, op, _ string) error {
					if name == "by a lease" && op == "read" {
						return nil // it is away after that
					}
					return io.EOF
				})
				see(t, a)
				back()
				f.store.onBefore(nil)
				v, err := a.Get(t.Context(), "k")
				if name == "not at all" {
					require.NoError(t, err)
					require.Equal(t, "old", v, "the test sees what the mechanism is for")
					return
				}
				require.ErrorIs(t, err, nearcache.ErrNotFound)
			})
		})
	}
}
