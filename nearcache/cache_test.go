package nearcache_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
)

func TestFetchMany(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		require.NoError(t, b.Set(t.Context(), "in shared", "1"))
		settle()
		_, err := a.Fetch(t.Context(), "near", is("2"))
		require.NoError(t, err)

		var asked [][]string
		load := func(_ context.Context, missing []string) (map[string]string, error) {
			asked = append(asked, slices.Sorted(slices.Values(missing)))
			return map[string]string{"x": "3", "y": "4", "foreign": "5"}, nil
		}
		reads := f.store.reads.Load()
		values, err := a.FetchMany(t.Context(), []string{"near", "in shared", "x", "y", "x", "nowhere"}, load)
		require.NoError(t, err)
		assert.Equal(t, map[string]string{"near": "2", "in shared": "1", "x": "3", "y": "4"}, values)
		assert.Equal(t, [][]string{{"nowhere", "x", "y"}}, asked, "one call of the loader")
		assert.Equal(t, reads+1, f.store.reads.Load(), "one read of the shared tier")
		for key, want := range values {
			requireNear(t, a, key, want)
		}
		v, err := b.Get(t.Context(), "x")
		require.NoError(t, err)
		assert.Equal(t, "3", v)
	})
}

func TestFetchMany_Fails(t *testing.T) {
	t.Run("loader", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join()
			require.NoError(t, m.Set(t.Context(), "a", "1"))
			values, err := m.FetchMany(t.Context(), []string{"a", "b"}, func(context.Context, []string) (map[string]string, error) {
				return nil, errDown
			})
			require.ErrorIs(t, err, errDown)
			require.ErrorContains(t, err, `"b"`)
			assert.Equal(t, map[string]string{"a": "1"}, values)
		})
	})
	t.Run("loader panics", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join()
			_, err := m.FetchMany(t.Context(), []string{"a", "b"}, func(context.Context, []string) (map[string]string, error) {
				panic("oops")
			})
			var p *nearcache.PanicError
			require.ErrorAs(t, err, &p)
			_, err = m.Fetch(t.Context(), "a", is("v"))
			require.NoError(t, err)
		})
	})
	t.Run("shared tier", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join()
			f.store.down()
			calls := 0
			values, err := m.FetchMany(t.Context(), []string{"a", "b"}, func(_ context.Context, missing []string) (map[string]string, error) {
				calls++
				return map[string]string{"a": "1", "b": "2"}, nil
			})
			require.NoError(t, err)
			assert.Len(t, values, 2)
			assert.Equal(t, 1, calls)
			assert.EqualValues(t, 2, m.Stats().Loads.Degraded)
		})
	})
	t.Run("caller leaves", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := m.FetchMany(ctx, []string{"a"}, func(context.Context, []string) (map[string]string, error) {
				time.Sleep(2 * time.Second)
				return map[string]string{"a": "1"}, nil
			})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			time.Sleep(2 * time.Second)
			requireNear(t, m, "a", "1")
		})
	})
}

// TestFetchMany_SharesLoads: batches and single callers on two nodes want
// overlapping keys at once.
func TestFetchMany_SharesLoads(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		loads := map[string]int{}
		query := func(keys []string) map[string]string {
			values := map[string]string{}
			for _, key := range keys {
				loads[key]++
				values[key] = "v" + key
			}
			time.Sleep(100 * time.Millisecond)
			return values
		}
		many := func(ctx context.Context, missing []string) (map[string]string, error) {
			return query(missing), ctx.Err()
		}
		one := func(ctx context.Context, key string) (string, error) { return query([]string{key})[key], ctx.Err() }
		done := make(chan error, 3)
		run := func(f func() error) {
			go func() { done <- f() }()
			synctest.Wait()
		}
		run(func() error { _, err := a.Fetch(t.Context(), "2", one); return err })
		run(func() error { _, err := a.FetchMany(t.Context(), []string{"1", "2", "3"}, many); return err })
		run(func() error {
			values, err := b.FetchMany(t.Context(), []string{"1", "2", "3", "4"}, many)
			if len(values) != 4 && err == nil {
				err = errors.New("values are missing")
			}
			return err
		})
		for range 3 {
			require.NoError(t, <-done)
		}
		assert.Equal(t, map[string]int{"1": 1, "2": 1, "3": 1, "4": 1}, loads)
	})
}

// TestFetchMany_Fenced: a batch obeys fences as single reads do.
func TestFetchMany_Fenced(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		go func() {
			_, _ = m.FetchMany(t.Context(), []string{"a", "b"}, func(context.Context, []string) (map[string]string, error) {
				time.Sleep(time.Second)
				return map[string]string{"a": "old", "b": "old"}, nil
			})
		}()
		synctest.Wait()
		require.NoError(t, m.Invalidate(t.Context(), "a"))
		time.Sleep(2 * time.Second)
		v, err := m.Fetch(t.Context(), "a", is("new"))
		require.NoError(t, err)
		assert.Equal(t, "new", v)
		requireNear(t, m, "b", "old")
	})
}

func TestDelete_ManyKeys(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		var keys []string
		for i := range 3000 {
			keys = append(keys, fmt.Sprint(i))
		}
		_, err := b.FetchMany(t.Context(), keys, func(_ context.Context, missing []string) (map[string]string, error) {
			values := map[string]string{}
			for _, key := range missing {
				values[key] = "v"
			}
			return values, nil
		})
		require.NoError(t, err)
		writes := f.store.writes.Load()
		require.NoError(t, a.Delete(t.Context(), keys...))
		assert.Equal(t, writes+3, f.store.writes.Load(), "a call of the store for every 1,024")
		settle()
		values, err := b.FetchMany(t.Context(), keys, func(context.Context, []string) (map[string]string, error) { return nil, nil })
		require.NoError(t, err)
		assert.Empty(t, values)
		require.NoError(t, a.Delete(t.Context()), "no keys, nothing to do")
	})
}

// TestClear_NewNode: a node that starts after a Clear does not take what the
// shared tier still holds from before.
func TestClear_NewNode(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a := f.join()
		require.NoError(t, a.Set(t.Context(), "k", "old"))
		require.NoError(t, a.Clear(t.Context()))
		b := f.join()
		_, err := b.Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		require.NoError(t, b.Set(t.Context(), "k", "new"))
		v, err := f.join().Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	})
}

// TestClear_MissedByANode: a node that did not hear of a Clear learns of it
// when it notices the loss, before it serves anything.
func TestClear_MissedByANode(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		require.NoError(t, a.Set(t.Context(), "k", "old"))
		_, err := b.Get(t.Context(), "k")
		require.NoError(t, err)
		b.link.deaf.Store(true)
		require.NoError(t, a.Clear(t.Context()))
		time.Sleep(4 * time.Second)
		_, err = b.Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
	})
}

// TestClear_ClockLost: the shared tier forgets the clock of the cache, and the
// nodes agree again.
func TestClear_ClockLost(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a := f.join()
		require.NoError(t, a.Clear(t.Context()))
		f.store.Store = memstore.New(memstore.Options{})
		a.link.deaf.Store(true)
		time.Sleep(4 * time.Second)
		a.link.deaf.Store(false)
		time.Sleep(6 * time.Second)
		_, err := a.Get(t.Context(), "k") // a learns that the clock is gone, and restores it
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		b := f.join()
		require.NoError(t, b.Set(t.Context(), "k", "v"))
		settle()
		v, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "v", v)
	})
}

func TestKeys(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		longest := strings.Repeat("x", shared.MaxKeySize-len("users:"))
		for _, key := range []string{"a", " ", "with space", "line\nbreak", "\x00\xff\xfe", "ключ", "a:b", "!clock", longest} {
			require.NoError(t, a.Set(t.Context(), key, "v"), "%q", key)
			settle()
			v, err := b.Get(t.Context(), key)
			require.NoError(t, err, "%q", key)
			assert.Equal(t, "v", v)
			require.NoError(t, a.Delete(t.Context(), key))
			settle()
			_, err = b.Get(t.Context(), key)
			assert.ErrorIs(t, err, nearcache.ErrNotFound, "%q", key)
		}
		for _, key := range []string{"", longest + "x"} {
			_, err := a.Get(t.Context(), key)
			assert.ErrorIs(t, err, nearcache.ErrInvalidKey)
			_, err = a.Fetch(t.Context(), key, is("v"))
			assert.ErrorIs(t, err, nearcache.ErrInvalidKey)
			_, err = a.FetchMany(t.Context(), []string{"a", key}, func(context.Context, []string) (map[string]string, error) { return nil, nil })
			assert.ErrorIs(t, err, nearcache.ErrInvalidKey)
			assert.ErrorIs(t, a.Set(t.Context(), key, "v"), nearcache.ErrInvalidKey)
			assert.ErrorIs(t, a.Delete(t.Context(), "a", key), nearcache.ErrInvalidKey)
			assert.ErrorIs(t, a.Invalidate(t.Context(), key), nearcache.ErrInvalidKey)
		}
	})
}

func TestSet_Refused(t *testing.T) {
	t.Run("too large", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			f.tierOpts.MaxValue = 100
			a, b := f.join(), f.join()
			require.NoError(t, a.Set(t.Context(), "k", "old"))
			_, err := b.Get(t.Context(), "k")
			require.NoError(t, err)
			err = a.Set(t.Context(), "k", strings.Repeat("x", 100))
			require.ErrorIs(t, err, nearcache.ErrTooLarge)
			settle()
			for _, m := range []*member{a, b} {
				_, err = m.Get(t.Context(), "k")
				assert.ErrorIs(t, err, nearcache.ErrNotFound, "the key was invalidated")
			}
			v, err := a.Fetch(t.Context(), "k", is(strings.Repeat("y", 100)))
			require.NoError(t, err)
			assert.Len(t, v, 100)
			assert.EqualValues(t, 2, a.Stats().Values.TooLarge)
		})
	})
	t.Run("codec fails", func(t *testing.T) {
		for name, c := range map[string]*oddCodec{"with an error": {err: errDown}, "with a panic": {panics: true}} {
			t.Run(name, func(t *testing.T) {
				bubble(t, func(t *testing.T, f *fleet) {
					good := f.join()
					require.NoError(t, good.Set(t.Context(), "k", "old"))
					bad := f.join(nearcache.Options[string]{Codec: c})
					err := bad.Set(t.Context(), "k", "new")
					require.ErrorIs(t, err, nearcache.ErrEncode)
					settle()
					_, err = good.Get(t.Context(), "k")
					require.ErrorIs(t, err, nearcache.ErrNotFound, "the key was invalidated")
					require.NoError(t, good.Set(t.Context(), "k", "old"))
					v, err := bad.Fetch(t.Context(), "k", is("loaded"))
					require.NoError(t, err)
					assert.Equal(t, "loaded", v)
					assert.EqualValues(t, 1, bad.Stats().Values.Undecodable)
				})
			})
		}
	})
}

// oddCodec writes what JSON does and fails otherwise.
type oddCodec struct {
	err    error
	panics bool
}

func (c *oddCodec) ID() uint8                       { return shared.JSON.ID() }
func (c *oddCodec) Marshal(any) ([]byte, error)     { return nil, c.fail() }
func (c *oddCodec) Unmarshal(_ []byte, _ any) error { return c.fail() }
func (c *oddCodec) fail() error {
	if c.panics {
		panic("codec")
	}
	return c.err
}

func TestModes(t *testing.T) {
	t.Run("without a bus, an answer is as old as the near TTL", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			join := func() *nearcache.Cache[string] {
				tier, err := shared.New(f.store, shared.Options{})
				require.NoError(t, err)
				node, err := nearcache.NewNode(tier, nil, nearcache.NodeOptions{})
				require.NoError(t, err)
				t.Cleanup(func() { _ = node.Close(atOnce) })
				c, err := nearcache.New[string](node, "users", nearcache.Options[string]{})
				require.NoError(t, err)
				return c
			}
			a, b := join(), join()
			require.NoError(t, a.Set(t.Context(), "k", "old"))
			v, err := b.Get(t.Context(), "k")
			require.NoError(t, err)
			require.Equal(t, "old", v)
			require.NoError(t, a.Set(t.Context(), "k", "new"))
			v, err = b.Get(t.Context(), "k")
			require.NoError(t, err)
			assert.Equal(t, "old", v)
			time.Sleep(5*time.Second + 100*time.Millisecond)
			v, err = b.Get(t.Context(), "k")
			require.NoError(t, err)
			assert.Equal(t, "new", v)
			v, err = a.Get(t.Context(), "k")
			require.NoError(t, err)
			assert.Equal(t, "new", v)
		})
	})
	t.Run("without a shared tier, each node loads, and Set reaches all", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			join := func() *nearcache.Cache[string] {
				b, err := bus.New(f.hub.Join(), bus.Options{})
				require.NoError(t, err)
				node, err := nearcache.NewNode(nil, b, nearcache.NodeOptions{})
				require.NoError(t, err)
				t.Cleanup(func() { _ = node.Close(atOnce); _ = b.Close() })
				c, err := nearcache.New[string](node, "users", nearcache.Options[string]{})
				require.NoError(t, err)
				return c
			}
			a, b := join(), join()
			settle()
			load, loads := counting("old", 0)
			for range 3 {
				for _, c := range []*nearcache.Cache[string]{a, b} {
					v, err := c.Fetch(t.Context(), "k", load)
					require.NoError(t, err)
					require.Equal(t, "old", v)
				}
			}
			assert.EqualValues(t, 2, loads.Load())
			require.NoError(t, a.Set(t.Context(), "k", "new"))
			settle()
			v, err := a.Get(t.Context(), "k")
			require.NoError(t, err)
			assert.Equal(t, "new", v, "the value is kept here")
			_, err = b.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound, "and nowhere else")
			require.NoError(t, a.Clear(t.Context()))
			_, err = a.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
			values, err := b.FetchMany(t.Context(), []string{"x", "y"}, func(_ context.Context, missing []string) (map[string]string, error) {
				return map[string]string{"x": "1"}, nil
			})
			require.NoError(t, err)
			assert.Equal(t, []string{"x"}, slices.Collect(maps.Keys(values)))
		})
	})
}

func TestBadOptions(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		tier, err := shared.New(f.store, shared.Options{})
		require.NoError(t, err)
		b, err := bus.New(f.hub.Join(), bus.Options{})
		require.NoError(t, err)
		defer b.Close()

		_, err = nearcache.NewNode(nil, nil, nearcache.NodeOptions{})
		require.ErrorContains(t, err, "both")
		for want, opts := range map[string]nearcache.NodeOptions{
			"NearBytes": {NearBytes: 1}, "MaxStaleness": {MaxStaleness: -1},
		} {
			_, err := nearcache.NewNode(tier, b, opts)
			require.ErrorContains(t, err, want)
		}
		node, err := nearcache.NewNode(tier, b, nearcache.NodeOptions{})
		require.NoError(t, err)
		defer node.Close(atOnce)
		_, err = nearcache.NewNode(tier, b, nearcache.NodeOptions{})
		require.ErrorIs(t, err, bus.ErrSubscribed, "a bus serves one node")

		for _, name := range []string{"", "with space", "a:b", "a!b", "-a", strings.Repeat("x", 65)} {
			_, err := nearcache.New[string](node, name, nearcache.Options[string]{})
			require.ErrorContains(t, err, "name", "%q", name)
		}
		for want, opts := range map[string]nearcache.Options[string]{
			"Options.TTL":     {TTL: -1},
			"Options.NearTTL": {NearTTL: -1},
			"LoadTimeout":     {LoadTimeout: -1},
			"longer than":     {TTL: time.Second, NearTTL: time.Minute},
		} {
			_, err := nearcache.New(node, "c", opts)
			require.ErrorContains(t, err, want)
		}
		c, err := nearcache.New[string](node, "c", nearcache.Options[string]{})
		require.NoError(t, err)
		_, err = nearcache.New[int](node, "c", nearcache.Options[int]{})
		require.ErrorContains(t, err, "already")
		_, err = nearcache.New[int](nil, "c", nearcache.Options[int]{})
		require.ErrorContains(t, err, "nil")
		require.ErrorContains(t, c.SetEntry(t.Context(), "k", nearcache.Entry[string]{TTL: -1}), "negative")
	})
}

func TestExpiredContext(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := m.Get(ctx, "k")
		require.ErrorIs(t, err, context.Canceled)
		_, err = m.Fetch(ctx, "k", none)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, m.Set(ctx, "k", "v"), context.Canceled)
		require.ErrorIs(t, m.Delete(ctx, "k"), context.Canceled)
		require.ErrorIs(t, m.Clear(ctx), context.Canceled)
	})
}

// TestCost_Panics: the value is not kept near, and nothing else happens.
func TestCost_Panics(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a := f.join(nearcache.Options[string]{Cost: func(string) int64 { panic("cost") }})
		b := f.join()
		require.NoError(t, a.Set(t.Context(), "k", "1"))
		v, err := a.Fetch(t.Context(), "k", none)
		require.NoError(t, err)
		require.Equal(t, "1", v)
		require.NoError(t, b.Set(t.Context(), "k", "2"))
		settle()
		v, err = a.Fetch(t.Context(), "k", none)
		require.NoError(t, err)
		assert.Equal(t, "2", v)
		assert.Zero(t, a.node.Stats().Near.Entries)
		assert.NotZero(t, a.node.Stats().Near.TooLarge)
	})
}
