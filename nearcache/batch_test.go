package nearcache_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared/driver"
)

func TestGetMany(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		require.NoError(t, b.SetMany(t.Context(), map[string]string{"x": "1", "y": "2", "near": "3"}))
		settle()
		_, err := a.Get(t.Context(), "near")
		require.NoError(t, err)
		reads := f.store.reads.Load()
		values, err := a.GetMany(t.Context(), []string{"x", "near", "y", "x", "nowhere"})
		require.NoError(t, err)
		assert.Equal(t, map[string]string{"x": "1", "y": "2", "near": "3"}, values)
		assert.Equal(t, reads+1, f.store.reads.Load(), "one read of the shared tier")
		for key, want := range values {
			requireNear(t, a, key, want)
		}
		values, err = a.GetMany(t.Context(), nil)
		require.NoError(t, err)
		assert.Empty(t, values)
		assert.Zero(t, f.store.acquires.Load(), "nothing was to be loaded")
	})
}

// TestGetMany_LoaderComesAlong: a caller with a loader joins the read of a
// batch, and is not left alone with what it does not find.
func TestGetMany_LoaderComesAlong(t *testing.T) {
	for _, down := range []bool{false, true} {
		t.Run(fmt.Sprint("down ", down), func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				a := f.join()
				require.NoError(t, a.Set(t.Context(), "other", "v"))
				f.store.onBefore(func(ctx context.Context, op, _ string) error {
					if op == "read" {
						_ = sleepFor(ctx, time.Second/2)
					}
					if down {
						return errDown
					}
					return nil
				})
				got := make(chan error, 1)
				go func() {
					_, err := a.GetMany(t.Context(), []string{"k", "l"})
					got <- err
				}()
				synctest.Wait()
				v, err := a.Fetch(t.Context(), "k", is("loaded"))
				require.NoError(t, err)
				assert.Equal(t, "loaded", v)
				if err = <-got; !down {
					require.NoError(t, err)
					return
				}
				var failed nearcache.KeysError
				require.ErrorAs(t, err, &failed)
				assert.Equal(t, []string{"k", "l"}, slices.Sorted(maps.Keys(failed)))
				require.ErrorIs(t, failed["l"], errDown)
			})
		})
	}
}

func sleepFor(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestSetMany(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		require.NoError(t, b.SetMany(t.Context(), map[string]string{"x": "old", "y": "old"}))
		settle()
		for _, key := range []string{"x", "y"} {
			_, err := a.Get(t.Context(), key)
			require.NoError(t, err)
		}
		writes, sent := f.store.writes.Load(), b.bus.Stats()
		require.NoError(t, b.SetEntryMany(t.Context(), map[string]nearcache.Entry[string]{
			"x": {Value: "new"}, "y": {Value: "new", NearTTL: time.Second}, "z": {Value: "new"},
		}))
		assert.Equal(t, writes+1, f.store.writes.Load(), "one call of the store")
		assert.Equal(t, sent.Published+1, b.bus.Stats().Published, "one message")
		assert.Equal(t, sent.PublishedKeys+3, b.bus.Stats().PublishedKeys)
		for _, key := range []string{"x", "y", "z"} {
			requireNear(t, b, key, "new")
		}
		settle()
		values, err := a.GetMany(t.Context(), []string{"x", "y", "z"})
		require.NoError(t, err)
		assert.Equal(t, map[string]string{"x": "new", "y": "new", "z": "new"}, values)
		require.NoError(t, b.SetMany(t.Context(), nil))

		wait(time.Second + 20*time.Millisecond)
		reads := f.store.reads.Load()
		_, err = b.GetMany(t.Context(), []string{"x", "y"})
		require.NoError(t, err)
		assert.Equal(t, reads+1, f.store.reads.Load(), "the near lifetime of y has passed")
	})
}

// TestG1_SetMany: each key of a batch is fenced as that of a single Set is,
// before it is sent and when it is answered.
func TestG1_SetMany(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		keys := []string{"x", "y"}
		require.NoError(t, m.SetMany(t.Context(), map[string]string{"x": "old", "y": "old"}))
		f.store.onBefore(func(ctx context.Context, op, _ string) error {
			if op == "write" { // it has not happened: this is read from the shared tier
				f.store.onBefore(nil)
				values, err := m.GetMany(ctx, keys)
				require.NoError(t, err)
				assert.Equal(t, map[string]string{"x": "old", "y": "old"}, values)
			}
			return nil
		})
		reads := f.store.reads.Load()
		require.NoError(t, m.SetMany(t.Context(), map[string]string{"x": "new", "y": "new"}))
		assert.Equal(t, reads+1, f.store.reads.Load(), "from the moment it was sent nothing near was served")
		values, err := m.GetMany(t.Context(), keys)
		require.NoError(t, err)
		assert.Equal(t, map[string]string{"x": "new", "y": "new"}, values)
		assert.Equal(t, reads+1, f.store.reads.Load(), "the values written are near")

		// A read that began before the batch is over after it.
		require.NoError(t, m.Delete(t.Context(), keys...))
		go func() {
			_, _ = m.FetchMany(t.Context(), keys, func(context.Context, []string) (map[string]string, error) {
				time.Sleep(time.Second)
				return map[string]string{"x": "late", "y": "late"}, nil
			})
		}()
		synctest.Wait()
		require.NoError(t, m.SetMany(t.Context(), map[string]string{"x": "newer", "y": "newer"}))
		wait(2 * time.Second)
		values, err = m.GetMany(t.Context(), keys)
		require.NoError(t, err)
		assert.Equal(t, map[string]string{"x": "newer", "y": "newer"}, values)
	})
}

// choosy is a store in which some keys cannot be written.
type choosy struct {
	driver.Store
	fails func(key string) bool
	most  atomic.Int64 // keys of one call
}

func (p *choosy) Read(ctx context.Context, keys []string) ([][]byte, error) {
	p.most.Store(max(p.most.Load(), int64(len(keys))))
	return p.Store.Read(ctx, keys)
}

func (p *choosy) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	p.most.Store(max(p.most.Load(), int64(len(writes))))
	receipts := make([]driver.Receipt, len(writes))
	for i := range writes {
		if p.fails(writes[i].Key) {
			receipts[i].Err = errDown
			continue
		}
		receipts[i] = p.Store.Write(ctx, writes[i:i+1])[0]
	}
	return receipts
}

// TestBatch_PartialFailure: what failed is told for each key, the other keys
// are done, and the failed ones are owed.
func TestBatch_PartialFailure(t *testing.T) {
	for name, write := range map[string]func(ctx context.Context, m *member) error{
		"set": func(ctx context.Context, m *member) error {
			return m.SetMany(ctx, map[string]string{"good": "new", "bad": "new", "fine": "new"})
		},
		"delete":     func(ctx context.Context, m *member) error { return m.Delete(ctx, "good", "bad", "fine", "good") },
		"invalidate": func(ctx context.Context, m *member) error { return m.Invalidate(ctx, "good", "bad", "fine") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				var broken atomic.Bool
				f.store.Store = &choosy{Store: f.store.Store, fails: func(key string) bool {
					return broken.Load() && strings.HasSuffix(key, "bad")
				}}
				a, b := f.join(), f.join()
				require.NoError(t, a.SetMany(t.Context(), map[string]string{"good": "old", "bad": "old", "fine": "old"}))
				settle()
				broken.Store(true)
				sent := a.bus.Stats().Published
				err := write(t.Context(), a)
				var failed nearcache.KeysError
				require.ErrorAs(t, err, &failed)
				require.ErrorIs(t, err, nearcache.ErrOutcomeUnknown)
				require.ErrorIs(t, failed["bad"], errDown)
				require.ErrorContains(t, err, `nearcache: key "bad": the shared tier did not confirm the write: cache "users"`)
				assert.Len(t, failed, 1)
				assert.Equal(t, 1, a.Stats().Writes.Pending)
				assert.Equal(t, sent+1, a.bus.Stats().Published, "one message")
				_, err = a.Get(t.Context(), "bad")
				require.ErrorIs(t, err, nearcache.ErrOutcomeUnknown)
				require.ErrorContains(t, err, "an earlier write of the key by this process was not confirmed")
				settle()
				v, err := b.Fetch(t.Context(), "good", is("new"))
				require.NoError(t, err)
				assert.Equal(t, "new", v)
				broken.Store(false)
				wait(2 * time.Second)
				assert.Zero(t, a.Stats().Writes.Pending)
			})
		})
	}
}

// TestSetMany_Refused: values that cannot be stored are reported, and their
// keys invalidated.
func TestSetMany_Refused(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.tierOpts.MaxValue = 100
		m := f.join()
		require.NoError(t, m.SetMany(t.Context(), map[string]string{"small": "old", "large": "old"}))
		err := m.SetMany(t.Context(), map[string]string{"small": "new", "large": strings.Repeat("x", 200)})
		var failed nearcache.KeysError
		require.ErrorAs(t, err, &failed)
		assert.Len(t, failed, 1)
		require.ErrorIs(t, failed["large"], nearcache.ErrTooLarge)
		assert.NotContains(t, err.Error(), "xxx", "no value in an error")
		requireNear(t, m, "small", "new")
		_, err = m.Get(t.Context(), "large")
		require.ErrorIs(t, err, nearcache.ErrNotFound)

		err = m.SetEntryMany(t.Context(), map[string]nearcache.Entry[string]{"small": {Value: "newer"}, "b": {TTL: -1}})
		require.ErrorAs(t, err, &failed)
		assert.Len(t, failed, 1)
		require.EqualError(t, err, `nearcache: key "b": a lifetime of the value is negative: TTL -1ns, NearTTL 0s`)
		requireNear(t, m, "small", "newer")
	})
}

// TestBatch_InvalidKey: an invalid key fails by itself, and the others are done.
func TestBatch_InvalidKey(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		long := strings.Repeat("k", 2000)
		keys := []string{"a", "", long, "b", "a"}
		both := map[string]string{"a": "1", "b": "1"}
		holds := func(want map[string]string) {
			t.Helper()
			got, err := m.GetMany(t.Context(), []string{"a", "b"})
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		get := func() error {
			values, err := m.GetMany(t.Context(), keys)
			assert.Equal(t, both, values)
			return err
		}
		fetch := func() error {
			values, err := m.FetchMany(t.Context(), keys, isAll("1"))
			assert.Equal(t, both, values)
			return err
		}
		set := func() error {
			return m.SetMany(t.Context(), map[string]string{"a": "1", "": "2", long: "3", "b": "1"})
		}
		for _, c := range []struct {
			name string
			call func() error
			then map[string]string
		}{
			{"set", set, both},
			{"get", get, both},
			{"delete", func() error { return m.Delete(t.Context(), keys...) }, map[string]string{}},
			{"fetch", fetch, both},
			{"invalidate", func() error { return m.Invalidate(t.Context(), keys...) }, map[string]string{}},
		} {
			err := c.call()
			var failed nearcache.KeysError
			require.ErrorAs(t, err, &failed, c.name)
			assert.Len(t, failed, 2, c.name)
			require.ErrorIs(t, failed[""], nearcache.ErrInvalidKey, c.name)
			require.ErrorIs(t, failed[long], nearcache.ErrInvalidKey, c.name)
			require.ErrorContains(t, err, `"" has 0 bytes, in cache "users" it may have 1 to 1018`, c.name)
			assert.Less(t, len(err.Error()), 500, "long keys are cut")
			holds(c.then)
		}
		_, err := m.GetMany(t.Context(), []string{""})
		require.ErrorIs(t, err, nearcache.ErrInvalidKey, "alone")
		require.NoError(t, m.node.Close(atOnce))
		for _, call := range []func() error{set, func() error { return m.Delete(t.Context(), keys...) }} {
			require.ErrorIs(t, call(), nearcache.ErrClosed)
		}
		_, err = m.GetMany(t.Context(), keys)
		require.ErrorIs(t, err, nearcache.ErrClosed)
	})
}

// TestBatch_Large: a batch of any size is worked through in parts of a bounded
// size.
func TestBatch_Large(t *testing.T) {
	const n, part = 20_000, 1024
	const parts = (n + part - 1) / part
	bubble(t, func(t *testing.T, f *fleet) {
		store := &choosy{Store: f.store.Store, fails: func(string) bool { return false }}
		f.store.Store = store
		a, b := f.join(), f.join()
		values, keys := make(map[string]string, n), make([]string, n)
		for i := range keys {
			keys[i] = fmt.Sprintf("key-%05d", i)
			values[keys[i]] = "v"
		}
		sent := a.bus.Stats().Published
		require.NoError(t, a.SetMany(t.Context(), values))
		assert.EqualValues(t, parts, f.store.writes.Load())
		assert.Equal(t, sent+parts, a.bus.Stats().Published, "a message for each part")

		reads := f.store.reads.Load()
		got, err := b.GetMany(t.Context(), append(slices.Clone(keys), keys...))
		require.NoError(t, err)
		assert.Len(t, got, n)
		assert.EqualValues(t, parts, f.store.reads.Load()-reads)

		require.NoError(t, a.Delete(t.Context(), keys...))
		var most, loads int
		got, err = b.FetchMany(t.Context(), keys[:3*part], func(_ context.Context, missing []string) (map[string]string, error) {
			most, loads = max(most, len(missing)), loads+1
			return maps.Clone(values), nil
		})
		require.NoError(t, err)
		assert.Len(t, got, 3*part)
		assert.Equal(t, part, most)
		assert.Equal(t, 3, loads)
		assert.EqualValues(t, 3*(n-part), b.Stats().Loads.Unrequested)
		assert.LessOrEqual(t, store.most.Load(), int64(part+2), "keys of one round trip; the clocks may be read along")
	})
}

// TestSetMany_LargeValues: what one round trip carries is bounded in bytes.
func TestSetMany_LargeValues(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		values := map[string]string{}
		for i := range 20 {
			values[fmt.Sprint(i)] = strings.Repeat("x", 1<<20)
		}
		writes := f.store.writes.Load()
		require.NoError(t, m.SetMany(t.Context(), values))
		assert.EqualValues(t, 5, f.store.writes.Load()-writes, "4 MiB each")
	})
}

// TestFetchMany_OddLoaders: whatever a loader of several keys returns, callers
// get what they asked for.
func TestFetchMany_OddLoaders(t *testing.T) {
	for _, tt := range []struct {
		name    string
		returns func(missing []string) map[string]string
		want    map[string]string
		unasked uint64
	}{
		{"too few", func([]string) map[string]string { return map[string]string{"a": "1"} }, map[string]string{"a": "1"}, 0},
		{"none", func([]string) map[string]string { return nil }, map[string]string{}, 0},
		{"too many", func([]string) map[string]string {
			return map[string]string{"a": "1", "b": "2", "c": "3", "": "4"}
		}, map[string]string{"a": "1", "b": "2"}, 2},
		{"foreign", func([]string) map[string]string { return map[string]string{"c": "3"} }, map[string]string{}, 1},
		{"changes its argument", func(missing []string) map[string]string {
			clear(missing)
			return map[string]string{"a": "1", "b": "2"}
		}, map[string]string{"a": "1", "b": "2"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				m := f.join()
				values, err := m.FetchMany(t.Context(), []string{"a", "b"}, func(_ context.Context, missing []string) (map[string]string, error) {
					return tt.returns(missing), nil
				})
				require.NoError(t, err)
				assert.Equal(t, tt.want, values)
				assert.Equal(t, tt.unasked, m.Stats().Loads.Unrequested)
				_, err = m.Get(t.Context(), "c")
				require.ErrorIs(t, err, nearcache.ErrNotFound, "what nobody asked for is kept nowhere")
			})
		})
	}
}

// TestBatch_ContextEnds: what there was time for is returned, and the error
// tells of the rest.
func TestBatch_ContextEnds(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		require.NoError(t, m.Set(t.Context(), "near", "1"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		keys := []string{"near"}
		for i := range 3000 {
			keys = append(keys, fmt.Sprint(i))
		}
		var calls atomic.Int64
		values, err := m.FetchMany(ctx, keys, func(context.Context, []string) (map[string]string, error) {
			calls.Add(1)
			time.Sleep(2 * time.Second)
			return nil, errors.New("too late")
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		var failed nearcache.KeysError
		require.ErrorAs(t, err, &failed)
		assert.Len(t, failed, 3000)
		assert.Equal(t, map[string]string{"near": "1"}, values)
		assert.EqualValues(t, 1, calls.Load(), "the other parts were not begun")
		require.ErrorContains(t, err, "; and 2997 more")
		wait(2 * time.Second)
	})
}

// TestBatch_CallerLeaves: the read of a batch is on the context of its caller. When
// that ends, those who joined one of its flights get a read of their own.
func TestBatch_CallerLeaves(t *testing.T) {
	for name, read := range map[string]func(ctx context.Context, m *member) error{
		"GetMany": func(ctx context.Context, m *member) error {
			_, err := m.GetMany(ctx, []string{"a", "b", "c"})
			return err
		},
		"FetchMany": func(ctx context.Context, m *member) error {
			_, err := m.FetchMany(ctx, []string{"a", "b", "c"}, func(context.Context, []string) (map[string]string, error) { return nil, errNoLoad })
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				require.NoError(t, f.join().SetMany(t.Context(), map[string]string{"a": "v", "b": "v", "c": "v"}))
				m := f.join()
				var held atomic.Bool
				left := make(chan struct{}) // closed once the caller has
				f.store.onBefore(func(ctx context.Context, op, _ string) error {
					switch {
					case op != "read":
					case held.Swap(true):
						<-left
					default:
						<-ctx.Done()
						return ctx.Err()
					}
					return nil
				})
				ctx, cancel := context.WithCancel(t.Context())
				first, second := make(chan error, 1), make(chan error, 1)
				go func() { first <- read(ctx, m) }()
				synctest.Wait()
				go func() {
					v, err := m.Get(t.Context(), "b")
					assert.Equal(t, "v", v)
					second <- err
				}()
				synctest.Wait()
				cancel()
				require.ErrorIs(t, <-first, context.Canceled)
				close(left)
				require.NoError(t, <-second)
				settle()
				for _, key := range []string{"a", "b", "c"} {
					requireNear(t, m, key, "v")
				}
			})
		})
	}
}

// TestBatch_BusOnly: without a shared tier the others are told, in one message.
func TestBatch_BusOnly(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.joinBusOnly(), f.joinBusOnly()
		_, err := b.Fetch(t.Context(), "x", is("old"))
		require.NoError(t, err)
		sent := a.bus.Stats().Published
		require.NoError(t, a.SetMany(t.Context(), map[string]string{"x": "new", "y": "new"}))
		assert.Equal(t, sent+1, a.bus.Stats().Published)
		requireNear(t, a, "x", "new")
		settle()
		v, err := b.Fetch(t.Context(), "x", is("loaded"))
		require.NoError(t, err)
		assert.Equal(t, "loaded", v)
		values, err := b.GetMany(t.Context(), []string{"x", "y"})
		require.NoError(t, err)
		assert.Equal(t, map[string]string{"x": "loaded"}, values)

		a.link.mute.Store(true)
		err = a.SetMany(t.Context(), map[string]string{"x": "newer", "y": "newer"})
		require.ErrorIs(t, err, nearcache.ErrNotBroadcast)
		var failed nearcache.KeysError
		require.ErrorAs(t, err, &failed)
		assert.Len(t, failed, 2)
		_, err = a.Get(t.Context(), "x")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
	})
}

// TestBatch_NotBroadcast: with a journal a batch that could not be announced
// owes nothing.
func TestBatch_NotBroadcast(t *testing.T) {
	journaled(t, func(t *testing.T, _ *fleet, a, b *member) {
		b.link.mute.Store(true)
		err := b.SetMany(t.Context(), map[string]string{"k": "new", "l": "new"})
		require.ErrorIs(t, err, nearcache.ErrNotBroadcast)
		require.NotErrorIs(t, err, nearcache.ErrOutcomeUnknown)
		requireNear(t, b, "k", "new")
		assert.Zero(t, b.Stats().Writes.Pending)
		wait(time.Second + 20*time.Millisecond)
		v, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	})
}
