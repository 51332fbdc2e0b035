package nearcache_test

import (
	"context"
	"fmt"
	"strings"
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

// tagged returns an entry of v with these tags.
func tagged(v string, tags ...string) nearcache.Entry[string] {
	return nearcache.Entry[string]{Value: v, Tags: tags}
}

// loads returns a loader of v with these tags.
func loads(v string, tags ...string) nearcache.Loader[string] {
	return func(context.Context, string, *string) (nearcache.Loaded[string], error) {
		return asLoaded(tagged(v, tags...)), nil
	}
}

// asLoaded returns e as a loader returns it.
func asLoaded(e nearcache.Entry[string]) nearcache.Loaded[string] {
	return nearcache.Loaded[string]{Value: e.Value, TTL: e.TTL, NearTTL: e.NearTTL, Tags: e.Tags}
}

// evict takes the record of a key of the shared tier out, as a server does that
// needs the room.
func (f *fleet) evict(t *testing.T, storeKey string) {
	t.Helper()
	image := (&driver.Record{Kind: driver.KindTombstone, Nonce: driver.NewNonce()}).Append(nil)
	r := f.store.Store.Write(t.Context(), []driver.Write{{Key: storeKey, Image: image, TTL: 1}})
	require.NoError(t, r[0].Err)
	time.Sleep(time.Microsecond)
	images, err := f.store.Store.Read(t.Context(), []string{storeKey})
	require.NoError(t, err)
	require.Nil(t, images[0])
}

// slotKeys returns the keys under which the shared tier keeps the watermarks of
// users.
func (f *fleet) slotKeys(t *testing.T) (keys []string) {
	t.Helper()
	for slot := range 1 << 16 {
		keys = append(keys, fmt.Sprint("users!tag:", slot))
	}
	images, err := f.store.Store.Read(t.Context(), keys)
	require.NoError(t, err)
	n := 0
	for i, image := range images {
		if image != nil {
			keys[n] = keys[i]
			n++
		}
	}
	return keys[:n]
}

// inFleets runs test with fleets of every kind.
func inFleets(t *testing.T, test func(t *testing.T, f *fleet)) {
	for name, set := range map[string]func(f *fleet){
		"store and bus apart":  func(*fleet) {},
		"store that announces": func(f *fleet) { f.announces = true },
		"journal":              func(f *fleet) { f.journal = true },
		"journal and announcements": func(f *fleet) {
			f.journal, f.announces = true, true
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				set(f)
				test(t, f)
			})
		})
	}
}

// TestTags: values end by their tags in every tier, whoever wrote or loaded
// them, and others stay.
func TestTags(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		require.NoError(t, a.SetEntry(t.Context(), "set", tagged("old", "org:7", "red")))
		_, err := a.FetchEntry(t.Context(), "loaded", loads("old", "org:7"))
		require.NoError(t, err)
		require.NoError(t, a.SetEntryMany(t.Context(), map[string]nearcache.Entry[string]{
			"batch": tagged("old", "red", "org:7"), "batch other": tagged("stays", "org:8"),
		}))
		require.NoError(t, a.SetEntry(t.Context(), "other", tagged("stays", "org:8")))
		require.NoError(t, a.Set(t.Context(), "untagged", "stays"))
		wait(2 * time.Second) // that watermarks were made is in the journal as well
		ended := []string{"set", "loaded", "batch"}
		for _, key := range ended {
			for _, m := range []*member{a, b} {
				_, err := m.FetchEntry(t.Context(), key, loads("old", "org:7"))
				require.NoError(t, err)
				requireNear(t, m, key, "old")
			}
		}
		require.NoError(t, b.InvalidateTags(t.Context(), "org:7", "org:7"))
		settle()
		for _, m := range []*member{b, a, f.join()} {
			for _, key := range ended {
				_, err := m.Get(t.Context(), key)
				require.ErrorIs(t, err, nearcache.ErrNotFound, key)
			}
			for _, key := range []string{"other", "batch other", "untagged"} {
				v, err := m.Get(t.Context(), key)
				require.NoError(t, err, key)
				require.Equal(t, "stays", v)
			}
		}
		assert.EqualValues(t, 1, b.Stats().Writes.TagInvalidations)
		assert.NotZero(t, b.Stats().Shared.TagMisses)

		for _, key := range ended {
			v, err := a.FetchEntry(t.Context(), key, loads("new", "org:7"))
			require.NoError(t, err)
			require.Equal(t, "new", v)
			v, err = b.Fetch(t.Context(), key, none)
			require.NoError(t, err, "what is loaded after it lives: %s", key)
			require.Equal(t, "new", v)
			requireNear(t, a, key, "new")
			requireNear(t, b, key, "new")
		}
		wait(time.Minute)
		for _, key := range ended {
			requireNear(t, a, key, "new")
			requireNear(t, b, key, "new")
		}
	})
}

// TestTags_CostOfInvalidation: two round trips, whatever the number of keys.
func TestTags_CostOfInvalidation(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		entries := map[string]nearcache.Entry[string]{}
		for i := range 5000 {
			entries[fmt.Sprint("key ", i)] = tagged("old", "all", fmt.Sprint("tag ", i%100))
		}
		require.NoError(t, m.SetEntryMany(t.Context(), entries))
		writes, reads := f.store.writes.Load(), f.store.reads.Load()
		require.NoError(t, m.InvalidateTags(t.Context(), "all"))
		assert.EqualValues(t, 2, f.store.writes.Load()-writes)
		assert.EqualValues(t, 0, f.store.reads.Load()-reads)
		for key := range entries {
			_, err := m.Get(t.Context(), key)
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		}
		reads = f.store.reads.Load()
		_, _ = m.Get(t.Context(), "key 1")
		assert.EqualValues(t, 1, f.store.reads.Load()-reads, "watermarks are remembered")
	})
}

// TestTags_CostOfReads: values without tags cost what they did, and those with
// tags one round trip while no tag was invalidated since.
func TestTags_CostOfReads(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		require.NoError(t, a.SetEntry(t.Context(), "tagged", tagged("v", "org:7")))
		require.NoError(t, a.Set(t.Context(), "first", "v"))
		require.NoError(t, a.Set(t.Context(), "second", "v"))
		settle()
		cost := func(key string) int64 {
			before := f.store.reads.Load()
			v, err := b.Get(t.Context(), key)
			require.NoError(t, err)
			require.Equal(t, "v", v)
			return f.store.reads.Load() - before
		}
		assert.EqualValues(t, 1, cost("first"))
		assert.EqualValues(t, 1, cost("tagged"))
		assert.EqualValues(t, 1, cost("second"))
		require.NoError(t, a.InvalidateTags(t.Context(), "org:8"))
		require.NoError(t, a.SetEntry(t.Context(), "fresh", tagged("v", "org:7")))
		require.NoError(t, a.InvalidateTags(t.Context(), "org:8"))
		settle()
		assert.EqualValues(t, 2, cost("fresh"), "its watermark has to be read")
	})
}

// TestHazard1_LoadInFlight: A's load of K began with the lease held; B
// invalidates tag T; A's loader returns K tagged T, and its Fill is accepted with
// a revision above that of T's watermark. Nobody may serve it.
func TestHazard1_LoadInFlight(t *testing.T) {
	run := func(t *testing.T, f *fleet) (own, other, stranger string) {
		a, b := f.join(), f.join()
		require.NoError(t, a.SetEntry(t.Context(), "warm", tagged("v", "T")))
		_, err := b.Get(t.Context(), "warm")
		require.NoError(t, err)
		held, loaded := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(loaded)
			_, err := a.FetchEntry(t.Context(), "K", func(context.Context, string, *string) (nearcache.Loaded[string], error) {
				<-held
				return asLoaded(tagged("old", "T")), nil
			})
			assert.NoError(t, err)
		}()
		synctest.Wait()
		require.NoError(t, b.InvalidateTags(t.Context(), "T"))
		close(held)
		<-loaded
		settle()
		images, err := f.store.Store.Read(t.Context(), []string{"users:K"})
		require.NoError(t, err)
		r, err := driver.DecodeRecord(images[0])
		require.NoError(t, err)
		require.Equal(t, `"old"`, string(r.Value), "the Fill was accepted")
		v := make([]string, 3)
		for i, m := range []*member{a, b, f.join()} {
			v[i], err = m.FetchEntry(t.Context(), "K", loads("new", "T"))
			require.NoError(t, err)
		}
		return v[0], v[1], v[2]
	}
	inFleets(t, func(t *testing.T, f *fleet) {
		own, other, stranger := run(t, f)
		assert.Equal(t, "new", own)
		assert.Equal(t, "new", other)
		assert.Equal(t, "new", stranger)
	})
	if fault.Compiled {
		t.Run("without the tag clock", func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.off = fault.Without(fault.Watermarks)
				_, other, _ := run(t, f)
				assert.Equal(t, "old", other, "the test sees what it is for")
			})
		})
	}
	if fault.Compiled {
		t.Run("without marks of tags", func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.off = fault.Without(fault.TagMarks)
				own, _, _ := run(t, f)
				assert.Equal(t, "old", own, "the test sees what they are for")
			})
		})
	}
}

// TestHazard1_WriterDies: a writer dies between raising the tag clock and the
// watermark, so nothing was promised. What is there lives on, and the next
// invalidation ends it.
func TestHazard1_WriterDies(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		require.NoError(t, a.SetEntry(t.Context(), "k", tagged("old", "T")))
		image := (&driver.Record{Kind: driver.KindWatermark, Nonce: driver.NewNonce()}).Append(nil)
		require.NoError(t, f.store.Store.Write(t.Context(), []driver.Write{{Key: "users!tags", Image: image}})[0].Err)
		wait(2 * time.Second)
		for _, m := range []*member{a, b, f.join()} {
			v, err := m.Get(t.Context(), "k")
			require.NoError(t, err)
			require.Equal(t, "old", v)
		}
		require.NoError(t, b.InvalidateTags(t.Context(), "T"))
		settle()
		for _, m := range []*member{a, b, f.join()} {
			_, err := m.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		}
	})
}

// TestHazard1_Overtaken: of two invalidations of one tag the earlier one reaches
// the watermark last. The later clock stays.
func TestHazard1_Overtaken(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		require.NoError(t, a.SetEntry(t.Context(), "warm", tagged("v", "T")))
		held := make(chan struct{})
		first := true
		f.store.onBefore(func(_ context.Context, op, key string) error {
			if op == "write" && strings.HasPrefix(key, "users!tag:") && first {
				first = false
				<-held
			}
			return nil
		})
		done := make(chan error, 1)
		go func() { done <- a.InvalidateTags(t.Context(), "T") }()
		synctest.Wait()
		require.NoError(t, b.SetEntry(t.Context(), "k", tagged("old", "T"))) // knows the clock that a raised
		require.NoError(t, b.InvalidateTags(t.Context(), "T"))
		close(held)
		require.NoError(t, <-done)
		settle()
		for _, m := range []*member{a, b, f.join()} {
			_, err := m.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		}
	})
}

// skewed is a store of two servers, one of whose clocks is an hour ahead. The
// tag clock and what belongs to it may be on either.
type skewed struct {
	driver.Store // the one that is ahead
	behind       *memstore.Store
	ahead        func(key string) bool
}

func newSkewed(t *testing.T, ahead func(key string) bool) *skewed {
	s := &skewed{Store: memstore.New(memstore.Options{}), behind: memstore.New(memstore.Options{}), ahead: ahead}
	image := (&driver.Record{Kind: driver.KindTombstone, Nonce: 1}).Append(nil)
	floor := uint64(time.Now().Add(time.Hour).UnixMicro())
	require.NoError(t, s.Store.Write(t.Context(), []driver.Write{{Key: "x", Image: image, Floor: floor}})[0].Err)
	return s
}

func (s *skewed) of(key string) driver.Store {
	if s.ahead(key) {
		return s.Store
	}
	return s.behind
}

func (s *skewed) Read(ctx context.Context, keys []string) ([][]byte, error) {
	images := make([][]byte, len(keys))
	for i, key := range keys {
		one, err := s.of(key).Read(ctx, []string{key})
		if err != nil {
			return nil, err
		}
		images[i] = one[0]
	}
	return images, nil
}

func (s *skewed) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	receipts := make([]driver.Receipt, len(writes))
	for i, w := range writes {
		receipts[i] = s.of(w.Key).Write(ctx, []driver.Write{w})[0]
	}
	return receipts
}

func (s *skewed) Fill(ctx context.Context, writes []driver.Write) []driver.Receipt {
	receipts := make([]driver.Receipt, len(writes))
	for i := range writes {
		receipts[i] = s.of(writes[i].Key).Fill(ctx, writes[i:i+1])[0]
	}
	return receipts
}

func (s *skewed) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	grants := make([]driver.Grant, len(leases))
	for i := range leases {
		grants[i] = s.of(leases[i].Key).Acquire(ctx, leases[i:i+1])[0]
	}
	return grants
}

// TestHazard1_ClocksDiffer: no comparison is of the clocks of two servers.
func TestHazard1_ClocksDiffer(t *testing.T) {
	for name, ahead := range map[string]func(key string) bool{
		"tag clock ahead":     func(key string) bool { return strings.HasSuffix(key, "!tags") },
		"tag clock behind":    func(key string) bool { return !strings.HasSuffix(key, "!tags") },
		"watermarks ahead":    func(key string) bool { return strings.Contains(key, "!tag:") },
		"watermarks behind":   func(key string) bool { return !strings.Contains(key, "!tag:") },
		"some keys ahead":     func(key string) bool { return len(key)%2 == 0 },
		"values alone ahead":  func(key string) bool { return strings.HasPrefix(key, "users:") },
		"values alone behind": func(key string) bool { return !strings.HasPrefix(key, "users:") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.store.Store = newSkewed(t, ahead)
				a, b := f.join(), f.join()
				for round := range 5 {
					old, fresh := fmt.Sprint("old ", round), fmt.Sprint("new ", round)
					require.NoError(t, a.SetEntry(t.Context(), "set", tagged(old, "T")))
					_, err := b.FetchEntry(t.Context(), fmt.Sprint("loaded", round), loads(old, "T"))
					require.NoError(t, err)
					settle()
					require.NoError(t, b.InvalidateTags(t.Context(), "T"))
					settle()
					for _, m := range []*member{a, b, f.join()} {
						for _, key := range []string{"set", fmt.Sprint("loaded", round)} {
							v, err := m.FetchEntry(t.Context(), key, loads(fresh, "T"))
							require.NoError(t, err)
							require.Equal(t, fresh, v)
						}
					}
					v, err := a.Fetch(t.Context(), "set", none)
					require.NoError(t, err, "what was loaded since lives")
					require.Equal(t, fresh, v)
				}
			})
		})
	}
}

// TestHazard4_WatermarkLost: the shared tier lost what it knew of tags, and has
// the values that they had ended. Nobody serves them.
func TestHazard4_WatermarkLost(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, f *fleet){
		"watermark": func(t *testing.T, f *fleet) { f.evict(t, f.slotKeys(t)[0]) },
		"tag clock": func(t *testing.T, f *fleet) { f.evict(t, "users!tags") },
		"both": func(t *testing.T, f *fleet) {
			f.evict(t, f.slotKeys(t)[0])
			f.evict(t, "users!tags")
		},
		"foreign bytes in its place": func(t *testing.T, f *fleet) {
			f.store.Store.(*memstore.Store).Plant(f.slotKeys(t)[0], []byte("foreign"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inFleets(t, func(t *testing.T, f *fleet) {
				a := f.join()
				require.NoError(t, a.SetEntry(t.Context(), "k", tagged("old", "T")))
				require.NoError(t, a.InvalidateTags(t.Context(), "T"))
				require.Len(t, f.slotKeys(t), 1)
				lose(t, f)
				wait(2 * time.Second)
				for _, m := range []*member{f.join(), a} {
					_, err := m.Get(t.Context(), "k")
					require.ErrorIs(t, err, nearcache.ErrNotFound)
				}
				b := f.join()
				v, err := b.FetchEntry(t.Context(), "k", loads("new", "T"))
				require.NoError(t, err)
				require.Equal(t, "new", v)
				v, err = a.Fetch(t.Context(), "k", none)
				require.NoError(t, err)
				require.Equal(t, "new", v)
			})
		})
	}
}

// TestHazard4_WatermarkFallsBack: a server came back with the watermark that it
// had before its last writes.
func TestHazard4_WatermarkFallsBack(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		store := f.store.Store.(*memstore.Store)
		a := f.join()
		require.NoError(t, a.SetEntry(t.Context(), "k", tagged("old", "T")))
		keys := append(f.slotKeys(t), "users!tags")
		images, err := store.Read(t.Context(), keys)
		require.NoError(t, err)
		require.NoError(t, a.InvalidateTags(t.Context(), "T"))
		store.BeginEpoch()
		for i, key := range keys {
			store.Plant(key, images[i])
		}
		wait(2 * time.Second)
		require.NoError(t, a.SetEntry(t.Context(), "fresh", tagged("new", "T")))
		for _, m := range []*member{f.join(), a} {
			_, err := m.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
			v, err := m.Get(t.Context(), "fresh")
			require.NoError(t, err)
			require.Equal(t, "new", v)
		}
	})
}

// TestG4_LostTag: news of a tag that the bus lost is in the journal.
func TestG4_LostTag(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, b *member) {
		require.NoError(t, b.SetEntry(t.Context(), "tagged", tagged("old", "T")))
		require.NoError(t, b.SetEntry(t.Context(), "in the shared tier", tagged("old", "T")))
		_, err := a.Get(t.Context(), "tagged")
		require.NoError(t, err)
		require.NoError(t, b.InvalidateTags(t.Context(), "T"))
		requireNear(t, a, "tagged", "old") // it has not heard
		wait(time.Second)
		for _, key := range []string{"tagged", "in the shared tier"} {
			v, err := a.FetchEntry(t.Context(), key, loads("new", "T"))
			require.NoError(t, err)
			require.Equal(t, "new", v)
		}
		requireNear(t, a, "k", "old") // it has no tag
		wait(time.Minute)
		requireNear(t, a, "tagged", "new")
	})
}

// TestHazard3_UnheardTag: tail reads fail, and values are read again and again
// under a watermark that was never heard of.
func TestHazard3_UnheardTag(t *testing.T) {
	ended := func(t *testing.T, test func(t *testing.T, a *member)) {
		journaled(t, func(t *testing.T, f *fleet, a, b *member) {
			for _, key := range []string{"read", "unread"} {
				require.NoError(t, b.SetEntry(t.Context(), key, tagged("old", "T")))
			}
			_, err := a.Get(t.Context(), "read")
			require.NoError(t, err)
			wait(time.Second)
			failTails(f)
			wait(time.Second)
			require.NoError(t, b.InvalidateTags(t.Context(), "T"))
			test(t, a)
		})
	}
	t.Run("values read again and again", func(t *testing.T) {
		ended(t, func(t *testing.T, a *member) {
			for range 300 {
				time.Sleep(20 * time.Millisecond)
				_, _ = a.Get(t.Context(), "read")
			}
			_, err := a.Get(t.Context(), "read")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		})
	})
	t.Run("a value first read after it", func(t *testing.T) {
		ended(t, func(t *testing.T, a *member) {
			wait(3 * time.Second)
			_, _ = a.Get(t.Context(), "unread")
			wait(2*time.Second + 20*time.Millisecond)
			_, err := a.Get(t.Context(), "unread")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		})
	})
}

// TestG7_TagWithoutBus: a node that cannot hear of tags asks.
func TestG7_TagWithoutBus(t *testing.T) {
	for name, cut := range map[string]func(t *testing.T, m *member){
		"a gap": func(_ *testing.T, m *member) { m.link.deaf.Store(true); wait(time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				a, b := f.join(), f.join()
				require.NoError(t, b.SetEntry(t.Context(), "k", tagged("old", "T")))
				require.NoError(t, b.Set(t.Context(), "untagged", "old"))
				cut(t, a)
				for _, key := range []string{"k", "untagged"} {
					_, err := a.Get(t.Context(), key)
					require.NoError(t, err)
				}
				require.NoError(t, b.InvalidateTags(t.Context(), "T"))
				for range 10 {
					wait(time.Second)
					_, _ = a.Get(t.Context(), "k")
				}
				_, err := a.Get(t.Context(), "k")
				require.ErrorIs(t, err, nearcache.ErrNotFound)
				require.NoError(t, b.Clear(t.Context()))
				for range 10 {
					wait(time.Second)
					_, _ = a.Get(t.Context(), "untagged")
				}
				_, err = a.Get(t.Context(), "untagged")
				require.ErrorIs(t, err, nearcache.ErrNotFound, "a Clear likewise")
			})
		})
	}
	t.Run("a node that has no bus", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			a, b := f.withoutBus(t), f.withoutBus(t)
			require.NoError(t, b.SetEntry(t.Context(), "k", tagged("old", "T")))
			require.NoError(t, b.Set(t.Context(), "untagged", "old"))
			for _, key := range []string{"k", "untagged"} {
				_, err := a.Get(t.Context(), key)
				require.NoError(t, err)
			}
			require.NoError(t, b.InvalidateTags(t.Context(), "T"))
			wait(5*time.Second + 10*time.Millisecond)
			_, err := a.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
			require.NoError(t, b.Clear(t.Context()))
			wait(5*time.Second + 10*time.Millisecond)
			_, err = a.Get(t.Context(), "untagged")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
			require.NoError(t, a.Set(t.Context(), "written", "v"))
			v, err := b.Get(t.Context(), "written")
			require.NoError(t, err, "a write knows of the Clear")
			require.Equal(t, "v", v)
		})
	})
}

// withoutBus returns a cache of a node without a bus.
func (f *fleet) withoutBus(t *testing.T) *nearcache.Cache[string] {
	tier, err := shared.New(f.store, f.tierOpts)
	require.NoError(t, err)
	node, err := nearcache.NewNode(tier, nil, f.nodeOpts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close(atOnce)) })
	c, err := nearcache.New(node, "users", nearcache.Options[string]{})
	require.NoError(t, err)
	return c
}

// TestHazard15_JoinAfterTag: a flight runs, an invalidation of a tag returns,
// and a later reader must not get what the flight brings.
func TestHazard15_JoinAfterTag(t *testing.T) {
	run := func(t *testing.T, off fault.Switches) (second string) {
		bubble(t, func(t *testing.T, f *fleet) {
			f.off = off
			m := f.join()
			slowly := func(v string) nearcache.Loader[string] {
				return func(context.Context, string, *string) (nearcache.Loaded[string], error) {
					time.Sleep(100 * time.Millisecond)
					return asLoaded(tagged(v, "T")), nil
				}
			}
			go func() { _, _ = m.FetchEntry(t.Context(), "k", slowly("old")) }()
			synctest.Wait()
			require.NoError(t, m.InvalidateTags(t.Context(), "T"))
			var err error
			second, err = m.FetchEntry(t.Context(), "k", slowly("new"))
			require.NoError(t, err)
			time.Sleep(time.Second)
			v, err := m.FetchEntry(t.Context(), "k", loads("new", "T"))
			require.NoError(t, err)
			if !off.Off(fault.Joins) {
				assert.Equal(t, "new", v)
			}
		})
		return second
	}
	assert.Equal(t, "new", run(t, fault.Without()))
	if fault.Compiled {
		assert.Equal(t, "old", run(t, fault.Without(fault.Joins)), "the test sees what the check is for")
	}
}

// TestHazard14_TagNotDelivered: the source changed and InvalidateTags failed.
// The node reads what it concerns from the source until it is delivered.
func TestHazard14_TagNotDelivered(t *testing.T) {
	for name, fails := range map[string]string{"the tag clock": "users!tags", "the watermark": "users!tag:"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				a, b := f.join(), f.join()
				for _, key := range []string{"near", "far"} {
					require.NoError(t, b.SetEntry(t.Context(), key, tagged("old", "T")))
				}
				require.NoError(t, b.SetEntry(t.Context(), "other", tagged("old", "other")))
				_, err := a.Get(t.Context(), "near")
				require.NoError(t, err)
				settle()
				f.store.onBefore(func(_ context.Context, op, key string) error {
					if op == "write" && strings.HasPrefix(key, fails) {
						return errDown
					}
					return nil
				})
				err = a.InvalidateTags(t.Context(), "T")
				require.ErrorIs(t, err, nearcache.ErrOutcomeUnknown)
				require.ErrorIs(t, err, errDown)
				for range 3 {
					for _, key := range []string{"near", "far"} {
						v, err := a.FetchEntry(t.Context(), key, loads("new", "T"))
						require.NoError(t, err)
						require.Equal(t, "new", v)
					}
				}
				v, err := a.Fetch(t.Context(), "other", none)
				require.NoError(t, err, "it has another tag")
				require.Equal(t, "old", v)
				require.Equal(t, 1, a.Stats().Writes.Pending)

				settle() // the payer waits now: what it begins, it ends after this
				require.NoError(t, b.SetEntry(t.Context(), "late", tagged("old", "T")))
				f.store.onBefore(nil)
				wait(5 * time.Second)
				require.Zero(t, a.Stats().Writes.Pending)
				for _, m := range []*member{a, b, f.join()} {
					_, err := m.Get(t.Context(), "late")
					require.ErrorIs(t, err, nearcache.ErrNotFound)
				}
			})
		})
	}
	t.Run("a later one settles it", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join()
			f.store.down()
			require.Error(t, m.InvalidateTags(t.Context(), "T", "U"))
			require.Equal(t, 2, m.Stats().Writes.Pending)
			settle() // the payer waits now
			f.store.onBefore(nil)
			require.NoError(t, m.InvalidateTags(t.Context(), "T"))
			require.Equal(t, 1, m.Stats().Writes.Pending)
		})
	})
	t.Run("too many are a Clear", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join()
			require.NoError(t, m.Set(t.Context(), "k", "old"))
			f.store.down()
			for i := range 5 {
				tags := make([]string, 1000)
				for j := range tags {
					tags[j] = fmt.Sprint(i, " ", j)
				}
				require.Error(t, m.InvalidateTags(t.Context(), tags...))
			}
			require.LessOrEqual(t, m.Stats().Writes.Pending, 4097)
			f.store.onBefore(nil)
			wait(10 * time.Second)
			require.Zero(t, m.Stats().Writes.Pending)
			_, err := m.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		})
	})
	t.Run("the other nodes were not told", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			a, b := f.join(), f.join()
			require.NoError(t, a.SetEntry(t.Context(), "k", tagged("old", "T")))
			settle() // or news of it fences the read
			_, err := b.Get(t.Context(), "k")
			require.NoError(t, err)
			a.link.mute.Store(true)
			require.ErrorIs(t, a.InvalidateTags(t.Context(), "T"), nearcache.ErrNotBroadcast)
			requireNear(t, b, "k", "old")
			a.link.mute.Store(false)
			wait(5 * time.Second)
			_, err = b.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		})
	})
}

// TestG5_TagsAndClear: Clear leaves nothing from which a peer could refill.
func TestG5_TagsAndClear(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		require.NoError(t, a.SetEntry(t.Context(), "k", tagged("old", "T")))
		_, err := b.Get(t.Context(), "k")
		require.NoError(t, err)
		require.NoError(t, a.Clear(t.Context()))
		settle()
		for _, m := range []*member{b, a, f.join()} {
			_, err := m.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		}
		v, err := b.FetchEntry(t.Context(), "k", loads("new", "T"))
		require.NoError(t, err)
		require.Equal(t, "new", v)
		v, err = a.Fetch(t.Context(), "k", none)
		require.NoError(t, err)
		require.Equal(t, "new", v)
	})
}

func TestTags_Refused(t *testing.T) {
	many := make([]string, 1025)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		for name, tags := range map[string][]string{
			"empty": {"good", ""}, "long": {strings.Repeat("t", 257)}, "many": many[:65],
		} {
			require.ErrorIs(t, m.SetEntry(t.Context(), "k", tagged("v", tags...)), nearcache.ErrInvalidTag, name)
			err := m.SetEntryMany(t.Context(), map[string]nearcache.Entry[string]{"k": tagged("v", tags...)})
			require.ErrorIs(t, err, nearcache.ErrInvalidTag, name)
			v, err := m.FetchEntry(t.Context(), "k", loads("v", tags...))
			require.NoError(t, err, "who asked for a value gets it")
			require.Equal(t, "v", v)
			values, err := m.FetchEntryMany(t.Context(), []string{"k"}, func(context.Context, []string) (map[string]nearcache.Loaded[string], error) {
				return map[string]nearcache.Loaded[string]{"k": asLoaded(tagged("v", tags...))}, nil
			})
			require.NoError(t, err)
			require.Equal(t, map[string]string{"k": "v"}, values)
		}
		require.EqualValues(t, 6, m.Stats().Values.Untaggable)
		_, err := m.Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		for name, tags := range map[string][]string{"empty": {"good", ""}, "long": {strings.Repeat("t", 257)}, "many": many} {
			require.ErrorIs(t, m.InvalidateTags(t.Context(), tags...), nearcache.ErrInvalidTag, name)
		}
		require.Zero(t, f.store.writes.Load(), "nothing was sent")
		require.NoError(t, m.InvalidateTags(t.Context()))

		odd := []string{"\x00\xff", strings.Repeat("t", 256), "ключ", "a b", "!", ":", "{}"}
		require.NoError(t, m.SetEntry(t.Context(), "k", tagged("v", append(odd, odd...)...)))
		for _, tag := range odd {
			require.NoError(t, m.SetEntry(t.Context(), "k", tagged("v", odd...)))
			require.NoError(t, m.InvalidateTags(t.Context(), tag))
			_, err := m.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound, "%q", tag)
		}
		require.NoError(t, m.SetEntry(t.Context(), "k", tagged("v", many[:64]...)))
		require.NoError(t, m.InvalidateTags(t.Context(), many[:1024]...))
		_, err = m.Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
	})
}

// TestTags_LargestValue: tags count towards the size of a value.
func TestTags_LargestValue(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.tierOpts.MaxValue = 100
		m := f.join()
		v := strings.Repeat("v", 98) // and two quotes
		require.NoError(t, m.Set(t.Context(), "k", v))
		require.ErrorIs(t, m.SetEntry(t.Context(), "k", tagged(v, "T")), nearcache.ErrTooLarge)
		require.NoError(t, m.SetEntry(t.Context(), "k", tagged(v[:98-16], "T")))
		got, err := m.FetchEntry(t.Context(), "loaded", loads(v, "T"))
		require.NoError(t, err)
		require.Equal(t, v, got)
		assert.EqualValues(t, 2, m.Stats().Values.TooLarge)
	})
}

func TestTags_Text(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		for _, key := range []string{"near", "far"} {
			require.NoError(t, a.SetEntry(t.Context(), key, tagged("old", "org:7")))
		}
		_, err := b.Get(t.Context(), "near")
		require.NoError(t, err)
		person := f.hub.Join()
		require.NoError(t, person.Publish(t.Context(), []byte("invalidate-tags users org:7")))
		wait(time.Second)
		for _, m := range []*member{a, b, f.join()} {
			for _, key := range []string{"near", "far"} {
				v, err := m.FetchEntry(t.Context(), key, loads("new", "org:7"))
				require.NoError(t, err)
				require.Equal(t, "new", v)
			}
		}
		assert.Zero(t, a.Stats().Writes.Clears)
	})
}

// TestTags_BusOnly: without a shared tier, tags end what is near.
func TestTags_BusOnly(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.joinBusOnly(), f.joinBusOnly()
		wait(time.Second)
		for _, m := range []*member{a, b} {
			_, err := m.FetchEntry(t.Context(), "loaded", loads("old", "T"))
			require.NoError(t, err)
			_, err = m.FetchEntry(t.Context(), "loaded", loads("never", "T"))
			require.NoError(t, err)
		}
		require.NoError(t, a.SetEntry(t.Context(), "set", tagged("old", "T")))
		require.NoError(t, b.InvalidateTags(t.Context(), "T"))
		settle()
		for _, m := range []*member{a, b} {
			for _, key := range []string{"loaded", "set"} {
				v, err := m.FetchEntry(t.Context(), key, loads("new", "T"))
				require.NoError(t, err)
				require.Equal(t, "new", v)
			}
		}
	})
}

// TestG8_ForeignTags: records with tags that nobody wrote are misses.
func TestG8_ForeignTags(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		require.NoError(t, m.InvalidateTags(t.Context(), "T"))
		r := driver.Record{Kind: driver.KindValue, Codec: shared.JSON.ID(), Value: []byte(`"planted"`)}
		for _, slots := range [][]uint32{{1 << 16}, {1<<32 - 1}, {5, 1 << 20}} {
			r.Slots, r.TagClock = slots, 1<<64-1
			f.store.Store.(*memstore.Store).Plant("users:k", r.Append(nil))
			_, err := m.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
			_, err = m.GetMany(t.Context(), []string{"k"})
			require.NoError(t, err)
		}
		v, err := m.Fetch(t.Context(), "k", is("new"))
		require.NoError(t, err)
		require.Equal(t, "new", v)
	})
}

// TestTags_ReadOfWatermarkFails: what cannot be judged is read from the source.
func TestTags_ReadOfWatermarkFails(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a := f.join()
		require.NoError(t, a.SetEntry(t.Context(), "k", tagged("old", "T")))
		require.NoError(t, a.InvalidateTags(t.Context(), "T"))
		b := f.join()
		f.store.onBefore(func(_ context.Context, op, key string) error {
			if op == "read" && strings.HasPrefix(key, "users!tag") {
				return errDown
			}
			return nil
		})
		_, err := b.Get(t.Context(), "k")
		require.ErrorIs(t, err, errDown)
		v, err := b.FetchEntry(t.Context(), "k", loads("new", "T"))
		require.NoError(t, err)
		require.Equal(t, "new", v)
	})
}

// TestTags_Lookup: bounds of a read hold for what tags have ended.
func TestTags_Lookup(t *testing.T) {
	journaled(t, func(t *testing.T, _ *fleet, a, b *member) {
		require.NoError(t, b.SetEntry(t.Context(), "warm", tagged("v", "T")))
		for _, key := range []string{"near", "far"} {
			require.NoError(t, b.SetEntry(t.Context(), key, tagged("old", "T")))
			_, err := a.Get(t.Context(), key)
			require.NoError(t, err)
		}
		require.NoError(t, b.InvalidateTags(t.Context(), "T"))
		requireNear(t, a, "near", "old") // it has not heard
		_, err := a.Read(t.Context(), "near", nearcache.ReadOptions{FromShared: true}, nil)
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		wait(100 * time.Millisecond)
		answer, err := a.Read(t.Context(), "far", nearcache.ReadOptions{MaxAge: 50 * time.Millisecond}, loads("new", "T"))
		require.NoError(t, err)
		require.Equal(t, "new", answer.Value)
	}, intervals(10*time.Second, time.Minute))
}

// TestTags_ClockIsReadLate: a read that found no tag clock, or a lower one, says
// nothing of one that the node learned meanwhile. Values that were written with
// it live.
func TestTags_ClockIsReadLate(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		a := f.join()
		var clock driver.Revision
		f.store.onAfter(during(f, "read", func(ctx context.Context) {
			assert.NoError(t, a.SetEntry(ctx, "k", tagged("v", "T")))
			clock = f.revisionOf(t, "users!tags")
		}))
		_, err := a.Fetch(t.Context(), "other", is("value"))
		require.NoError(t, err)
		require.NotZero(t, clock)
		require.Equal(t, clock, f.revisionOf(t, "users!tags"), "the tag clock rises by InvalidateTags alone")
		v, err := f.join().Get(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, "v", v)
	})
}

// TestClear_ClockIsReadLate: a read of the clock that a Clear overtook does not
// make it rise once more.
func TestClear_ClockIsReadLate(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		a := f.join()
		f.store.onAfter(during(f, "read", func(ctx context.Context) {
			assert.NoError(t, a.Clear(ctx))
			assert.NoError(t, a.Set(ctx, "k", "v"))
		}))
		_, err := a.Fetch(t.Context(), "other", is("value"))
		require.NoError(t, err)
		v, err := f.join().Get(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, "v", v)
	})
}

// revisionOf returns the revision of the record under key, zero if there is none.
func (f *fleet) revisionOf(t *testing.T, key string) driver.Revision {
	t.Helper()
	images, err := f.store.Store.Read(t.Context(), []string{key})
	require.NoError(t, err)
	if images[0] == nil {
		return driver.Revision{}
	}
	header, err := driver.DecodeHeader(images[0])
	require.NoError(t, err)
	return header.Revision
}
