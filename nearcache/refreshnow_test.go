package nearcache_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

// origin is a source that takes its time, and what was asked of it.
type origin struct {
	mu    sync.Mutex
	value string
	err   error
	takes time.Duration
	loads atomic.Int64
}

func (o *origin) set(value string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.value, o.err = value, err
}

// load reads the source when it begins.
func (o *origin) load(ctx context.Context, _ string, _ *string) (nearcache.Loaded[string], error) {
	o.loads.Add(1)
	o.mu.Lock()
	value, err := o.value, o.err
	o.mu.Unlock()
	select {
	case <-time.After(o.takes):
	case <-ctx.Done():
		return nearcache.Loaded[string]{}, ctx.Err()
	}
	return nearcache.Loaded[string]{Value: value}, err
}

// near requires that m answers without a load or a wait.
func (o *origin) answers(t *testing.T, want string, nodes ...*member) {
	t.Helper()
	for _, m := range nodes {
		before, began := o.loads.Load(), time.Now()
		v, err := m.Get(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, want, v)
		require.Zero(t, time.Since(began))
		require.Equal(t, before, o.loads.Load())
	}
}

// TestRefresh: readers of all nodes get the old value until the new one is stored, and the new one
// from then on.
func TestRefresh(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		o := &origin{value: "old", takes: time.Second}
		a, b := f.join(nearcache.Options[string]{Loader: o.load}), f.join(nearcache.Options[string]{Loader: o.load})
		for _, m := range []*member{a, b} {
			_, err := m.Get(t.Context(), "k")
			require.NoError(t, err)
		}
		o.set("new", nil)
		done := make(chan error, 1)
		go func() { done <- a.Refresh(t.Context(), "k") }()
		time.Sleep(500 * time.Millisecond)
		o.answers(t, "old", a, b)
		require.NoError(t, <-done)
		o.answers(t, "new", a)
		settle()
		o.answers(t, "new", b)
		assert.EqualValues(t, 2, o.loads.Load())
		assert.EqualValues(t, 1, a.Stats().Loads.Refreshed)
	})
}

// TestG4_Refresh: the journal tells of a refresh of which the bus did not.
func TestG4_Refresh(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		o := &origin{value: "old"}
		opts := nearcache.Options[string]{Loader: o.load, TTL: time.Hour}
		a, b := f.join(opts), f.join(opts)
		_, _ = b.Get(t.Context(), "k")
		b.link.loses.Store(true)
		for i, before := range []func() error{
			func() error { return nil },
			func() error { f.evict(t, "users:k"); a.node.Stats(); return nil }, // no record, and copies all the same
		} {
			require.NoError(t, before())
			want := []string{"new", "newer"}[i]
			o.set(want, nil)
			require.NoError(t, a.Refresh(t.Context(), "k"))
			time.Sleep(1100 * time.Millisecond)
			o.answers(t, want, a, b)
		}
	})
}

// TestRefresh_IsYoungerThanTheCall: loads that began before do not count, wherever they run.
func TestRefresh_IsYoungerThanTheCall(t *testing.T) {
	for name, has := range map[string]bool{"a value": true, "no value": false} {
		for of, by := range map[string]int{"own load": 0, "that of another": 1} {
			t.Run(name+", "+of, func(t *testing.T) {
				inFleets(t, func(t *testing.T, f *fleet) {
					o := &origin{value: "old", takes: time.Second}
					opts := nearcache.Options[string]{Loader: o.load, TTL: time.Hour}
					nodes := []*member{f.join(opts), f.join(opts)}
					a := nodes[0]
					if has {
						require.NoError(t, a.Set(t.Context(), "k", "old"))
					}
					settle()
					var earlier sync.WaitGroup
					earlier.Go(func() {
						if has {
							assert.NoError(t, nodes[by].Refresh(t.Context(), "k"))
						} else {
							_, err := nodes[by].Get(t.Context(), "k")
							assert.NoError(t, err)
						}
					})
					time.Sleep(500 * time.Millisecond)
					o.set("new", nil)
					require.NoError(t, a.Refresh(t.Context(), "k"))
					o.answers(t, "new", a)
					earlier.Wait()
					settle()
					o.answers(t, "new", a)
					v, err := nodes[1].Get(t.Context(), "k")
					require.NoError(t, err)
					assert.Equal(t, "new", v)
				})
			})
		}
	}
}

// TestG5_Refresh: what is written while a refresh loads is not replaced by it.
func TestG5_Refresh(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		o := &origin{value: "old", takes: time.Second}
		opts := nearcache.Options[string]{Loader: o.load, TTL: time.Hour}
		a, b := f.join(opts), f.join(opts)
		for _, m := range []*member{a, b} {
			require.NoError(t, a.Set(t.Context(), "k", "before"))
			settle()
			done := make(chan error, 1)
			o.set("old", nil)
			loads := o.loads.Load()
			go func() { done <- a.Refresh(t.Context(), "k") }()
			time.Sleep(500 * time.Millisecond)
			o.set("new", nil) // the source changes, and then the cache
			require.NoError(t, m.Set(t.Context(), "k", "new"))
			require.NoError(t, <-done)
			assert.EqualValues(t, loads+2, o.loads.Load(), "it loads again")
			settle()
			o.answers(t, "new", a)
			v, err := b.Get(t.Context(), "k")
			require.NoError(t, err)
			assert.Equal(t, "new", v)
		}
	})
}

// TestRefresh_Fails: a key that fails keeps its value.
func TestRefresh_Fails(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		o := &origin{value: "old"}
		m := f.join(nearcache.Options[string]{Loader: o.load})
		require.NoError(t, m.Refresh(t.Context(), "k"), "also of a key that has none")
		o.answers(t, "old", m)
		o.set("", errDown)
		err := m.Refresh(t.Context(), "k", "", "k")
		var failed nearcache.KeysError
		require.ErrorAs(t, err, &failed)
		require.Len(t, failed, 2)
		assert.Equal(t, errDown, failed["k"])
		require.ErrorIs(t, failed[""], nearcache.ErrInvalidKey)
		o.answers(t, "old", m)
		stored, err := m.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true, NoLoad: true}, nil)
		require.NoError(t, err)
		assert.Equal(t, "old", stored.Value)

		o.set("new", nil)
		f.store.down()
		require.ErrorIs(t, m.Refresh(t.Context(), "k"), errDown)
		o.answers(t, "old", m)
		f.store.onBefore(func(_ context.Context, op, key string) error {
			if op == "fill" && key == "users:k" {
				return errDown
			}
			return nil
		})
		loads := o.loads.Load()
		require.ErrorIs(t, m.Refresh(t.Context(), "k"), errDown)
		assert.EqualValues(t, loads+1, o.loads.Load())
		f.store.onBefore(nil)
		require.NoError(t, m.Refresh(t.Context(), "k"))
		o.answers(t, "new", m)

		gone, leave := context.WithCancel(t.Context())
		leave()
		require.ErrorIs(t, m.Refresh(gone, "k"), context.Canceled)
		require.NoError(t, m.Close(atOnce))
		require.ErrorIs(t, m.Refresh(t.Context(), "k"), nearcache.ErrClosed)
		plain := f.join()
		require.ErrorIs(t, plain.Refresh(t.Context(), "k"), errors.ErrUnsupported)
	})
}

// TestRefresh_NoValue: what the source has no more, or does not want stored, goes everywhere.
func TestRefresh_NoValue(t *testing.T) {
	for name, notFoundTTL := range map[string]time.Duration{"remembered": time.Minute, "not remembered": 0} {
		t.Run(name, func(t *testing.T) {
			inFleets(t, func(t *testing.T, f *fleet) {
				o := &origin{value: "old"}
				opts := nearcache.Options[string]{Loader: o.load, NotFoundTTL: notFoundTTL}
				a, b := f.join(opts), f.join(opts)
				_, _ = a.Get(t.Context(), "k")
				_, _ = b.Get(t.Context(), "k")
				o.set("", nearcache.ErrNotFound)
				require.NoError(t, a.Refresh(t.Context(), "k"))
				settle()
				for _, m := range []*member{a, b} {
					_, err := m.Read(t.Context(), "k", nearcache.ReadOptions{NoLoad: true}, nil)
					require.ErrorIs(t, err, nearcache.ErrNotFound)
				}
				o.set("back", nil)
				require.NoError(t, a.Refresh(t.Context(), "k"))
				settle()
				o.answers(t, "back", a)
				v, err := b.Get(t.Context(), "k")
				require.NoError(t, err)
				assert.Equal(t, "back", v)
			})
		})
	}
	t.Run("not stored", func(t *testing.T) {
		inFleets(t, func(t *testing.T, f *fleet) {
			opts := nearcache.Options[string]{Loader: func(context.Context, string, *string) (nearcache.Loaded[string], error) {
				return nearcache.Loaded[string]{Value: "new", NoStore: true}, nil
			}}
			a, b := f.join(opts), f.join(opts)
			require.NoError(t, a.Set(t.Context(), "k", "old"))
			fetches(t, b, "old", none)
			require.NoError(t, a.Refresh(t.Context(), "k"))
			settle()
			for _, m := range []*member{a, b} {
				v, err := m.Get(t.Context(), "k")
				require.NoError(t, err)
				assert.Equal(t, "new", v)
			}
		})
	})
}

// TestRefresh_Together: calls that wait for one share the next one, and who leaves ends nothing.
func TestRefresh_Together(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		o := &origin{value: "v", takes: time.Second}
		m := f.join(nearcache.Options[string]{Loader: o.load})
		require.NoError(t, m.Set(t.Context(), "k", "old"))
		var all sync.WaitGroup
		leaves, leave := context.WithCancel(t.Context())
		all.Go(func() { assert.ErrorIs(t, m.Refresh(leaves, "k"), context.Canceled) })
		synctest.Wait()
		for range 20 {
			all.Go(func() { assert.NoError(t, m.Refresh(t.Context(), "k", "k")) })
		}
		synctest.Wait()
		leave()
		all.Wait()
		assert.EqualValues(t, 2, o.loads.Load())
		o.answers(t, "v", m)
		require.NoError(t, m.Refresh(t.Context(), "k", "k2", "k3"))
		assert.EqualValues(t, 5, o.loads.Load())
	})
}
