package nearcache_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/nearcachetest"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// suite is the conformance suite over a fleet in memory.
func (f *fleet) suite() nearcachetest.Fleet {
	return nearcachetest.Fleet{Join: func(context.Context) (*nearcache.Node, error) {
		tier, err := shared.New(f.store.forNode(f), f.tierOpts)
		if err != nil {
			return nil, err
		}
		link := &link{Transport: f.hub.Join(), announces: f.announces, hub: f.hub, lossy: f.lossy}
		b, err := bus.New(link, bus.Options{})
		if err != nil {
			return nil, err
		}
		f.t.Cleanup(func() { _ = b.Close() })
		return nearcache.NewBrokenNode(tier, b, f.nodeOpts, f.off)
	}}
}

func TestCoherence(t *testing.T) {
	t.Run("store and bus apart", func(t *testing.T) {
		nearcachetest.Run(t, newFleet(t).suite())
	})
	t.Run("store that announces", func(t *testing.T) {
		f := newFleet(t)
		f.announces = true
		nearcachetest.Run(t, f.suite())
	})
	t.Run("slow store", func(t *testing.T) {
		f := newFleet(t)
		f.store.onAfter(slow)
		nearcachetest.Run(t, f.suite())
	})
	t.Run("slow store that announces", func(t *testing.T) {
		f := newFleet(t)
		f.announces = true
		f.store.onAfter(slow)
		nearcachetest.Run(t, f.suite())
	})
	t.Run("journal", func(t *testing.T) {
		f := newFleet(t)
		f.journal = true
		f.nodeOpts.JournalInterval = 10 * time.Millisecond
		nearcachetest.Run(t, f.suite())
	})
	t.Run("journal and a bus that loses half of what it is given", func(t *testing.T) {
		f := newFleet(t)
		f.journal, f.announces, f.lossy = true, true, true
		f.nodeOpts.JournalInterval = 20 * time.Millisecond
		nearcachetest.Run(t, f.suite())
	})
	t.Run("near tier under pressure", func(t *testing.T) {
		f := newFleet(t)
		f.nodeOpts.NearBytes = 64 << 10
		nearcachetest.Run(t, f.suite())
	})
}

// slow makes answers arrive later than they were given, and in another order.
func slow(_ context.Context, op, _ string) error {
	if op == "read" || op == "write" {
		time.Sleep(rand.N(time.Millisecond))
	}
	return nil
}

// TestG1_ReadYourWrites forces the interleavings in which a writer's own node
// could go on serving the old value.
func TestG1_ReadYourWrites(t *testing.T) {
	t.Run("a read between begin and send", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join()
			require.NoError(t, m.Set(t.Context(), "k", "old"))
			f.store.onBefore(during(f, "write", func(ctx context.Context) {
				v, err := m.Get(ctx, "k")
				assert.NoError(t, err)
				assert.Equal(t, "old", v, "the write has not been sent")
			}))
			require.NoError(t, m.Set(t.Context(), "k", "new"))
			requireNear(t, m, "k", "new")
		})
	})
	t.Run("a read between begin and send of a delete", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join()
			require.NoError(t, m.Set(t.Context(), "k", "old"))
			f.store.onBefore(during(f, "write", func(ctx context.Context) {
				_, err := m.Get(ctx, "k")
				assert.NoError(t, err)
			}))
			require.NoError(t, m.Delete(t.Context(), "k"))
			_, err := m.Get(t.Context(), "k")
			assert.ErrorIs(t, err, nearcache.ErrNotFound)
		})
	})
	t.Run("a read answered before the write, installed after it", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join()
			require.NoError(t, f.join().Set(t.Context(), "k", "old"))
			settle()
			f.store.onAfter(during(f, "read", func(ctx context.Context) {
				assert.NoError(t, m.Set(ctx, "k", "new"))
			}))
			v, err := m.Get(t.Context(), "k")
			require.NoError(t, err)
			assert.Equal(t, "old", v, "this read began before the write")
			requireNear(t, m, "k", "new")
		})
	})
	t.Run("a read between answer and return", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join()
			require.NoError(t, m.Set(t.Context(), "k", "old"))
			f.store.onAfter(during(f, "write", func(ctx context.Context) {
				v, err := m.Get(ctx, "k")
				assert.NoError(t, err)
				assert.Equal(t, "new", v)
			}))
			require.NoError(t, m.Set(t.Context(), "k", "new"))
			requireNear(t, m, "k", "new")
		})
	})
	t.Run("a read between begin and send of a Clear", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join()
			require.NoError(t, m.Set(t.Context(), "k", "old"))
			f.store.onBefore(during(f, "write", func(ctx context.Context) {
				v, err := m.Get(ctx, "k")
				assert.NoError(t, err)
				assert.Equal(t, "old", v, "the Clear has not been sent")
			}))
			require.NoError(t, m.Clear(t.Context()))
			_, err := m.Get(t.Context(), "k")
			assert.ErrorIs(t, err, nearcache.ErrNotFound)
		})
	})
	t.Run("after an error the old copy is gone", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join()
			require.NoError(t, m.Set(t.Context(), "k", "old"))
			f.store.down()
			err := m.Set(t.Context(), "k", "new")
			require.ErrorIs(t, err, nearcache.ErrOutcomeUnknown)
			require.ErrorIs(t, err, errDown)
			_, err = m.Get(t.Context(), "k")
			assert.ErrorIs(t, err, nearcache.ErrOutcomeUnknown)
		})
	})
}

// TestHazard1_ClearDuringLoad: a load begins, and a Clear is acknowledged and heard
// of, and its clock is read. The load is filled all the same: with the clock that
// was known when it began.
func TestHazard1_ClearDuringLoad(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		fetch := map[string]func(key string, during func()) (string, error){
			"one": func(key string, during func()) (string, error) {
				return a.Fetch(t.Context(), key, func(context.Context, string) (string, error) {
					during()
					return "old", nil
				})
			},
			"many": func(key string, during func()) (string, error) {
				got, err := a.FetchMany(t.Context(), []string{key}, func(context.Context, []string) (map[string]string, error) {
					during()
					return map[string]string{key: "old"}, nil
				})
				return got[key], err
			},
		}
		for key, load := range fetch {
			v, err := load(key, func() {
				assert.NoError(t, b.Clear(t.Context()))
				settle()
				_, err := a.Get(t.Context(), "other")
				assert.ErrorIs(t, err, nearcache.ErrNotFound)
			})
			require.NoError(t, err)
			require.Equal(t, "old", v, "it began before the Clear")
			for _, m := range []*member{a, b} {
				_, err := m.Get(t.Context(), key)
				assert.ErrorIs(t, err, nearcache.ErrNotFound)
			}
		}
	})
}

// during returns a hook that calls f in the first call of this kind, and
// nowhere else.
func during(fl *fleet, op string, f func(ctx context.Context)) func(context.Context, string, string) error {
	var once atomic.Bool
	return func(ctx context.Context, o, _ string) error {
		if o == op && once.CompareAndSwap(false, true) {
			f(fl.t.Context())
		}
		return nil
	}
}

// requireNear requires that the node serves the value without asking anybody.
func requireNear(t *testing.T, m *member, key, want string) {
	t.Helper()
	before := m.Stats().Reads.Hits
	v, err := m.Get(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, want, v)
	require.Equal(t, before+1, m.Stats().Reads.Hits, "served from the near tier")
}

// TestHazard5_AbandonedWrite: a write that its caller gave up must not land
// after a later one was acknowledged.
func TestHazard5_AbandonedWrite(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.tierOpts.Timeout = 100 * time.Millisecond
		f.store.abandoned.Store(true)
		a, b := f.join(), f.join()
		landed := make(chan struct{})
		f.store.onBefore(during(f, "write", func(context.Context) {
			<-landed // sits in a socket buffer
		}))
		gone := make(chan error)
		go func() { gone <- a.Set(t.Context(), "k", "abandoned") }()
		time.Sleep(time.Second)
		require.NoError(t, b.Set(t.Context(), "k", "later"))
		close(landed)
		require.ErrorIs(t, <-gone, shared.ErrTooLate)
		settle()
		for _, m := range []*member{a, b} {
			v, err := m.Fetch(t.Context(), "k", is("later"))
			require.NoError(t, err)
			assert.Equal(t, "later", v)
		}
	})
}

// TestHazard6_ReaderHoldsEntry: a value is read, an invalidation finds nothing
// to drop, and then the value is put in its place.
func TestHazard6_ReaderHoldsEntry(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		b := f.join()
		var inWindow func()
		a := f.join(nearcache.Options[string]{Cost: func(string) int64 {
			if w := inWindow; w != nil { // between answer and install
				inWindow = nil
				w()
			}
			return 1
		}})
		require.NoError(t, b.Set(t.Context(), "k", "old"))
		settle()
		inWindow = func() {
			assert.NoError(t, b.Set(t.Context(), "k", "new"))
			time.Sleep(time.Second)
			assert.Zero(t, a.node.Stats().Near.Entries)
		}
		v, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "old", v, "this read began before the write")
		v, err = a.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "new", v)
		assert.EqualValues(t, 1, a.node.Stats().Near.Fenced)
	})
}

// TestHazard7_OlderFillNeverReappears: a read that set out first comes last, with
// what a later read of this node has overtaken, and no invalidation was heard in
// between.
func TestHazard7_OlderFillNeverReappears(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		require.NoError(t, b.Set(t.Context(), "k", "old"))
		settle()
		a.link.deaf.Store(true)
		hold, first := make(chan struct{}), make(chan string, 1)
		f.store.onAfter(during(f, "read", func(context.Context) { <-hold }))
		go func() { v, _ := a.Get(t.Context(), "k"); first <- v }()
		settle()
		require.NoError(t, b.Set(t.Context(), "k", "new"))
		later, err := a.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nil)
		require.NoError(t, err)
		require.Equal(t, "new", later.Value)
		close(hold)
		<-first // whatever it is: it began before
		requireNear(t, a, "k", "new")
	})
}

// TestHazard8_RefusedFill: a load whose fill was refused answers those who
// began before, and leaves nothing near.
func TestHazard8_RefusedFill(t *testing.T) {
	for _, gone := range []bool{false, true} {
		bubble(t, func(t *testing.T, f *fleet) {
			a, b := f.join(), f.join()
			a.link.deaf.Store(true) // it hears of nothing
			v, err := a.Fetch(t.Context(), "k", func(ctx context.Context, _ string) (string, error) {
				if gone {
					return "loaded", b.Delete(t.Context(), "k")
				}
				return "loaded", b.Set(t.Context(), "k", "set")
			})
			require.NoError(t, err)
			assert.EqualValues(t, 1, a.Stats().Loads.Rejected)
			if gone {
				assert.Equal(t, "loaded", v)
				assert.Zero(t, a.node.Stats().Near.Entries)
				return
			}
			assert.Equal(t, "set", v, "what replaced the lease is newer than what was loaded")
			v, err = b.Fetch(t.Context(), "k", none)
			require.NoError(t, err)
			assert.Equal(t, "set", v)
		})
	}
}

// TestHazard10_LateOwnWrite: a Set fails, the node reads the old value again,
// then the write lands. Its echo is the only news of it.
func TestHazard10_LateOwnWrite(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.announces = true
		m := f.join()
		require.NoError(t, m.Set(t.Context(), "k", "old"))
		settle()
		// The client library gives up and sends the write again by itself
		// later; the first answer never comes.
		f.store.onBefore(func(ctx context.Context, op, _ string) error {
			if op != "write" {
				return nil
			}
			return errDown
		})
		tier, err := shared.New(f.store.Store, shared.Options{})
		require.NoError(t, err)
		require.Error(t, m.Set(t.Context(), "k", "new"))
		f.store.onBefore(nil)
		f.eventually(func() bool { return m.Stats().Writes.Pending == 0 })
		settle()
		require.NoError(t, f.join().Set(t.Context(), "k", "old"))
		settle()
		v, err := m.Get(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, "old", v)
		requireNear(t, m, "k", "old")

		channel, payload, at := m.bus.Announcement(bus.Invalidation{Op: bus.OpSet, Cache: "users", Key: "k"})
		w := shared.Put{Key: "users:k", Announce: &driver.Announcement{Channel: channel, Payload: payload, RevisionAt: at}, Record: driver.Record{
			Kind: driver.KindValue, Codec: shared.JSON.ID(), Value: []byte(`"new"`),
		}}
		r := tier.Records().Write(t.Context(), []shared.Put{w})[0]
		require.NoError(t, r.Err)
		f.store.announce(&driver.Write{Announce: w.Announce}, &r)
		settle()
		v, err = m.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "new", v, "the echo of a write that was never answered counts")
	})
}

// TestHazard11_RemoteMarkBetween: another node's write comes between the answer
// to the own write and its install.
func TestHazard11_RemoteMarkBetween(t *testing.T) {
	run := func(t *testing.T, off fault.Switches) (got string) {
		bubble(t, func(t *testing.T, f *fleet) {
			f.off = off
			a, b := f.join(), f.join()
			f.store.onAfter(during(f, "write", func(ctx context.Context) {
				assert.NoError(t, b.Set(ctx, "k", "theirs"))
				settle()
			}))
			require.NoError(t, a.Set(t.Context(), "k", "mine"))
			settle()
			var err error
			got, err = a.Get(t.Context(), "k")
			require.NoError(t, err)
		})
		return got
	}
	assert.Equal(t, "theirs", run(t, fault.Without()))
	if fault.Compiled {
		assert.Equal(t, "mine", run(t, fault.Without(fault.OwnWrites)), "the test sees what the check is for")
	}
}

// TestHazard12_NothingStaleIsInstalled: what the shared tier still holds of the
// past (an expired value, a tombstone) is no value.
func TestHazard12_NothingStaleIsInstalled(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		expired := &keeper{gate: f.store, kept: map[string][]byte{}}
		tier, err := shared.New(expired, shared.Options{})
		require.NoError(t, err)
		b, err := bus.New(f.hub.Join(), bus.Options{})
		require.NoError(t, err)
		defer b.Close()
		node, err := nearcache.NewNode(tier, b, nearcache.NodeOptions{})
		require.NoError(t, err)
		defer node.Close(atOnce)
		late, err := nearcache.New[string](node, "users", nearcache.Options[string]{})
		require.NoError(t, err)

		require.NoError(t, m.SetEntry(t.Context(), "k", nearcache.Entry[string]{Value: "old", TTL: time.Minute}))
		v, err := late.Get(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, "old", v)
		time.Sleep(2 * time.Minute) // the store goes on answering with it
		_, err = late.Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound)

		require.NoError(t, m.Set(t.Context(), "k", "new"))
		require.NoError(t, m.Delete(t.Context(), "k"))
		_, err = m.Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		assert.Zero(t, m.node.Stats().Near.Entries)
	})
}

// keeper is a store that never lets go of what it once read.
type keeper struct {
	*gate

	mu   sync.Mutex // protects kept
	kept map[string][]byte
}

func (k *keeper) Read(ctx context.Context, keys []string) ([][]byte, error) {
	images, err := k.gate.Read(ctx, keys)
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, key := range keys {
		if images != nil && images[i] != nil {
			k.kept[key] = images[i]
		} else if images != nil {
			images[i] = k.kept[key]
		}
	}
	return images, err
}

// TestHazard15_JoinAfterInvalidation: a flight runs, an invalidation returns,
// and a later reader must not get what the flight brings.
func TestHazard15_JoinAfterInvalidation(t *testing.T) {
	for name, invalidate := range map[string]func(t *testing.T, m *member) error{
		"Invalidate": func(t *testing.T, m *member) error { return m.Invalidate(t.Context(), "k") },
		"Delete":     func(t *testing.T, m *member) error { return m.Delete(t.Context(), "k") },
		"Clear":      func(t *testing.T, m *member) error { return m.Clear(t.Context()) },
	} {
		run := func(t *testing.T, off fault.Switches) (first, second string) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.off = off
				m := f.join()
				go func() { first, _ = m.Fetch(t.Context(), "k", loadSlowly("old")) }()
				synctest.Wait()
				require.NoError(t, invalidate(t, m))
				var err error
				second, err = m.Fetch(t.Context(), "k", loadSlowly("new"))
				require.NoError(t, err)
				time.Sleep(time.Second)
				v, err := m.Fetch(t.Context(), "k", none)
				require.NoError(t, err)
				if !off.Off(fault.Joins) {
					assert.Equal(t, "new", v)
				}
			})
			return first, second
		}
		t.Run(name, func(t *testing.T) {
			first, second := run(t, fault.Without())
			assert.Contains(t, []string{"old", "new"}, first, "it began before")
			assert.Equal(t, "new", second)
		})
	}
	if fault.Compiled {
		t.Run("without the check", func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.off = fault.Without(fault.Joins)
				m := f.join()
				go func() { _, _ = m.Fetch(t.Context(), "k", loadSlowly("old")) }()
				synctest.Wait()
				require.NoError(t, m.Invalidate(t.Context(), "k"))
				v, err := m.Fetch(t.Context(), "k", loadSlowly("new"))
				require.NoError(t, err)
				assert.Equal(t, "old", v, "the test sees what the check is for")
			})
		})
	}
}

func loadSlowly(v string) func(context.Context, string) (string, error) {
	return func(context.Context, string) (string, error) {
		time.Sleep(100 * time.Millisecond)
		return v, nil
	}
}

// TestHazard19_SlowLoad: a load takes longer than its lease.
func TestHazard19_SlowLoad(t *testing.T) {
	t.Run("the holder renews, waiters of a node load once and fill nothing", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			a, b := f.join(), f.join()
			slow, loadsA := counting("from a", 20*time.Second)
			quick, loadsB := counting("from b", 10*time.Millisecond)
			done := make(chan string, 1)
			go func() {
				v, err := a.Fetch(t.Context(), "k", slow)
				assert.NoError(t, err)
				done <- v
			}()
			synctest.Wait()
			began := time.Now()
			answers := make(chan string, 8)
			for range cap(answers) {
				go func() {
					v, err := b.Fetch(t.Context(), "k", quick)
					assert.NoError(t, err)
					answers <- v
				}()
			}
			for range cap(answers) {
				assert.Equal(t, "from b", <-answers)
			}
			assert.InDelta(t, 5, time.Since(began).Seconds(), 0.6, "one lease time")
			assert.EqualValues(t, 1, loadsB.Load())
			assert.EqualValues(t, 1, b.Stats().Loads.LeaseTimeouts)
			assert.Zero(t, b.node.Stats().Near.Entries, "what was not filled is not installed")
			assert.Equal(t, "from a", <-done)
			assert.EqualValues(t, 1, loadsA.Load())
			assert.Zero(t, a.Stats().Loads.Rejected, "the lease stood for four times its time")
			v, err := b.Fetch(t.Context(), "k", none)
			require.NoError(t, err)
			assert.Equal(t, "from a", v)
		})
	})
	t.Run("a renewal brings no lease back that a write has ended", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			a, b := f.join(), f.join()
			slow, _ := counting("old", 20*time.Second)
			go func() { _, _ = a.Fetch(t.Context(), "k", slow) }()
			time.Sleep(time.Second)
			require.NoError(t, b.Invalidate(t.Context(), "k"))
			time.Sleep(30 * time.Second)
			v, err := b.Fetch(t.Context(), "k", is("new"))
			require.NoError(t, err)
			assert.Equal(t, "new", v)
			v, err = a.Fetch(t.Context(), "k", none)
			require.NoError(t, err)
			assert.Equal(t, "new", v)
		})
	})
	t.Run("a Clear does not make others wait for a load that it made worthless", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			a, b := f.join(), f.join()
			slow, _ := counting("old", 20*time.Second)
			go func() { _, _ = a.Fetch(t.Context(), "k", slow) }()
			time.Sleep(time.Second)
			require.NoError(t, b.Clear(t.Context()))
			began := time.Now()
			v, err := b.Fetch(t.Context(), "k", is("new"))
			require.NoError(t, err)
			assert.Equal(t, "new", v)
			assert.Zero(t, time.Since(began))
			time.Sleep(30 * time.Second)
			v, err = a.Fetch(t.Context(), "k", none)
			require.NoError(t, err)
			assert.Equal(t, "new", v)
		})
	})
	t.Run("a holder that died is waited for one lease time", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			b := f.join()
			tier, err := shared.New(f.store, shared.Options{})
			require.NoError(t, err)
			got := tier.Records().Acquire(t.Context(), []shared.Claim{{Key: "users:k", Token: 42}})[0]
			require.NoError(t, got.Err)
			require.Equal(t, driver.LeaseGranted, got.Status)
			began := time.Now()
			v, err := b.Fetch(t.Context(), "k", is("v"))
			require.NoError(t, err)
			assert.Equal(t, "v", v)
			assert.InDelta(t, 5, time.Since(began).Seconds(), 0.6)
		})
	})
}

// TestHazard19_FetchMany: a load of many keys renews its leases as well.
func TestHazard19_FetchMany(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a := f.join()
		got, err := a.FetchMany(t.Context(), []string{"j", "k"}, func(ctx context.Context, keys []string) (map[string]string, error) {
			time.Sleep(20 * time.Second)
			return isAll("v")(ctx, keys)
		})
		require.NoError(t, err)
		require.Len(t, got, 2)
		assert.Zero(t, a.Stats().Loads.Rejected, "the leases stood for four times their time")
		requireNear(t, a, "j", "v")
		requireNear(t, a, "k", "v")
	})
}

// TestG2_LateRead: a read that set out before an invalidation is answered last
// and finds more than the read that overtook it. Whoever comes after must not
// be sent back, whether the second read is over or not.
func TestG2_LateRead(t *testing.T) {
	run := func(t *testing.T, off fault.Switches, over bool) (got string) {
		bubble(t, func(t *testing.T, f *fleet) {
			f.off = off
			a, b := f.join(), f.join()
			require.NoError(t, b.Set(t.Context(), "k", "0"))
			settle()
			get := func() <-chan string {
				answer := make(chan string, 1)
				go func() { v, _ := a.Get(t.Context(), "k"); answer <- v }()
				settle()
				return answer
			}
			hold := make(chan struct{})
			var second <-chan string
			f.store.onBefore(during(f, "read", func(ctx context.Context) {
				assert.NoError(t, b.Set(ctx, "k", "1"))
				settle()
				if !over {
					f.store.onAfter(during(f, "read", func(context.Context) { <-hold }))
				}
				second = get()
				a.link.deaf.Store(true)
				assert.NoError(t, b.Set(ctx, "k", "2"))
			}))
			v, err := a.Get(t.Context(), "k")
			require.NoError(t, err)
			require.Equal(t, "2", v)
			third := get()
			close(hold)
			require.Equal(t, "1", <-second)
			got = <-third
		})
		return got
	}
	for _, over := range []bool{true, false} {
		assert.Equal(t, "2", run(t, fault.Without(), over))
		if fault.Compiled {
			assert.Equal(t, "1", run(t, fault.Without(fault.PassedNews), over), "the test sees what the rule is for")
		}
	}
}

// TestG2_ReadOvertakesAnswer: another node's write comes between an own write
// and its answer, is read here, and is not heard of.
func TestG2_ReadOvertakesAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		a.link.deaf.Store(true)
		f.store.onAfter(during(f, "write", func(ctx context.Context) {
			assert.NoError(t, b.Set(ctx, "k", "theirs"))
			v, err := a.Get(ctx, "k")
			assert.NoError(t, err)
			assert.Equal(t, "theirs", v)
		}))
		require.NoError(t, a.Set(t.Context(), "k", "mine"))
		v, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "theirs", v)
	})
}

// TestG2_LoadOvertakesAnswer: as TestG2_ReadOvertakesAnswer, with a value that was
// loaded, in a store that does not tell revisions.
func TestG2_LoadOvertakesAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.store.Store = taciturn{f.store.Store}
		a, b := f.join(), f.join()
		a.link.deaf.Store(true)
		f.store.onAfter(during(f, "write", func(ctx context.Context) {
			assert.NoError(t, b.Delete(ctx, "k"))
			v, err := a.Fetch(ctx, "k", is("theirs"))
			assert.NoError(t, err)
			assert.Equal(t, "theirs", v)
		}))
		require.NoError(t, a.Set(t.Context(), "k", "mine"))
		v, err := a.Fetch(t.Context(), "k", none)
		require.NoError(t, err)
		assert.Equal(t, "theirs", v)
	})
}

// taciturn is a store that does not tell writers the revision, but for that of a watermark.
type taciturn struct{ driver.Store }

func (s taciturn) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	return withoutRevisions(writes, s.Store.Write(ctx, writes))
}

func (s taciturn) Fill(ctx context.Context, writes []driver.Write) []driver.Receipt {
	return withoutRevisions(writes, s.Store.Fill(ctx, writes))
}

func withoutRevisions(writes []driver.Write, receipts []driver.Receipt) []driver.Receipt {
	for i := range receipts {
		if header, err := driver.DecodeHeader(writes[i].Image); err != nil || header.Kind != driver.KindWatermark {
			receipts[i].Revision = driver.Revision{}
		}
	}
	return receipts
}

// TestG2_MonotonicReads: two reads of a key on one node, the later of which is
// answered first, cannot leave the older answer behind.
func TestG2_MonotonicReads(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		require.NoError(t, b.Set(t.Context(), "k", "1"))
		settle()
		a.link.deaf.Store(true)
		hold := make(chan struct{})
		f.store.onAfter(during(f, "read", func(context.Context) { <-hold }))
		first := make(chan string)
		go func() { v, _ := a.Get(t.Context(), "k"); first <- v }()
		synctest.Wait()
		f.store.onAfter(nil)
		require.NoError(t, b.Set(t.Context(), "k", "2"))
		// Nothing told a of it. Whoever reads now shares the read under way:
		// a second one could overtake it.
		second := make(chan string)
		go func() { v, _ := a.Get(t.Context(), "k"); second <- v }()
		synctest.Wait()
		close(hold)
		assert.Equal(t, "1", <-first)
		assert.Equal(t, "1", <-second)
	})
}

// TestG3_Prompt: a write is seen by all nodes one hop later, without any read
// of the shared tier by those who apply it.
func TestG3_Prompt(t *testing.T) {
	for _, announces := range []bool{false, true} {
		bubble(t, func(t *testing.T, f *fleet) {
			f.announces = announces
			a, b, c := f.join(), f.join(), f.join()
			for _, m := range []*member{a, b, c} {
				_, err := m.Fetch(t.Context(), "k", is("old"))
				require.NoError(t, err)
				requireNear(t, m, "k", "old")
			}
			reads := f.store.reads.Load()
			require.NoError(t, a.Set(t.Context(), "k", "new"))
			synctest.Wait() // no time passes
			assert.Equal(t, reads, f.store.reads.Load(), "handling a message reads nothing")
			for _, m := range []*member{b, c} {
				v, err := m.Get(t.Context(), "k")
				require.NoError(t, err)
				assert.Equal(t, "new", v)
			}
			requireNear(t, a, "k", "new")
		})
	}
}

// TestG5_NoStaleFill: a load begins, a write is acknowledged on another node,
// the load ends.
func TestG5_NoStaleFill(t *testing.T) {
	run := func(t *testing.T, off fault.Switches, write func(ctx context.Context, m *member) error) (a, b string) {
		bubble(t, func(t *testing.T, f *fleet) {
			f.off = off
			ma, mb := f.join(), f.join()
			go func() { _, _ = ma.Fetch(t.Context(), "k", loadSlowly("old")) }()
			synctest.Wait()
			require.NoError(t, write(t.Context(), mb))
			time.Sleep(time.Second)
			var err error
			a, err = ma.Fetch(t.Context(), "k", is("new"))
			require.NoError(t, err)
			b, err = mb.Fetch(t.Context(), "k", is("new"))
			require.NoError(t, err)
		})
		return a, b
	}
	for name, write := range map[string]func(context.Context, *member) error{
		"Set":        func(ctx context.Context, m *member) error { return m.Set(ctx, "k", "new") },
		"Delete":     func(ctx context.Context, m *member) error { return m.Delete(ctx, "k") },
		"Invalidate": func(ctx context.Context, m *member) error { return m.Invalidate(ctx, "k") },
		"Clear":      func(ctx context.Context, m *member) error { return m.Clear(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := run(t, fault.Without(), write)
			assert.Equal(t, "new", a)
			assert.Equal(t, "new", b)
		})
	}
	if fault.Compiled {
		t.Run("without leases", func(t *testing.T) {
			a, b := run(t, fault.Without(fault.Leases), func(ctx context.Context, m *member) error { return m.Delete(ctx, "k") })
			assert.Equal(t, []string{"old", "old"}, []string{a, b}, "the test sees what leases are for")
		})
	}
	if fault.Compiled {
		t.Run("without marks", func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.off = fault.Without(fault.Marks)
				a, b := f.join(), f.join()
				require.NoError(t, b.Set(t.Context(), "k", "old"))
				settle()
				f.store.onAfter(during(f, "read", func(ctx context.Context) {
					assert.NoError(t, b.Set(ctx, "k", "new"))
					settle()
				}))
				_, err := a.Get(t.Context(), "k")
				require.NoError(t, err)
				v, err := a.Get(t.Context(), "k")
				require.NoError(t, err)
				assert.Equal(t, "old", v, "the test sees what marks are for")
			})
		})
	}
}

// TestG6_OneLoadInTheFleet: many callers on many nodes miss a key.
func TestG6_OneLoadInTheFleet(t *testing.T) {
	run := func(t *testing.T, off fault.Switches) (loads int64) {
		bubble(t, func(t *testing.T, f *fleet) {
			f.off = off
			load, n := counting("v", 300*time.Millisecond)
			done := make(chan error, 8*64)
			for range 8 {
				m := f.join()
				for range 64 {
					go func() {
						v, err := m.Fetch(t.Context(), "k", load)
						if v != "v" && err == nil {
							err = errors.New("wrong value")
						}
						done <- err
					}()
				}
			}
			for range cap(done) {
				require.NoError(t, <-done)
			}
			loads = n.Load()
		})
		return loads
	}
	assert.EqualValues(t, 1, run(t, fault.Without()))
	if fault.Compiled {
		assert.Greater(t, run(t, fault.Without(fault.Leases)), int64(1), "the test sees what leases are for")
	}
}
