package nearcache_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/nearcache/nearcachetest"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// sweptStore is a store whose watermarks are swept.
type sweptStore struct {
	*memstore.Store
	forgets bool // what was swept: the rule of driver.Sweeper is off
	eager   bool // watermarks go at every other chance
	chance  atomic.Uint64
}

// sweepOf returns what sweeps the watermark of key, false if none is there.
func (s *sweptStore) sweepOf(ctx context.Context, key string) (w driver.Write, ok bool) {
	images, err := s.Read(ctx, []string{key})
	if err != nil || images[0] == nil {
		return w, false
	}
	r, err := driver.DecodeRecord(images[0])
	tombstone := driver.Record{Kind: driver.KindTombstone, Nonce: driver.NewNonce()}
	return driver.Write{Key: key, Image: tombstone.Append(nil), TTL: time.Second, Expect: r.Nonce}, err == nil && r.Kind == driver.KindWatermark
}

func (s *sweptStore) Fill(ctx context.Context, writes []driver.Write) []driver.Receipt {
	receipts := make([]driver.Receipt, len(writes))
	for i := range writes {
		old, is := s.sweepOf(ctx, writes[i].Key)
		fill := s.Store.Fill
		if s.forgets && is && old.Expect == writes[i].Expect && writes[i].Image[driver.KindOffset] == byte(driver.KindTombstone) {
			fill = s.Store.Write
		}
		receipts[i] = fill(ctx, writes[i:i+1])[0]
	}
	s.sweep(ctx, writes)
	return receipts
}

func (s *sweptStore) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	receipts := s.Store.Write(ctx, writes)
	s.sweep(ctx, writes)
	return receipts
}

// sweep takes away every other watermark of what was written just now.
func (s *sweptStore) sweep(ctx context.Context, writes []driver.Write) {
	for i := range writes {
		if !s.eager || !strings.Contains(writes[i].Key, "!tag:") || s.chance.Add(1)%2 == 0 {
			continue
		}
		if w, ok := s.sweepOf(ctx, writes[i].Key); ok {
			by := s.Store.Fill
			if s.forgets {
				by = s.Store.Write
			}
			_ = by(ctx, []driver.Write{w})
		}
	}
}

// swept requires that the watermark of a tag is swept by m.
func swept(t *testing.T, m *member, tag string) {
	t.Helper()
	time.Sleep(time.Millisecond) // numbers are ahead of a clock that stands still
	n, err := nearcache.SweepTag(t.Context(), m.Cache, tag, 0)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// holdFirst holds the first call of this kind for a watermark, until the function that it
// returns is called.
func (f *fleet) holdFirst(kind string) (release func()) {
	held, first := make(chan struct{}), true
	f.store.onBefore(func(_ context.Context, op, key string) error {
		if op == kind && strings.HasPrefix(key, "users!tag:") && first {
			first = false
			<-held
		}
		return nil
	})
	return func() { close(held) }
}

// sweepRaces are interleavings with a sweep, after each of which k is dead: T was invalidated.
var sweepRaces = map[string]func(t *testing.T, f *fleet, a, b *member){
	// Of two invalidations the earlier one reaches the watermark after the later one was swept.
	"a raise that was paused": func(t *testing.T, f *fleet, a, b *member) {
		require.NoError(t, a.SetEntry(t.Context(), "warm", tagged("v", "T")))
		release := f.holdFirst("write")
		done := make(chan error, 1)
		go func() { done <- a.InvalidateTags(t.Context(), "T") }()
		synctest.Wait()
		require.NoError(t, b.SetEntry(t.Context(), "k", tagged("old", "T"))) // knows the clock that a raised
		require.NoError(t, b.InvalidateTags(t.Context(), "T"))
		swept(t, b, "T")
		release()
		require.NoError(t, <-done)
	},
	// A node that read the clock makes the watermark after a later one was swept.
	"a maker that was paused": func(t *testing.T, f *fleet, a, b *member) {
		require.NoError(t, b.InvalidateTags(t.Context(), "another")) // there is a clock
		require.NoError(t, a.SetEntry(t.Context(), "warm", tagged("v", "another")))
		release := f.holdFirst("acquire")
		done := make(chan error, 1)
		go func() { done <- a.SetEntry(t.Context(), "other", tagged("v", "T")) }()
		synctest.Wait()
		require.NoError(t, b.SetEntry(t.Context(), "k", tagged("old", "T")))
		require.NoError(t, b.InvalidateTags(t.Context(), "T"))
		swept(t, b, "T")
		release()
		require.NoError(t, <-done)
	},
}

// TestSweep_Races: what a tag has ended stays ended, whatever comes late.
func TestSweep_Races(t *testing.T) {
	for name, race := range sweepRaces {
		run := func(t *testing.T, forgets bool, check func(t *testing.T, err error)) {
			inFleets(t, func(t *testing.T, f *fleet) {
				f.store.Store = &sweptStore{Store: f.store.Store.(*memstore.Store), forgets: forgets}
				race(t, f, f.join(), f.join())
				settle()
				_, err := f.join().Get(t.Context(), "k")
				check(t, err)
			})
		}
		t.Run(name, func(t *testing.T) {
			run(t, false, func(t *testing.T, err error) { require.ErrorIs(t, err, nearcache.ErrNotFound) })
		})
		t.Run(name+", in a store that forgets", func(t *testing.T) {
			run(t, true, func(t *testing.T, err error) { require.NoError(t, err, "the test sees what the rule is for") })
		})
	}
}

// TestSweep_LateRecord: a node that knew the tag clock of long ago stores a record after the
// watermark that ended it was swept. So does one whose value is kept for fail-safe.
func TestSweep_LateRecord(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		f.store.Store = &sweptStore{Store: f.store.Store.(*memstore.Store)}
		options := nearcache.Options[string]{Stale: nearcache.Stale{For: time.Hour}}
		a, b := f.join(options), f.join(options)
		require.NoError(t, a.SetEntry(t.Context(), "kept", tagged("old", "T")))
		require.NoError(t, a.Invalidate(t.Context(), "kept"))
		held := make(chan struct{})
		f.store.onBefore(func(_ context.Context, op, key string) error {
			if op == "write" && key == "users:k" {
				<-held
			}
			return nil
		})
		done := make(chan error, 1)
		go func() { done <- a.SetEntry(t.Context(), "k", tagged("old", "T")) }()
		synctest.Wait()
		require.NoError(t, b.InvalidateTags(t.Context(), "T"))
		swept(t, b, "T")
		close(held)
		require.NoError(t, <-done)
		settle()
		for range 2 {
			_, err := f.join(options).Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		}
		failing := func(_ context.Context, _ string, old *string) (nearcache.Loaded[string], error) {
			assert.Nil(t, old)
			return nearcache.Loaded[string]{}, errDown
		}
		for _, m := range []*member{b, f.join(options)} {
			_, err := m.FetchEntry(t.Context(), "kept", failing)
			require.ErrorIs(t, err, errDown)
		}
	})
}

// TestSweep_NobodyMakesIt: a watermark that is not there ends records although this node
// knows of one of before, and although nobody can make another.
func TestSweep_NobodyMakesIt(t *testing.T) {
	run := func(t *testing.T, f *fleet) (string, error) {
		f.store.Store = &sweptStore{Store: f.store.Store.(*memstore.Store)}
		a, b := f.join(), f.join()
		require.NoError(t, a.SetEntry(t.Context(), "k", tagged("old", "T")))
		require.NoError(t, a.InvalidateTags(t.Context(), "another"))
		v, err := b.Get(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, "old", v, "b knows the watermark")
		require.NoError(t, a.InvalidateTags(t.Context(), "T"))
		swept(t, a, "T")
		settle()
		f.store.onBefore(func(_ context.Context, op, key string) error {
			if op == "acquire" && strings.HasPrefix(key, "users!tag:") {
				return errDown
			}
			return nil
		})
		return b.Get(t.Context(), "k")
	}
	inFleets(t, func(t *testing.T, f *fleet) {
		_, err := run(t, f)
		require.ErrorIs(t, err, nearcache.ErrNotFound)
	})
	if fault.Compiled {
		t.Run("without the rule", func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.off = fault.Without(fault.Lost)
				v, err := run(t, f)
				require.NoError(t, err)
				assert.Equal(t, "old", v, "the test sees what it is for")
			})
		})
	}
}

// TestSweep_TagClockOfADeposedServer is TestG3_TagClockOfADeposedServer where the watermark
// was swept before it was read: it is made anew, with a clock from before it was raised.
func TestSweep_TagClockOfADeposedServer(t *testing.T) {
	run := func(t *testing.T, f *fleet) (values []string) {
		f.journal = true
		theirs := &tagClockApart{Store: memstore.New(memstore.Options{}), clock: memstore.New(memstore.Options{})}
		ours := &tagClockApart{Store: theirs.Store, clock: theirs.clock}
		a, b := f.joinOver(ours), f.joinOver(theirs)
		require.NoError(t, b.SetEntry(t.Context(), "k", tagged("old", "t")))
		wait(2 * time.Second)
		got, err := a.Fetch(t.Context(), "k", none)
		require.NoError(t, err)
		require.Equal(t, "old", got)
		ours.depose(t)
		require.NoError(t, b.InvalidateTags(t.Context(), "t"))
		swept(t, b, "t")
		settle()
		for range 2 {
			got, err = a.FetchEntry(t.Context(), "k", loads("new", "t"))
			require.NoError(t, err)
			values = append(values, got)
			wait(3 * time.Second)
		}
		return values
	}
	bubble(t, func(t *testing.T, f *fleet) {
		assert.Equal(t, []string{"new", "new"}, run(t, f))
	})
	if fault.Compiled {
		t.Run("without the rule", func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.off = fault.Without(fault.Lost)
				assert.Equal(t, "old", run(t, f)[0], "the test sees what it is for")
			})
		})
	}
}

// TestSweep_RacesARaise: a watermark that is raised between the two steps of a sweep stays,
// and so it is for the slower of two sweepers.
func TestSweep_RacesARaise(t *testing.T) {
	for _, name := range []string{"a raise", "another sweeper and a raise"} {
		t.Run(name, func(t *testing.T) {
			inFleets(t, func(t *testing.T, f *fleet) {
				f.store.Store = &sweptStore{Store: f.store.Store.(*memstore.Store)}
				a, b := f.join(), f.join()
				require.NoError(t, a.SetEntry(t.Context(), "k", tagged("old", "T")))
				_, err := b.Get(t.Context(), "k")
				require.NoError(t, err)
				require.NoError(t, a.InvalidateTags(t.Context(), "T"))
				release := f.holdFirst("fill")
				done := make(chan int, 1)
				time.Sleep(time.Millisecond) // numbers are ahead of a clock that stands still
				go func() {
					n, err := nearcache.SweepTag(t.Context(), a.Cache, "T", 0)
					assert.NoError(t, err)
					done <- n
				}()
				synctest.Wait()
				if name != "a raise" {
					swept(t, b, "T")
				}
				require.NoError(t, b.InvalidateTags(t.Context(), "T"))
				release()
				assert.Zero(t, <-done)
				assert.Len(t, f.slotKeys(t), 1)
				_, err = f.join().Get(t.Context(), "k")
				require.ErrorIs(t, err, nearcache.ErrNotFound)
			})
		})
	}
}

// TestSweep_AnswerIsLost: the sweep is tried again, and takes away nothing more.
func TestSweep_AnswerIsLost(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		f.store.Store = &sweptStore{Store: f.store.Store.(*memstore.Store)}
		a := f.join()
		require.NoError(t, a.SetEntry(t.Context(), "k", tagged("old", "T")))
		require.NoError(t, a.InvalidateTags(t.Context(), "T"))
		lost := false
		f.store.onAfter(func(_ context.Context, op, key string) error {
			if op == "fill" && strings.HasPrefix(key, "users!tag:") && !lost {
				lost = true
				return errors.New("connection reset by peer")
			}
			return nil
		})
		time.Sleep(time.Millisecond) // numbers are ahead of a clock that stands still
		_, _ = nearcache.SweepTag(t.Context(), a.Cache, "T", 0)
		assert.True(t, lost)
		_, err := f.join().Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		require.NoError(t, a.SetEntry(t.Context(), "k", tagged("new", "T")))
		v, err := f.join().Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	})
}

// TestSweep_Coherence: all promises hold although every other watermark goes at once.
func TestSweep_Coherence(t *testing.T) {
	f := newFleet(t)
	f.store.onAfter(slow)
	f.store.Store = &sweptStore{Store: f.store.Store.(*memstore.Store), eager: true}
	nearcachetest.Run(t, f.suite())
}

// TestSweep_LiveValuesCostALoadEach: a sweep in a slot that is in use ends its values once.
func TestSweep_LiveValuesCostALoadEach(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		f.store.Store = &sweptStore{Store: f.store.Store.(*memstore.Store)}
		a := f.join()
		require.NoError(t, a.SetEntry(t.Context(), "k", tagged("v", "T")))
		require.NoError(t, a.InvalidateTags(t.Context(), "another"))
		swept(t, a, "T")
		loaded := 0
		for range 3 {
			v, err := f.join().FetchEntry(t.Context(), "k", func(context.Context, string, *string) (nearcache.Loaded[string], error) {
				loaded++
				return asLoaded(tagged("v", "T")), nil
			})
			require.NoError(t, err)
			require.Equal(t, "v", v)
			settle()
		}
		assert.Equal(t, 1, loaded)
	})
}

// TestSweep_Pace: nodes sweep by themselves, together no faster than one would, what is old,
// and nothing else.
func TestSweep_Pace(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		store := memstore.New(memstore.Options{})
		a := f.joinOver(store)
		f.joinOver(store)
		f.joinOver(store)
		require.NoError(t, a.InvalidateTags(t.Context(), "young"))
		const pages = 256
		old := uint64(time.Now().Add(-31 * 24 * time.Hour).UnixMicro())
		keys := make([]string, pages)
		for i := range keys {
			slot := uint32(i)*generation.Slots/pages + 9
			require.NotEqual(t, generation.SlotOf("young"), slot)
			keys[i] = fmt.Sprint("users!tag:", slot)
			r := driver.Record{Kind: driver.KindWatermark, Nonce: driver.NewNonce(), Clock: old, Revision: driver.Revision{Epoch: 1, Number: old}}
			store.Plant(keys[i], r.Append(nil))
		}
		left := func() (n int) {
			images, err := store.Read(t.Context(), keys)
			require.NoError(t, err)
			for _, image := range images {
				if image != nil {
					n++
				}
			}
			return n
		}
		time.Sleep(4 * time.Hour)
		gone := pages - left()
		assert.Greater(t, gone, 3)
		assert.Less(t, gone, 60)
		images, err := store.Read(t.Context(), []string{fmt.Sprint("users!tag:", generation.SlotOf("young"))})
		require.NoError(t, err)
		assert.NotNil(t, images[0])
		highest, err := store.Swept(t.Context(), keys[:1])
		require.NoError(t, err)
		assert.Equal(t, old, highest[0])

		// A process of a version that knows nothing of it is heard.
		heartbeat := []byte{0xF8, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1, 'o'}
		heartbeat = binary.BigEndian.AppendUint64(heartbeat, 1)
		link := f.hub.Join()
		before := left()
		for range 3600 {
			require.NoError(t, link.Publish(t.Context(), heartbeat))
			time.Sleep(time.Second)
		}
		assert.Equal(t, before, left())
	})
}
