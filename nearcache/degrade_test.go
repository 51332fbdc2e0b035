package nearcache_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// TestG7_SharedTierDown: Fetch goes to the source, one load for each key and
// node; Get says what failed, unless it was told to call that a miss.
func TestG7_SharedTierDown(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		lenient := f.join(nearcache.Options[string]{ErrorsAsMisses: true})
		f.store.down()

		_, err := m.Get(t.Context(), "k")
		require.ErrorIs(t, err, errDown)
		require.NotErrorIs(t, err, nearcache.ErrNotFound)
		_, err = lenient.Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		assert.EqualValues(t, 1, lenient.Stats().Shared.Errors)

		load, loads := counting("v", 100*time.Millisecond)
		done := make(chan error)
		for range 20 {
			go func() {
				v, err := m.Fetch(t.Context(), "k", load)
				if v != "v" && err == nil {
					err = errors.New("wrong value")
				}
				done <- err
			}()
		}
		for range 20 {
			require.NoError(t, <-done)
		}
		assert.EqualValues(t, 1, loads.Load())
		assert.EqualValues(t, 1, m.Stats().Loads.Degraded)

		requireNear(t, m, "k", "v")
		time.Sleep(nearcache.DefaultStaleness + 100*time.Millisecond)
		v, err := m.Fetch(t.Context(), "k", is("v2"))
		require.NoError(t, err)
		assert.Equal(t, "v2", v, "what was loaded meanwhile is kept for MaxStaleness at most")

		f.store.onBefore(nil)
		_, err = m.Get(t.Context(), "other")
		require.ErrorIs(t, err, nearcache.ErrNotFound, "it recovers by itself")
	})
}

// TestG7_FillFails: the shared tier goes down while a load runs.
func TestG7_FillFails(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		v, err := m.Fetch(t.Context(), "k", func(context.Context, string) (string, error) {
			f.store.down()
			return "v", nil
		})
		require.NoError(t, err)
		assert.Equal(t, "v", v)
		assert.EqualValues(t, 1, m.Stats().Shared.Errors)
		assert.Zero(t, m.node.Stats().Near.Entries, "nobody knows whether it was stored")
	})
}

// TestG7_BusLost: while a node cannot hear the bus, what it serves is at most
// MaxStaleness old; what it had before is gone at once, and again when the bus
// is back.
func TestG7_BusLost(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		require.NoError(t, b.Set(t.Context(), "k", "1"))
		settle()
		_, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		requireNear(t, a, "k", "1")

		a.link.deaf.Store(true)
		time.Sleep(4 * time.Second) // the own heartbeat does not come back
		require.True(t, a.node.Stats().Bus.Cut)
		require.NoError(t, b.Set(t.Context(), "k", "2"))
		v, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "2", v, "the loss flushed the near tier")
		require.NoError(t, b.Set(t.Context(), "k", "3"))
		time.Sleep(nearcache.DefaultStaleness + 100*time.Millisecond)
		v, err = a.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "3", v)

		require.NoError(t, b.Set(t.Context(), "k", "4"))
		a.link.deaf.Store(false)
		time.Sleep(6 * time.Second)
		require.False(t, a.node.Stats().Bus.Cut)
		v, err = a.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "4", v)
	})
}

// TestG7_BusBack: what was read while the bus could not be heard may have missed its
// invalidation, and goes when the bus is heard again.
func TestG7_BusBack(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		require.NoError(t, b.Set(t.Context(), "k", "old"))
		a.link.deaf.Store(true)
		f.eventually(func() bool { return a.node.Stats().Bus.Cut })
		_, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		require.NoError(t, b.Set(t.Context(), "k", "new"))
		settle()
		requireNear(t, a, "k", "old")
		a.link.deaf.Store(false)
		f.eventually(func() bool { return !a.node.Stats().Bus.Cut })
		v, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	})
}

// TestG7_CannotAnnounce: the write is stored, the message is not sent, and the
// caller is told so.
func TestG7_CannotAnnounce(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		m.link.mute.Store(true)
		for name, err := range map[string]error{
			"Set":        m.Set(t.Context(), "k", "v"),
			"Delete":     m.Delete(t.Context(), "k"),
			"Invalidate": m.Invalidate(t.Context(), "k"),
			"Clear":      m.Clear(t.Context()),
		} {
			assert.ErrorIs(t, err, nearcache.ErrNotBroadcast, name)
			assert.ErrorIs(t, err, errDown, name)
		}
		assert.EqualValues(t, 4, m.Stats().Writes.Unannounced)
	})
}

// TestG8_Outside: whatever stands on the bus or in the shared tier, a node
// neither crashes nor serves it.
func TestG8_Outside(t *testing.T) {
	good := driver.Record{Kind: driver.KindValue, Codec: shared.JSON.ID(), Value: []byte(`"planted"`)}
	image := good.Append(nil)
	newer := append([]byte(nil), image...)
	newer[2] = driver.RecordVersion + 1
	badJSON := (&driver.Record{Kind: driver.KindValue, Codec: shared.JSON.ID(), Value: []byte(`{`)}).Append(nil)
	foreign := (&driver.Record{Kind: driver.KindValue, Codec: 200, Value: []byte("x")}).Append(nil)

	for name, c := range map[string]struct {
		bytes  []byte
		stored bool // what is loaded may take its place
	}{
		"empty":               {[]byte{}, true},
		"not ours":            {[]byte("hello"), true},
		"long and not ours":   {[]byte(strings.Repeat("x", 1<<20)), true},
		"header alone":        {image[:driver.HeaderSize], true},
		"truncated":           {image[:len(image)-1], true},
		"a flipped bit":       {append(append([]byte(nil), image[:len(image)-1]...), 'X'), true},
		"refused by codec":    {badJSON, true},
		"of an unknown codec": {foreign, true},
		"newer":               {newer, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				m := f.join()
				plant := true
				f.store.Store = &planted{Store: f.store.Store, key: "users:k", bytes: c.bytes, on: &plant}
				_, err := m.Get(t.Context(), "k")
				require.ErrorIs(t, err, nearcache.ErrNotFound)
				v, err := m.Fetch(t.Context(), "k", is("loaded"))
				require.NoError(t, err)
				assert.Equal(t, "loaded", v)
				assert.Equal(t, c.stored, f.store.fills.Load() == 1, "filled")
				settle() // a write of the same moment has no order with what was given
				require.NoError(t, m.Set(t.Context(), "k", "set"))
				plant = false
				requireNear(t, m, "k", "set")
			})
		})
	}

	t.Run("numbers on the bus", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join()
			stranger, err := bus.New(f.hub.Join(), bus.Options{})
			require.NoError(t, err)
			defer stranger.Close()
			require.NoError(t, stranger.Publish(t.Context(),
				bus.Invalidation{Op: bus.OpClear, Cache: "users", Revision: math.MaxUint64},
				bus.Invalidation{Op: bus.OpSet, Cache: "users", Key: "k", Epoch: math.MaxUint64, Revision: math.MaxUint64}))
			settle()
			require.NoError(t, m.Set(t.Context(), "k", "v"))
			time.Sleep(time.Hour)
			require.NoError(t, m.Set(t.Context(), "k", "w"))
			requireNear(t, m, "k", "w")
			v, err := f.join().Get(t.Context(), "k")
			require.NoError(t, err)
			assert.Equal(t, "w", v)
		})
	})

	t.Run("bytes on the bus", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join()
			require.NoError(t, m.Set(t.Context(), "k", "v"))
			settle()
			stranger := f.hub.Join()
			for _, payload := range []string{
				"", "\x00", "\xf8", "\xf8\x01\x01", "nonsense of a person", "invalidate", "invalidate users",
				"invalidate nobody k", strings.Repeat("\xf8\x01", 1000), "set users k value", `invalidate users "\xzz"`,
			} {
				require.NoError(t, stranger.Publish(t.Context(), []byte(payload)))
			}
			settle()
			v, err := m.Get(t.Context(), "k")
			require.NoError(t, err)
			assert.Equal(t, "v", v)
		})
	})
}

// planted is a store in which a foreign record stands under a key, as far as
// Read and Acquire are concerned.
type planted struct {
	driver.Store
	key   string
	bytes []byte
	on    *bool
}

func (p *planted) Read(ctx context.Context, keys []string) ([][]byte, error) {
	images, err := p.Store.Read(ctx, keys)
	for i, key := range keys {
		if key == p.key && *p.on && images != nil {
			images[i] = append([]byte{}, p.bytes...)
		}
	}
	return images, err
}

// TestText: a person invalidates a key, and what the shared tier holds goes as
// well.
func TestText(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		person := f.hub.Join()
		for text, key := range map[string]string{
			"invalidate users k": "k", `delete users "two words"`: "two words", "clear users": "any",
		} {
			require.NoError(t, a.Set(t.Context(), key, "old"))
			_, err := b.Get(t.Context(), key)
			require.NoError(t, err)
			require.NoError(t, person.Publish(t.Context(), []byte(text)))
			time.Sleep(time.Second)
			for _, m := range []*member{a, b} {
				v, err := m.Fetch(t.Context(), key, is("new"))
				require.NoError(t, err)
				assert.Equal(t, "new", v, text)
			}
		}
	})
}

// TestText_TierDown: what a person invalidates while the shared tier is down is
// owed: the old value that it comes back with is not read again.
func TestText_TierDown(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		require.NoError(t, m.Set(t.Context(), "k", "old"))
		f.store.onBefore(func(context.Context, string, string) error { return errDown })
		require.NoError(t, f.hub.Join().Publish(t.Context(), []byte("invalidate users k")))
		settle()
		f.eventually(func() bool { return m.node.Stats().Bus.FailedTexts == 1 })
		f.store.onBefore(nil)
		v, err := m.Fetch(t.Context(), "k", is("new"))
		require.NoError(t, err)
		assert.Equal(t, "new", v)
		f.eventually(func() bool { return m.Stats().Writes.Pending == 0 })
		_, err = f.join().Get(t.Context(), "k")
		assert.ErrorIs(t, err, nearcache.ErrNotFound)
	})
}

// TestText_Flood: more plain text than the worker can carry out clears the
// cache instead.
func TestText_Flood(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		require.NoError(t, m.Set(t.Context(), "k", "old"))
		person := f.hub.Join()
		f.store.onBefore(func(context.Context, string, string) error {
			time.Sleep(time.Millisecond)
			return nil
		})
		for range 40 {
			require.NoError(t, person.Publish(t.Context(), []byte("invalidate users"+strings.Repeat(" x", 100))))
		}
		time.Sleep(10 * time.Second)
		f.store.onBefore(nil)
		_, err := m.Get(t.Context(), "k")
		assert.ErrorIs(t, err, nearcache.ErrNotFound)
		assert.NotZero(t, m.Stats().Writes.Clears)
	})
}

// TestText_FloodOfAnother: what there is no room for because of another cache is
// carried out as well.
func TestText_FloodOfAnother(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		prices, err := nearcache.New(m.node, "prices", nearcache.Options[string]{})
		require.NoError(t, err)
		require.NoError(t, prices.Set(t.Context(), "k", "old"))
		person := f.hub.Join()
		hold := make(chan struct{})
		f.store.onBefore(during(f, "write", func(context.Context) { <-hold }))
		for range 11 {
			require.NoError(t, person.Publish(t.Context(), []byte("invalidate users"+strings.Repeat(" x", 100))))
		}
		require.NoError(t, person.Publish(t.Context(), []byte("invalidate prices k")))
		settle()
		close(hold)
		wait(time.Second)
		_, err = prices.Get(t.Context(), "k")
		assert.ErrorIs(t, err, nearcache.ErrNotFound)
	})
}

func TestLoader(t *testing.T) {
	t.Run("panics", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join()
			cause := errors.New("cause")
			_, err := m.Fetch(t.Context(), "k", func(context.Context, string) (string, error) { panic(cause) })
			var p *nearcache.PanicError
			require.ErrorAs(t, err, &p)
			require.ErrorIs(t, err, cause)
			require.EqualError(t, err, `nearcache: the loader for key "k" panicked: cause`)
			assert.Contains(t, string(p.Stack), "degrade_test.go")
			v, err := m.Fetch(t.Context(), "k", is("v"))
			require.NoError(t, err, "the lease was given back")
			assert.Equal(t, "v", v)
			assert.Zero(t, m.Stats().Loads.Waits)
		})
	})
	t.Run("ends its goroutine", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			_, err := f.join().Fetch(t.Context(), "k", func(context.Context, string) (string, error) {
				runtime.Goexit()
				return "", nil
			})
			var p *nearcache.PanicError
			require.ErrorAs(t, err, &p)
			require.EqualError(t, err, `nearcache: the loader for key "k" ended its goroutine (runtime.Goexit)`)
		})
	})
	t.Run("returns value and error", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join()
			v, err := m.Fetch(t.Context(), "k", func(context.Context, string) (string, error) { return "v", errDown })
			require.ErrorIs(t, err, errDown)
			assert.Empty(t, v)
			_, err = m.Get(t.Context(), "k")
			assert.ErrorIs(t, err, nearcache.ErrNotFound)
			assert.EqualValues(t, 1, m.Stats().Loads.Errors)
		})
	})
	t.Run("finds nothing", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join()
			_, err := m.Fetch(t.Context(), "k", func(context.Context, string) (string, error) { return "", nearcache.ErrNotFound })
			require.ErrorIs(t, err, nearcache.ErrNotFound)
			assert.Zero(t, m.Stats().Loads.Errors)
			began := time.Now()
			_, err = m.Fetch(t.Context(), "k", is("v"))
			require.NoError(t, err)
			assert.Zero(t, time.Since(began), "nobody waits for a lease")
		})
	})
	t.Run("blocks past its context", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join(nearcache.Options[string]{LoadTimeout: time.Second})
			blocked := make(chan struct{})
			defer close(blocked)
			began := time.Now()
			_, err := m.Fetch(t.Context(), "k", func(context.Context, string) (string, error) {
				<-blocked
				return "late", nil
			})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, time.Second, time.Since(began))
			v, err := m.Fetch(t.Context(), "k", is("v"))
			require.NoError(t, err)
			assert.Equal(t, "v", v)
		})
	})
	t.Run("decides lifetimes", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join()
			load := func(context.Context, string, *string) (nearcache.Loaded[string], error) {
				return nearcache.Loaded[string]{Value: "v", TTL: time.Minute, NearTTL: time.Second}, nil
			}
			_, err := m.FetchEntry(t.Context(), "k", load)
			require.NoError(t, err)
			requireNear(t, m, "k", "v")
			time.Sleep(2 * time.Second)
			hits := m.Stats().Reads.SharedHits
			_, err = m.Get(t.Context(), "k")
			require.NoError(t, err)
			assert.Equal(t, hits+1, m.Stats().Reads.SharedHits)
			time.Sleep(time.Minute)
			_, err = m.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
		})
	})
	t.Run("is nil", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			_, err := f.join().Fetch(t.Context(), "k", nil)
			require.ErrorContains(t, err, "loader is nil")
		})
	})
}

// TestCallerLeaves: the end of a caller's context ends that caller's wait and
// nothing else.
func TestCallerLeaves(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		type ctxKey struct{}
		m := f.join()
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), ctxKey{}, "trace"))
		var seen atomic.Value
		load := func(ctx context.Context, _ string) (string, error) {
			seen.Store(ctx.Value(ctxKey{}))
			time.Sleep(time.Second)
			return "v", ctx.Err()
		}
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { _, err := m.Fetch(ctx, "k", load); first <- err }()
		synctest.Wait()
		go func() { _, err := m.Fetch(t.Context(), "k", none); second <- err }()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-first, context.Canceled)
		require.NoError(t, <-second)
		assert.Equal(t, "trace", seen.Load())
		requireNear(t, m, "k", "v")
	})
}

// slowToTell is a context that has a deadline and does not tell yet that it has
// passed: that of a socket often passes a moment before.
type slowToTell struct {
	context.Context
	end time.Time
}

func (s slowToTell) Deadline() (time.Time, bool) { return s.end, true }

// TestCallerLeaves_BeforeItsContextTells: that the deadline of a read was its
// caller's is known even while the context of that caller goes on for a moment.
// It is no failure of the shared tier: nobody loads for it, and who has more
// time does not get its error.
func TestCallerLeaves_BeforeItsContextTells(t *testing.T) {
	loadMany := func(context.Context, []string) (map[string]string, error) { return nil, errNoLoad }
	for name, read := range map[string]func(ctx context.Context, m *member) error{
		"Get":     func(ctx context.Context, m *member) error { _, err := m.Get(ctx, "k"); return err },
		"Fetch":   func(ctx context.Context, m *member) error { _, err := m.Fetch(ctx, "k", none); return err },
		"GetMany": func(ctx context.Context, m *member) error { _, err := m.GetMany(ctx, []string{"k", "l"}); return err },
		"FetchMany": func(ctx context.Context, m *member) error {
			_, err := m.FetchMany(ctx, []string{"k", "l"}, loadMany)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.nodeOpts.SharedPatience = time.Second
				require.NoError(t, f.join().SetMany(t.Context(), map[string]string{"k": "v", "l": "v"}))
				m := f.join()
				var held atomic.Bool
				f.store.onBefore(func(ctx context.Context, op, _ string) error {
					if op != "read" || held.Swap(true) {
						return nil
					}
					end, _ := ctx.Deadline()
					time.Sleep(time.Until(end))
					return context.DeadlineExceeded
				})
				first, second := make(chan error, 1), make(chan error, 1)
				go func() { first <- read(slowToTell{t.Context(), time.Now().Add(100 * time.Millisecond)}, m) }()
				synctest.Wait()
				go func() { _, err := m.Get(t.Context(), "k"); second <- err }()
				require.NoError(t, <-second)
				require.NoError(t, <-first)
				assert.Zero(t, m.Stats().Loads.Degraded)
				requireNear(t, m, "k", "v")
			})
		})
	}
}

func TestClose(t *testing.T) {
	t.Run("ends what waits", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join()
			require.NoError(t, m.Set(t.Context(), "near", "v"))
			done := make(chan error, 1)
			go func() { _, err := m.Fetch(t.Context(), "k", loadSlowly("v")); done <- err }()
			synctest.Wait()
			require.NoError(t, m.node.Close(atOnce))
			require.ErrorIs(t, <-done, nearcache.ErrClosed)
			time.Sleep(time.Second) // the loader does not heed its context
			require.NoError(t, m.node.Close(atOnce), "twice")
			_, err := m.Get(t.Context(), "near")
			assert.ErrorIs(t, err, nearcache.ErrClosed)
			assert.ErrorIs(t, m.Set(t.Context(), "k", "v"), nearcache.ErrClosed)
			assert.ErrorIs(t, m.Delete(t.Context(), "k"), nearcache.ErrClosed)
			assert.ErrorIs(t, m.Clear(t.Context()), nearcache.ErrClosed)
			_, err = m.FetchMany(t.Context(), []string{"k"}, nil)
			assert.Error(t, err)
			_, err = nearcache.New[string](m.node, "more", nearcache.Options[string]{})
			assert.ErrorIs(t, err, nearcache.ErrClosed)
		})
	})
	t.Run("during everything", func(t *testing.T) {
		f := newFleet(t)
		f.nodeOpts.NearBytes = 64 << 10
		for range 20 {
			m := f.join()
			stop := make(chan struct{})
			done := make(chan struct{})
			work := []func(key string){
				func(key string) { _, _ = m.Fetch(t.Context(), key, is("v")) },
				func(key string) { _ = m.Set(t.Context(), key, "v") },
				func(key string) { _ = m.Invalidate(t.Context(), key) },
				func(string) { _ = m.Clear(t.Context()) },
				func(key string) {
					_, _ = m.FetchMany(t.Context(), []string{key, "x"}, func(context.Context, []string) (map[string]string, error) { return nil, nil })
				},
				func(string) { m.node.Stats() },
			}
			for _, w := range work {
				go func() {
					defer func() { done <- struct{}{} }()
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
							w(string(rune('a' + i%26)))
						}
					}
				}()
			}
			for range 2 {
				go func() { _ = m.node.Close(atOnce) }()
			}
			require.NoError(t, m.node.Close(atOnce))
			close(stop)
			for range work {
				<-done
			}
		}
	})
	t.Run("of the tier or the bus first", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fleet) {
			m := f.join()
			require.NoError(t, m.Set(t.Context(), "k", "v"))
			require.NoError(t, m.bus.Close())
			require.ErrorIs(t, m.Set(t.Context(), "k", "w"), bus.ErrClosed)
			assert.True(t, m.node.Stats().Bus.Cut, "a node whose bus was closed does not trust what it has")
		})
	})
}
