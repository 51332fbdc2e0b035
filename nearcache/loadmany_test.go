package nearcache_test

import (
	"context"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// calls are what a store was asked, several keys at a time or one.
type calls struct{ reads, leases, fills, writes int64 }

func (g *gate) calls() calls {
	return calls{g.reads.Load(), g.acquires.Load(), g.fills.Load(), g.writes.Load()}
}

func (c calls) since(before calls) calls {
	return calls{c.reads - before.reads, c.leases - before.leases, c.fills - before.fills, c.writes - before.writes}
}

func numbered(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
	}
	return keys
}

// TestCost_AColdBatch counts what the shared tier is asked as a batch is loaded.
func TestCost_AColdBatch(t *testing.T) {
	const n = 100
	for name, c := range map[string]struct {
		opts    nearcache.Options[string]
		prepare func(t *testing.T, m *member)
		load    func(t *testing.T, m *member, keys []string) (map[string]string, error)
		want    calls
		found   int
	}{
		"read, leases, fills": {want: calls{1, 1, 1, 0}, found: n},
		"leases of what is not there are given back with the fills": {
			load: func(t *testing.T, _ *member, keys []string) (map[string]string, error) {
				return isAll("v")(t.Context(), keys[:n/2])
			},
			want: calls{1, 1, 1, 0}, found: n / 2,
		},
		"a load that fails": {
			load: func(*testing.T, *member, []string) (map[string]string, error) { return nil, errDown },
			want: calls{1, 1, 1, 0},
		},
		"some are too large": {
			load: func(t *testing.T, _ *member, keys []string) (map[string]string, error) {
				values, err := isAll("v")(t.Context(), keys)
				values["7"], values["8"] = strings.Repeat("x", 2000), strings.Repeat("x", 2000)
				return values, err
			},
			want: calls{1, 1, 2, 0}, found: n,
		},
		"some are written meanwhile": {
			load: func(t *testing.T, m *member, keys []string) (map[string]string, error) {
				assert.NoError(t, m.Set(t.Context(), "7", "newer"))
				assert.NoError(t, m.Set(t.Context(), "8", "newer"))
				return isAll("v")(t.Context(), keys)
			},
			want: calls{2, 1, 1, 2}, found: n,
		},
		"records that are kept": {
			opts: keeping,
			prepare: func(t *testing.T, m *member) {
				values, err := isAll("old")(t.Context(), numbered(n))
				require.NoError(t, err)
				require.NoError(t, m.SetMany(t.Context(), values))
				time.Sleep(time.Minute + time.Second)
			},
			want: calls{2, 1, 2, 0}, found: n, // one read more, and leases beside them are given back
		},
		"leases are renewed together": {
			load: func(t *testing.T, _ *member, keys []string) (map[string]string, error) {
				time.Sleep(9 * time.Second) // with a renewal in each third of 5 s
				return isAll("v")(t.Context(), keys)
			},
			want: calls{1, 1 + 5, 1, 0}, found: n,
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.tierOpts.MaxValue = 1000
				m, other := f.join(c.opts), f.join(c.opts)
				require.NoError(t, m.Set(t.Context(), "warm", "v")) // learns the clocks
				require.NoError(t, other.Set(t.Context(), "warm", "v"))
				if c.prepare != nil {
					c.prepare(t, other)
				}
				before := f.store.calls()
				values, err := m.FetchMany(t.Context(), numbered(n), func(ctx context.Context, keys []string) (map[string]string, error) {
					if c.load == nil {
						return isAll("v")(ctx, keys)
					}
					return c.load(t, other, keys)
				})
				assert.Equal(t, c.found == 0, err != nil)
				assert.Len(t, values, c.found)
				assert.Equal(t, c.want, f.store.calls().since(before))

				began := time.Now()
				_, err = other.FetchMany(t.Context(), numbered(n), isAll("again"))
				require.NoError(t, err)
				assert.Zero(t, time.Since(began), "no lease is left behind")
			})
		})
	}
}

// TestFetchMany_NoLeaseToBeHad: a key whose record a newer version wrote is loaded with the
// others, in one call of the loader, and not stored.
func TestFetchMany_NoLeaseToBeHad(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m, plant := f.join(), true
		newer := (&driver.Record{Kind: driver.KindValue, Codec: shared.JSON.ID(), Value: []byte(`"planted"`)}).Append(nil)
		newer[2] = driver.RecordVersion + 1
		f.store.Store = &planted{Store: f.store.Store, key: "users:0", bytes: newer, on: &plant}
		require.NoError(t, m.Set(t.Context(), "warm", "v")) // learns the clocks
		before, loads := f.store.calls(), 0
		values, err := m.FetchMany(t.Context(), numbered(3), func(ctx context.Context, keys []string) (map[string]string, error) {
			loads++
			return isAll("v")(ctx, keys)
		})
		require.NoError(t, err)
		assert.Equal(t, map[string]string{"0": "v", "1": "v", "2": "v"}, values)
		assert.Equal(t, 1, loads)
		assert.Equal(t, calls{1, 1, 1, 0}, f.store.calls().since(before))
		_, err = m.Get(t.Context(), "0")
		require.ErrorIs(t, err, nearcache.ErrNotFound, "it is not near")
	})
}

// TestCost_AHeldLeaseOfABatch: a key of a batch that another node loads is asked for once.
func TestCost_AHeldLeaseOfABatch(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		require.NoError(t, a.Set(t.Context(), "warm", "v")) // learns the clocks
		require.NoError(t, b.Set(t.Context(), "warm", "v"))
		loading, loaded := make(chan struct{}), make(chan error)
		go func() {
			_, err := a.Fetch(t.Context(), "0", func(context.Context, string) (string, error) {
				close(loading)
				time.Sleep(time.Second)
				return "of a", nil
			})
			loaded <- err
		}()
		<-loading
		before := f.store.calls()
		values, err := b.FetchMany(t.Context(), numbered(3), isAll("of b"))
		require.NoError(t, err)
		require.NoError(t, <-loaded)
		assert.Equal(t, map[string]string{"0": "of a", "1": "of b", "2": "of b"}, values)
		assert.EqualValues(t, 1, f.store.calls().since(before).leases)
	})
}

// TestG5_FetchMany: what was written while a batch was loaded is what its caller
// gets, and what stays, key by key.
func TestG5_FetchMany(t *testing.T) {
	for name, opts := range map[string]nearcache.Options[string]{"in place": {}, "beside": keeping} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				a, b := f.join(opts), f.join(opts)
				if opts.Stale.For > 0 {
					old, err := isAll("old")(t.Context(), numbered(4))
					require.NoError(t, err)
					require.NoError(t, a.SetMany(t.Context(), old))
					time.Sleep(time.Minute + time.Second)
				}
				b.link.deaf.Store(true) // it finds out by its fills
				values, err := b.FetchMany(t.Context(), numbered(4), func(ctx context.Context, keys []string) (map[string]string, error) {
					assert.NoError(t, a.Set(ctx, "1", "newer"))
					assert.NoError(t, a.Delete(ctx, "2"))
					values, err := isAll("loaded")(ctx, keys)
					delete(values, "3")
					return values, err
				})
				require.NoError(t, err)
				assert.Equal(t, map[string]string{"0": "loaded", "1": "newer", "2": "loaded"}, values)
				requireNear(t, b, "0", "loaded")
				requireNear(t, b, "1", "newer")
				for _, m := range []*member{a, b} {
					got, err := m.GetMany(t.Context(), numbered(4))
					require.NoError(t, err)
					assert.Equal(t, map[string]string{"0": "loaded", "1": "newer"}, got, "what was deleted is gone, and what the source has not")
				}
			})
		})
	}
}

// TestG6_FetchMany: of several nodes that load the same keys at once, each key is
// loaded by one, and the others wait for it.
func TestG6_FetchMany(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		loads := newNotes()
		done := make(chan map[string]string)
		const nodes = 4
		for i := range nodes {
			m := f.join()
			go func() {
				// They overlap: each has 50 keys of its own, and 50 of the next one.
				values, err := m.FetchMany(t.Context(), numbered(50 * (i + 2))[50*i:], func(ctx context.Context, keys []string) (map[string]string, error) {
					loads.add(keys)
					time.Sleep(50 * time.Millisecond)
					return isAll("v")(ctx, keys)
				})
				assert.NoError(t, err)
				done <- values
			}()
		}
		for range nodes {
			assert.Len(t, <-done, 100)
		}
		assert.Len(t, loads.n, 50*(nodes+1))
		for key, n := range loads.n {
			assert.Equal(t, 1, n, key)
		}
	})
}

// notes counts how often each key was loaded.
type notes struct {
	mu sync.Mutex // protects n
	n  map[string]int
}

func newNotes() *notes { return &notes{n: map[string]int{}} }

func (l *notes) add(keys []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		l.n[key]++
	}
}

// TestG7_LeasesOfABatch: keys for whose leases the shared tier failed are loaded
// with the others, by one call, and not stored.
func TestG7_LeasesOfABatch(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m, other := f.join(), f.join()
		f.store.onBefore(func(_ context.Context, op, key string) error {
			if op == "acquire" && strings.HasSuffix(key, ":7") {
				return errDown
			}
			return nil
		})
		loads := 0
		values, err := m.FetchMany(t.Context(), numbered(10), func(ctx context.Context, keys []string) (map[string]string, error) {
			loads++
			return isAll("v")(ctx, keys)
		})
		require.NoError(t, err)
		assert.Len(t, values, 10)
		assert.Equal(t, 1, loads)
		assert.EqualValues(t, 1, m.Stats().Loads.Degraded)
		assert.EqualValues(t, 1, m.Stats().Shared.Errors)
		requireNear(t, m, "7", "v")
		f.store.onBefore(nil)
		got, err := other.GetMany(t.Context(), numbered(10))
		require.NoError(t, err)
		assert.Len(t, got, 9)
		assert.NotContains(t, got, "7")
	})
}

// TestG7_FillsOfABatch: values that the shared tier did not take are returned, and
// the others stored.
func TestG7_FillsOfABatch(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m, other := f.join(), f.join()
		f.store.onBefore(func(_ context.Context, op, key string) error {
			if op == "fill" && strings.HasSuffix(key, ":7") {
				return errDown
			}
			return nil
		})
		values, err := m.FetchMany(t.Context(), numbered(10), isAll("v"))
		require.NoError(t, err)
		assert.Len(t, values, 10)
		assert.EqualValues(t, 1, m.Stats().Shared.Errors)
		f.store.onBefore(nil)
		got, err := other.GetMany(t.Context(), numbered(10))
		require.NoError(t, err)
		assert.Len(t, got, 9)
	})
}

// whimsical is a codec that fails for some values: with a panic, or by ending the
// goroutine.
type whimsical struct{ shared.Codec }

func (w whimsical) Marshal(v any) ([]byte, error) {
	switch s := v.(string); {
	case strings.HasPrefix(s, "panic"):
		panic(s)
	case strings.HasPrefix(s, "exit"):
		runtime.Goexit()
	}
	return w.Codec.Marshal(v)
}

// TestFetchMany_Codec: what a codec does with one value of a batch.
func TestFetchMany_Codec(t *testing.T) {
	load := func(bad string) func(context.Context, []string) (map[string]string, error) {
		return func(ctx context.Context, keys []string) (map[string]string, error) {
			values, err := isAll("v")(ctx, keys)
			values["7"] = bad
			return values, err
		}
	}
	opts := nearcache.Options[string]{Codec: whimsical{shared.JSON}}
	t.Run("panics", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m, other := f.join(opts), f.join(opts)
			values, err := m.FetchMany(t.Context(), numbered(10), load("panic"))
			require.NoError(t, err)
			assert.Equal(t, "panic", values["7"], "it is returned, and not cached")
			assert.EqualValues(t, 1, m.Stats().Values.Unencodable)
			got, err := other.GetMany(t.Context(), numbered(10))
			require.NoError(t, err)
			assert.Len(t, got, 9)
		})
	})
	t.Run("ends its goroutine", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join(opts)
			_, err := m.FetchMany(t.Context(), numbered(10), load("exit"))
			var p *nearcache.PanicError
			require.ErrorAs(t, err, &p)
			for _, key := range numbered(10) {
				v, err := m.Fetch(t.Context(), key, is("again"))
				require.NoError(t, err, "no flight is left")
				assert.Equal(t, "again", v)
			}
		})
	})
}

// TestFailSafe_RefreshedMeanwhile: whoever held the lease beside a record before may
// have refreshed it; then it is not loaded again.
func TestFailSafe_RefreshedMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(keeping), f.join(keeping)
		old, err := isAll("old")(t.Context(), numbered(4))
		require.NoError(t, err)
		require.NoError(t, a.SetMany(t.Context(), old))
		time.Sleep(time.Minute + time.Second)
		var once sync.Once
		f.store.onBefore(func(ctx context.Context, op, key string) error {
			if op == "acquire" && strings.Contains(key, "!refresh:") {
				once.Do(func() {
					f.store.onBefore(nil)
					_, err := a.FetchMany(ctx, numbered(2), isAll("refreshed"))
					assert.NoError(t, err)
				})
			}
			return nil
		})
		values, err := b.FetchMany(t.Context(), numbered(4), func(ctx context.Context, keys []string) (map[string]string, error) {
			assert.ElementsMatch(t, []string{"2", "3"}, keys)
			return isAll("loaded")(ctx, keys)
		})
		require.NoError(t, err)
		assert.Equal(t, map[string]string{"0": "refreshed", "1": "refreshed", "2": "loaded", "3": "loaded"}, values)
	})
}

// TestFetchMany_CloneEndsItsGoroutine: a batch whose goroutine Clone ends, while the batch
// takes its places, leaves nobody waiting.
func TestFetchMany_CloneEndsItsGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		var m *member
		armed, exits := false, false
		m = f.join(nearcache.Options[string]{Clone: func(v string) string {
			switch {
			case exits:
				runtime.Goexit()
			case armed: // the batch has looked for all keys
				armed = false
				assert.NoError(t, m.Set(t.Context(), "middle", "near by now"))
				exits = true
			}
			return v
		}})
		require.NoError(t, m.Set(t.Context(), "last", "near"))
		armed = true
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = m.FetchMany(t.Context(), []string{"first", "middle", "last"}, isAll("v"))
			assert.Fail(t, "it returned")
		}()
		<-ended
		require.True(t, exits)
		exits = false
		v, err := m.Fetch(t.Context(), "first", is("v"))
		require.NoError(t, err)
		require.Equal(t, "v", v)
	})
}
