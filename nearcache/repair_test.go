package nearcache_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// journaled runs test with two nodes of a fleet whose store keeps a journal.
// What b does, a does not hear of on the bus. Both have k.
func journaled(t *testing.T, test func(t *testing.T, f *fleet, a, b *member), adjust ...func(f *fleet)) {
	t.Helper()
	bubble(t, func(t *testing.T, f *fleet) {
		t.Helper()
		f.journal = true
		for _, change := range adjust {
			change(f)
		}
		a, b := f.join(), f.join()
		require.NoError(t, b.Set(t.Context(), "k", "old"))
		settle()
		a.link.deaf.Store(true)
		v, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, "old", v)
		requireNear(t, a, "k", "old")
		test(t, f, a, b)
	})
}

// variants are nodes as users get them and, where it can be taken out, nodes without m.
func variants(m fault.Mechanism) []fault.Switches {
	if !fault.Compiled {
		return []fault.Switches{fault.Without()}
	}
	return []fault.Switches{fault.Without(), fault.Without(m)}
}

func without(off fault.Switches) func(f *fleet) {
	return func(f *fleet) { f.off = off }
}

func intervals(repair, staleness time.Duration) func(f *fleet) {
	return func(f *fleet) {
		f.nodeOpts.JournalInterval, f.nodeOpts.MaxStaleness = repair, staleness
	}
}

// wait lets time pass, and all be done that is to be done then.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// failTails makes the journal unreadable, and nothing else.
func failTails(f *fleet) {
	f.store.onBefore(func(_ context.Context, op, _ string) error {
		if op == "tail" {
			return errDown
		}
		return nil
	})
}

// TestG4_LostMessage: whatever the bus loses, the bound holds.
func TestG4_LostMessage(t *testing.T) {
	for name, write := range map[string]func(ctx context.Context, b *member) error{
		"set":        func(ctx context.Context, b *member) error { return b.Set(ctx, "k", "new") },
		"delete":     func(ctx context.Context, b *member) error { return b.Delete(ctx, "k") },
		"invalidate": func(ctx context.Context, b *member) error { return b.Invalidate(ctx, "k") },
		"clear":      func(ctx context.Context, b *member) error { return b.Clear(ctx) },
	} {
		for _, repair := range []time.Duration{time.Second, 200 * time.Millisecond} {
			t.Run(fmt.Sprint(name, " ", repair), func(t *testing.T) {
				get := func(off fault.Switches) (v string) {
					journaled(t, func(t *testing.T, _ *fleet, a, b *member) {
						require.NoError(t, write(t.Context(), b))
						wait(repair)
						var err error
						v, err = a.Fetch(t.Context(), "k", is("loaded"))
						require.NoError(t, err)
					}, intervals(repair, 5*repair/2), without(off))
					return v
				}
				assert.NotEqual(t, "old", get(fault.Without()))
				if fault.Compiled {
					assert.Equal(t, "old", get(fault.Without(fault.Journal)), "the test sees what the journal is for")
				}
			})
		}
	}
}

// TestG4_JournalOutOfReach: a node that cannot read the journal serves nothing
// for longer than MaxStaleness, unless its user chose otherwise.
func TestG4_JournalOutOfReach(t *testing.T) {
	t.Run("values come from the source", func(t *testing.T) {
		journaled(t, func(t *testing.T, f *fleet, a, b *member) {
			failTails(f)
			require.NoError(t, b.Set(t.Context(), "k", "new"))
			wait(4 * time.Second)
			requireNear(t, a, "k", "old")
			assert.True(t, a.node.Health().Trusted)
			wait(time.Second + 20*time.Millisecond)
			_, err := a.Get(t.Context(), "k")
			require.ErrorIs(t, err, errDown)
			v, err := a.Fetch(t.Context(), "k", is("new"))
			require.NoError(t, err)
			assert.Equal(t, "new", v)
			requireNear(t, a, "k", "new")
			h := a.node.Health()
			assert.False(t, h.Trusted)
			assert.ErrorIs(t, h.Journal, errDown)
			assert.Greater(t, h.Behind, 5*time.Second)

			wait(4 * time.Second)
			requireNear(t, a, "k", "new")
			wait(time.Second + 20*time.Millisecond)
			v, err = a.Fetch(t.Context(), "k", is("newer"))
			require.NoError(t, err)
			assert.Equal(t, "newer", v, "each value is trusted for as long on its own")

			f.store.onBefore(nil)
			wait(time.Millisecond) // or it might as well have been before the load
			require.NoError(t, b.Set(t.Context(), "k", "newest"))
			wait(time.Second)
			v, err = a.Get(t.Context(), "k")
			require.NoError(t, err)
			assert.Equal(t, "newest", v)
			h = a.node.Health()
			assert.True(t, h.Trusted)
			assert.NoError(t, h.Journal)
			wait(time.Minute)
			requireNear(t, a, "k", "newest")
		}, intervals(time.Second, 5*time.Second))
	})
	t.Run("or served and counted", func(t *testing.T) {
		journaled(t, func(t *testing.T, f *fleet, a, b *member) {
			failTails(f)
			require.NoError(t, b.Set(t.Context(), "k", "new"))
			wait(time.Minute)
			requireNear(t, a, "k", "old")
			assert.NotZero(t, a.node.Stats().Near.Stale)
			assert.False(t, a.node.Health().Trusted)
		}, func(f *fleet) { f.nodeOpts.ServeStale = true })
	})
	t.Run("one load for each key and MaxStaleness while all is down", func(t *testing.T) {
		journaled(t, func(t *testing.T, f *fleet, a, _ *member) {
			f.store.down()
			load, n := counting("source", 0)
			for range 200 {
				_, err := a.Fetch(t.Context(), "other", load)
				require.NoError(t, err)
				time.Sleep(100 * time.Millisecond)
			}
			assert.LessOrEqual(t, n.Load(), int64(20*time.Second/nearcache.DefaultStaleness), "20 s")
		})
	})
}

// TestG4_SlowLoad: a node that hears of nothing loads a key for longer than
// MaxStaleness. Those who come after that get a load of their own, and the first
// one does not take its place.
func TestG4_SlowLoad(t *testing.T) {
	join := func(t *testing.T, f *fleet, a, b *member, after time.Duration) (got string) {
		f.store.down()
		hold, first := make(chan struct{}), make(chan string)
		go func() {
			v, _ := a.Fetch(t.Context(), "other", func(context.Context, string) (string, error) {
				<-hold
				return "old", nil
			})
			first <- v
		}()
		wait(time.Millisecond)
		failTails(f)
		require.NoError(t, b.Set(t.Context(), "other", "new"))
		f.store.down()
		wait(after)
		second := make(chan string)
		go func() {
			v, _ := a.Fetch(t.Context(), "other", is("new"))
			second <- v
		}()
		wait(time.Millisecond)
		close(hold)
		require.Equal(t, "old", <-first)
		got = <-second
		v, err := a.Fetch(t.Context(), "other", none)
		if after > 5*time.Second {
			require.NoError(t, err)
			require.Equal(t, got, v)
		}
		return got
	}
	for name, journal := range map[string]bool{"journal": true, "no journal": false} {
		t.Run(name, func(t *testing.T) {
			adjust := func(f *fleet) {
				f.journal = journal
				intervals(time.Second, 5*time.Second)(f)
			}
			for after, want := range map[time.Duration]string{4 * time.Second: "old", 10 * time.Second: "new"} {
				journaled(t, func(t *testing.T, f *fleet, a, b *member) {
					f.store.down()
					wait(3 * time.Second) // a notices that it is deaf
					assert.Equal(t, want, join(t, f, a, b, after))
				}, adjust)
			}
		})
	}
}

// TestHazard2_WriteBetweenTailAndFlush: a write between the read that finds the
// end of the journal and the flush is not heard of, and is not lost.
func TestHazard2_WriteBetweenTailAndFlush(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, b *member) {
		f.store.Store.(*memstore.Store).TrimJournal()
		f.store.onAfter(during(f, "tail", func(ctx context.Context) {
			assert.NoError(t, b.Set(ctx, "k", "new"))
		}))
		wait(time.Second)
		assert.NotZero(t, a.node.Stats().Journal.Resets)
		wait(time.Second)
		v, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	})
}

// TestHazard2_SlowTail: the journal was read at the moment when the read began, not
// when its answer came.
func TestHazard2_SlowTail(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		a := f.join()
		intervals(time.Hour, 2*time.Hour)(f)
		b := f.join() // reads the journal once
		require.NoError(t, b.Set(t.Context(), "k", "old"))
		settle()
		_, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		a.link.deaf.Store(true)
		began := make(chan time.Time, 1)
		f.store.onAfter(during(f, "tail", func(ctx context.Context) {
			began <- time.Now()
			assert.NoError(t, b.Set(ctx, "k", "new"))
			failTails(f)
			time.Sleep(900 * time.Millisecond)
		}))
		at := <-began
		wait(time.Second)
		requireNear(t, a, "k", "old")
		wait(time.Until(at.Add(nearcache.DefaultStaleness + 20*time.Millisecond)))
		v, err := a.Fetch(t.Context(), "k", is("new"))
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	})
}

// TestHazard3_UnheardClear: values can be read and the journal cannot. A value
// must not be trusted because it was read lately, while the Clear that ended it
// was never heard of.
func TestHazard3_UnheardClear(t *testing.T) {
	cleared := func(t *testing.T, test func(t *testing.T, f *fleet, a *member)) {
		journaled(t, func(t *testing.T, f *fleet, a, b *member) {
			require.NoError(t, b.Set(t.Context(), "other", "old"))
			wait(time.Second)
			failTails(f)
			wait(time.Second)
			require.NoError(t, b.Clear(t.Context()))
			test(t, f, a)
		}, intervals(time.Second, 5*time.Second))
	}
	t.Run("values read again and again", func(t *testing.T) {
		cleared(t, func(t *testing.T, _ *fleet, a *member) {
			for range 300 {
				time.Sleep(20 * time.Millisecond)
				_, _ = a.Get(t.Context(), "k")
			}
			_, err := a.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		})
	})
	t.Run("a value first read after the Clear", func(t *testing.T) {
		cleared(t, func(t *testing.T, _ *fleet, a *member) {
			wait(3 * time.Second)
			v, err := a.Get(t.Context(), "other")
			require.NoError(t, err)
			require.Equal(t, "old", v, "the bound has not passed")
			wait(2*time.Second + 20*time.Millisecond)
			_, err = a.Get(t.Context(), "other")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		})
	})
	t.Run("a clock read with another key", func(t *testing.T) {
		cleared(t, func(t *testing.T, f *fleet, a *member) {
			wait(5 * time.Second)
			_, err := a.Get(t.Context(), "other")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
			f.store.onBefore(nil)
			wait(time.Second)
			require.True(t, a.node.Health().Trusted)
			_, err = a.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		})
	})
}

// TestG3_ClearWhileJournalIsRead: a node hears of a Clear on the bus while it
// reads of an earlier one in the journal. The clock of the earlier one is not
// what it may rely on.
func TestG3_ClearWhileJournalIsRead(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		a := f.join()
		intervals(time.Hour, 2*time.Hour)(f)
		b := f.join() // reads the journal once
		require.NoError(t, b.Clear(t.Context()))
		require.NoError(t, b.Set(t.Context(), "k", "between"))
		settle()
		f.store.onAfter(during(f, "tail", func(ctx context.Context) {
			assert.NoError(t, b.Clear(ctx))
			settle()
		}))
		wait(time.Second)
		require.EqualValues(t, 2, b.Stats().Writes.Clears)
		_, err := a.Get(t.Context(), "k")
		assert.ErrorIs(t, err, nearcache.ErrNotFound)
	})
}

// TestHazard4_ContinuityLost: a reader whose place in the journal is gone drops
// everything, once.
func TestHazard4_ContinuityLost(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, b *member) {
		require.NoError(t, b.Set(t.Context(), "k", "new"))
		f.store.Store.(*memstore.Store).TrimJournal()
		resets := a.node.Stats().Journal.Resets
		wait(time.Second)
		assert.Equal(t, resets+1, a.node.Stats().Journal.Resets)
		v, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "new", v)
		wait(time.Minute)
		assert.Equal(t, resets+1, a.node.Stats().Journal.Resets)
		requireNear(t, a, "k", "new")
	})
}

// TestHazard17_OldCopyReturns: the shared tier lost the latest writes, and has
// what they replaced. It is not served.
func TestHazard17_OldCopyReturns(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, b *member) {
		store := f.store.Store.(*memstore.Store)
		images, err := store.Read(t.Context(), []string{"users:k"})
		require.NoError(t, err)
		require.NoError(t, b.Set(t.Context(), "k", "lost"))
		wait(time.Second)

		store.Plant("users:k", images[0])
		store.BeginEpoch()
		wait(time.Second)
		for _, m := range []*member{a, b} {
			_, err := m.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound, "neither the lost value nor what it had replaced")
		}
		v, err := a.Fetch(t.Context(), "k", is("loaded"))
		require.NoError(t, err)
		assert.Equal(t, "loaded", v)
		v, err = b.Fetch(t.Context(), "k", none)
		require.NoError(t, err)
		assert.Equal(t, "loaded", v)
	})
}

// TestHazard18_ClearDuringSleep: the machine slept, and there was a Clear. Until
// the journal is read again, the clock of the process says that it was read a
// moment ago, and so does the clock of the cache.
func TestHazard18_ClearDuringSleep(t *testing.T) {
	for _, journal := range []bool{true, false} {
		journaled(t, func(t *testing.T, f *fleet, a, b *member) {
			require.NoError(t, b.Set(t.Context(), "other", "old"))
			failTails(f)
			require.NoError(t, b.Clear(t.Context()))
			nearcache.Jump(a.node)
			for _, key := range []string{"k", "other"} {
				_, err := a.Get(t.Context(), key)
				assert.ErrorIs(t, err, nearcache.ErrNotFound, "%v %v", key, journal)
			}
		}, func(f *fleet) { f.journal = journal })
	}
}

// TestHazard18_RepairsAtOnce: after a sleep the journal is read without waiting.
func TestHazard18_RepairsAtOnce(t *testing.T) {
	journaled(t, func(t *testing.T, _ *fleet, a, _ *member) {
		rounds := a.node.Stats().Journal.Rounds
		nearcache.Jump(a.node)
		wait(time.Second)
		assert.Equal(t, rounds+1, a.node.Stats().Journal.Rounds)
	}, intervals(time.Hour, 2*time.Hour))
}

// TestHazard17_LaterEpoch: a node that reads a record of a later epoch than it
// knows of looks at the journal at once.
func TestHazard17_LaterEpoch(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, b *member) {
		resets := a.node.Stats().Journal.Resets
		f.store.Store.(*memstore.Store).BeginEpoch()
		require.NoError(t, b.Set(t.Context(), "other", "new"))
		v, err := a.Get(t.Context(), "other")
		require.NoError(t, err)
		require.Equal(t, "new", v)
		wait(time.Second)
		assert.Equal(t, resets+1, a.node.Stats().Journal.Resets)
	}, intervals(time.Hour, 2*time.Hour))
}

// TestRepair_FreshEntriesStay: what the bus has brought is not dropped again.
func TestRepair_FreshEntriesStay(t *testing.T) {
	journaled(t, func(t *testing.T, _ *fleet, a, b *member) {
		a.link.deaf.Store(false)
		skipped := a.node.Stats().Near.Skipped
		for i := range 20 {
			require.NoError(t, b.Set(t.Context(), "k", fmt.Sprint(i)))
			settle()
			v, err := a.Get(t.Context(), "k")
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(i), v)
			wait(time.Second)
			requireNear(t, a, "k", fmt.Sprint(i))
			requireNear(t, b, "k", fmt.Sprint(i))
		}
		// A round may come between a write and the read that brings it near.
		assert.Greater(t, a.node.Stats().Near.Skipped, skipped+10)
		assert.Zero(t, a.node.Stats().Journal.Repaired)
		assert.Zero(t, b.node.Stats().Journal.Repaired)
	})
}

// TestRepair_Gap: with a journal a gap costs no flush, and is repaired at once.
func TestRepair_Gap(t *testing.T) {
	journaled(t, func(t *testing.T, _ *fleet, a, b *member) {
		a.link.deaf.Store(false)
		require.NoError(t, b.Set(t.Context(), "other", "old"))
		settle()
		_, err := a.Get(t.Context(), "other")
		require.NoError(t, err)
		a.link.deaf.Store(true)
		require.NoError(t, b.Set(t.Context(), "k", "new"))
		flushes := a.node.Stats().Near.Flushes
		wait(5 * time.Second) // its heartbeats do not come back
		assert.True(t, a.node.Health().BusCut)
		v, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "new", v)
		requireNear(t, a, "other", "old")
		assert.Equal(t, flushes, a.node.Stats().Near.Flushes)
		assert.NotZero(t, a.node.Stats().Journal.Repaired)
	}, intervals(time.Hour, 2*time.Hour))
}

// TestRepair_ManyPages: everything that was missed is applied before the node
// trusts itself again.
func TestRepair_ManyPages(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, b *member) {
		for i := range 3500 {
			require.NoError(t, b.Invalidate(t.Context(), fmt.Sprint(i)))
		}
		require.NoError(t, b.Set(t.Context(), "k", "new"))
		rounds := a.node.Stats().Journal.Rounds
		f.eventually(func() bool { return a.node.Stats().Journal.Rounds > rounds })
		v, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "new", v)
		assert.Equal(t, rounds+1, a.node.Stats().Journal.Rounds)
	})
}

// busyJournal has others write so many entries in a second, to a journal whose server is so
// far away.
func (f *fleet) busyJournal(perSecond int, away time.Duration) {
	var mu sync.Mutex // protects last and next
	last, next := time.Now(), 0
	f.store.onBefore(func(ctx context.Context, op, _ string) error {
		if op != "tail" {
			return nil
		}
		time.Sleep(away)
		mu.Lock()
		defer mu.Unlock()
		n := int(time.Since(last).Seconds() * float64(perSecond))
		writes := make([]driver.Write, n)
		for i := range writes {
			r := driver.Record{Kind: driver.KindTombstone, Nonce: driver.NewNonce()}
			writes[i] = driver.Write{Key: fmt.Sprint("users:", next%100), Image: r.Append(nil), TTL: time.Second}
			next++
		}
		for _, r := range f.store.Store.Write(context.WithoutCancel(ctx), writes) {
			if r.Err != nil {
				return r.Err
			}
		}
		last = time.Now()
		return ctx.Err()
	})
}

// TestRepair_BusyJournal: a node keeps up with more than one page of entries in each round
// trip.
func TestRepair_BusyJournal(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, _ *member) {
		before := a.node.Stats()
		f.busyJournal(33_000, 40*time.Millisecond)
		for range 8 {
			time.Sleep(500 * time.Millisecond)
			require.Less(t, a.node.Health().Behind, 2*time.Second)
		}
		f.store.onBefore(nil)
		after := a.node.Stats()
		assert.Equal(t, before.Journal.Failures, after.Journal.Failures)
		assert.Equal(t, before.Journal.Resets, after.Journal.Resets)
		assert.Greater(t, after.Journal.Rounds, before.Journal.Rounds+2)
	})
}

// TestRepair_BusyJournalFarAway: so it does if a round has no time for more than two pages.
func TestRepair_BusyJournalFarAway(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, _ *member) {
		f.busyJournal(25_000, 300*time.Millisecond)
		wait(10 * time.Second) // it makes up for what it did not read at first
		failures := a.node.Stats().Journal.Failures
		for range 20 {
			wait(500 * time.Millisecond)
			require.True(t, a.node.Health().Trusted)
		}
		f.store.onBefore(nil)
		assert.Equal(t, failures, a.node.Stats().Journal.Failures)
	}, func(f *fleet) { f.store.Store = memstore.New(memstore.Options{JournalLength: 1 << 19}) })
}

// TestRepair_JournalTooBusy: what no node keeps up with is told as what it is.
func TestRepair_JournalTooBusy(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, _ *member) {
		f.store.Store.(*memstore.Store).TrimJournal()
		wait(2 * time.Second)
		f.busyJournal(90_000, 400*time.Millisecond)
		f.eventually(func() bool {
			err := a.node.Health().Journal
			return err != nil && strings.Contains(err.Error(), "it is written faster than this node reads it")
		})
		f.store.onBefore(nil)
	}, func(f *fleet) { f.store.Store = memstore.New(memstore.Options{JournalLength: 1 << 19}) })
}

// TestRepair_OwnClear: a node does not clear its cache a second time because
// the journal tells of it.
func TestRepair_OwnClear(t *testing.T) {
	journaled(t, func(t *testing.T, _ *fleet, a, _ *member) {
		require.NoError(t, a.Clear(t.Context()))
		require.NoError(t, a.Set(t.Context(), "k", "new"))
		wait(3 * time.Second)
		requireNear(t, a, "k", "new")
	})
}

func TestRepair_ForeignEntries(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, _ *member) {
		tier, err := shared.New(f.store.Store, shared.Options{})
		require.NoError(t, err)
		for _, key := range []string{"users", "users!", "!clock", ":", "x:k", "x!clock", "users:", "no cache"} {
			require.NoError(t, tier.Records().Set(t.Context(), key, nil, 0))
		}
		wait(time.Second)
		requireNear(t, a, "k", "old")
		assert.NoError(t, a.node.Health().Journal)
	})
}

// TestRepair_OwnKeys: what a program keeps in the shared tier itself is no news of a cache
// of that name.
func TestRepair_OwnKeys(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, _ *member) {
		tier, err := shared.New(f.store.Store, shared.Options{})
		require.NoError(t, err)
		for _, key := range []string{"users:k", "users!clock", "users!tags", ":users:k"} {
			require.NoError(t, tier.Set(t.Context(), key, nil, 0))
			require.NoError(t, tier.Delete(t.Context(), key))
		}
		wait(3 * time.Second)
		requireNear(t, a, "k", "old")
		assert.Zero(t, a.node.Stats().Journal.Repaired)
		assert.NoError(t, a.node.Health().Journal)
	})
}

// TestRepair_Warning: what the store warns of is in the log, once.
func TestRepair_Warning(t *testing.T) {
	var log strings.Builder
	journaled(t, func(t *testing.T, f *fleet, a, _ *member) {
		resets := a.node.Stats().Journal.Resets
		f.store.Store.(*memstore.Store).TrimJournal()
		wait(2 * time.Second)
		assert.Greater(t, a.node.Stats().Journal.Resets, resets)
	}, func(f *fleet) {
		f.store.warning = errors.New("may be evicted")
		f.nodeOpts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	assert.Equal(t, 2, strings.Count(log.String(), "may be evicted"), "once for each of two nodes: %s", &log)
}

func TestNodeOptions_Repair(t *testing.T) {
	f := newFleet(t)
	tier, err := shared.New(f.store, shared.Options{})
	require.NoError(t, err)
	for want, opts := range map[string]nearcache.NodeOptions{
		"JournalInterval is -1ns":                                  {JournalInterval: -1},
		"JournalInterval is 9ms":                                   {JournalInterval: 9 * time.Millisecond},
		"MaxStaleness 1s is not longer than JournalInterval 1s":    {JournalInterval: time.Second, MaxStaleness: time.Second},
		"MaxStaleness 5s is not longer than JournalInterval 10s":   {JournalInterval: 10 * time.Second, MaxStaleness: 5 * time.Second},
		"MaxStaleness 500ms is not longer than JournalInterval 1s": {MaxStaleness: 500 * time.Millisecond},
	} {
		_, err := nearcache.NewNode(tier, nil, opts)
		assert.ErrorContains(t, err, want)
	}
	for interval, want := range map[time.Duration]time.Duration{
		0: 2 * time.Second, 10 * time.Millisecond: 2 * time.Second, time.Second: 2 * time.Second, 10 * time.Second: 20 * time.Second,
	} {
		assert.Equal(t, want, nearcache.StalenessFor(interval), "JournalInterval %v", interval)
	}
	_, err = nearcache.NewNode(tier, nil, nearcache.NodeOptions{JournalInterval: shared.MaxDuration})
	assert.ErrorContains(t, err, "is not longer than JournalInterval")
}

// TestHealth_Trusted: nobody vouches for a node that has not read the journal yet,
// or that was closed.
func TestHealth_Trusted(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		failTails(f)
		tier, err := shared.New(f.store.forNode(f), shared.Options{})
		require.NoError(t, err)
		node, err := nearcache.NewNode(tier, nil, nearcache.NodeOptions{})
		require.NoError(t, err)
		wait(time.Second)
		assert.False(t, node.Health().Trusted)
		f.store.onBefore(nil)
		wait(2 * time.Second)
		assert.True(t, node.Health().Trusted)
		require.NoError(t, node.Close(atOnce))
		assert.False(t, node.Health().Trusted)
	})
}
