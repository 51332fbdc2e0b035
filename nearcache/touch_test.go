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
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// idle has sessions that end half an hour after they were last touched.
var idle = nearcache.Options[string]{TTL: 30 * time.Minute}

// TestTouch_SlidesAtARate: a session that is read each second for hours lives, on all servers,
// and a server touches it ten times in a lifetime at most.
func TestTouch_SlidesAtARate(t *testing.T) {
	inFleets(t, func(t *testing.T, f *fleet) {
		a, b := f.join(idle), f.join(idle)
		require.NoError(t, a.Set(t.Context(), "k", "signed in"))
		f.store.writes.Store(0)
		f.store.reads.Store(0)
		const lives = 4
		for i := range lives * 30 * 60 / 5 { // a request each five seconds
			m := []*member{a, b}[i%2]
			require.NoError(t, m.Touch(t.Context(), "k", 0))
			fetches(t, m, "signed in", none)
			time.Sleep(5 * time.Second)
		}
		assert.LessOrEqual(t, f.store.touches.Load(), int64(2*10*lives))
		assert.GreaterOrEqual(t, f.store.touches.Load(), int64(5*lives))
		assert.EqualValues(t, f.store.touches.Load(), a.Stats().Writes.Touches+b.Stats().Writes.Touches)
		assert.LessOrEqual(t, f.store.reads.Load(), int64(4*10*lives), "a read for each touch, and what others touched")
		assert.Zero(t, f.store.writes.Load())

		time.Sleep(31 * time.Minute)
		for _, m := range []*member{a, b} {
			_, err := m.Get(t.Context(), "k")
			require.ErrorIs(t, err, nearcache.ErrNotFound, "nobody touched it")
			require.ErrorIs(t, m.Touch(t.Context(), "k", 0), nearcache.ErrNotFound, "it does not come back")
		}
	})
}

// TestTouch_TellsNobody: the copies of other servers stay hits, and the value keeps its
// revision.
func TestTouch_TellsNobody(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		a, b := f.join(idle), f.join(idle)
		require.NoError(t, a.Set(t.Context(), "k", "v"))
		settle()
		fetches(t, b, "v", none)
		before := f.recordOf(t, "k")
		applied := b.node.Stats().Bus.Applied
		time.Sleep(10 * time.Minute)
		require.NoError(t, a.Touch(t.Context(), "k", 0))
		after := f.recordOf(t, "k")
		assert.Equal(t, before.Revision, after.Revision)
		assert.Equal(t, before.Nonce, after.Nonce)
		assert.InDelta(t, 10*60_000, after.Hard-before.Hard, 10)
		time.Sleep(2 * time.Second) // of the journal
		assert.Equal(t, applied, b.node.Stats().Bus.Applied)
		assert.Zero(t, b.node.Stats().Journal.Repaired)
		f.store.reads.Store(0)
		fetches(t, b, "v", none)
		assert.Zero(t, f.store.reads.Load(), "its copy is a hit to its own end")
		time.Sleep(21 * time.Minute)
		fetches(t, b, "v", none)
		assert.NotZero(t, f.store.reads.Load(), "then it finds the later end")
	})
}

// TestTouch_BringsNothingBack: whatever ended the value, of which this server has not heard, a
// touch finds it, and the value stays ended.
func TestTouch_BringsNothingBack(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(ctx context.Context, m *member) error
		want error
	}{
		"delete":     {func(ctx context.Context, m *member) error { return m.Delete(ctx, "k") }, nearcache.ErrDeleted},
		"invalidate": {func(ctx context.Context, m *member) error { return m.Invalidate(ctx, "k") }, nearcache.ErrDeleted},
		"clear":      {func(ctx context.Context, m *member) error { return m.Clear(ctx) }, nearcache.ErrCleared},
		"tag":        {func(ctx context.Context, m *member) error { return m.InvalidateTags(ctx, "user:1") }, nearcache.ErrTagInvalidated},
	} {
		for _, keep := range []time.Duration{0, time.Hour} {
			t.Run(name+" "+keep.String(), func(t *testing.T) {
				bubble(t, func(t *testing.T, f *fleet) {
					opts := idle
					opts.Stale.For = keep
					a, b := f.join(opts), f.join(opts)
					require.NoError(t, a.SetEntry(t.Context(), "k", tagged("v", "user:1")))
					settle()
					time.Sleep(time.Minute)
					require.NoError(t, b.Touch(t.Context(), "k", 0)) // it has the value near, and knows its end
					time.Sleep(10 * time.Minute)
					b.link.loses.Store(true)
					require.NoError(t, c.end(t.Context(), a))
					require.ErrorIs(t, b.Touch(t.Context(), "k", 0), c.want)
					require.ErrorIs(t, b.Touch(t.Context(), "k", 0), nearcache.ErrNotFound)
					b.link.loses.Store(false)
					for _, m := range []*member{a, f.join(opts)} {
						_, err := m.Get(t.Context(), "k")
						require.ErrorIs(t, err, nearcache.ErrNotFound)
						require.ErrorIs(t, m.Touch(t.Context(), "k", 0), nearcache.ErrNotFound)
					}
				})
			})
		}
	}
}

// TestTouch_ANewerValue: a value that another server wrote meanwhile is the one that lives
// longer, and the one that is near then.
func TestTouch_ANewerValue(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		a, b := f.join(idle), f.join(idle)
		require.NoError(t, a.Set(t.Context(), "k", "old"))
		settle()
		time.Sleep(time.Minute)
		require.NoError(t, b.Touch(t.Context(), "k", 0))
		time.Sleep(10 * time.Minute)
		b.link.loses.Store(true)
		require.NoError(t, a.SetEntry(t.Context(), "k", nearcache.Entry[string]{Value: "new", TTL: time.Minute}))
		require.NoError(t, b.Touch(t.Context(), "k", 0))
		fetches(t, b, "new", none)
		time.Sleep(25 * time.Minute)
		fetches(t, a, "new", none)
	})
}

// TestTouch_Fails: what could not be touched lives as long as it did, and says so.
func TestTouch_Fails(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(idle)
		require.NoError(t, m.Set(t.Context(), "k", "v"))
		require.NoError(t, m.Touch(t.Context(), "k", 0))
		time.Sleep(10 * time.Minute)
		f.store.down()
		require.ErrorIs(t, m.Touch(t.Context(), "k", 0), errDown)
		fetches(t, m, "v", none)
		f.store.onBefore(nil)

		f.store.onAfter(func(_ context.Context, op, _ string) error { // the answer is lost
			if op == "touch" {
				return errDown
			}
			return nil
		})
		require.ErrorIs(t, m.Touch(t.Context(), "k", 0), errDown)
		f.store.onAfter(nil)
		require.NoError(t, m.Touch(t.Context(), "k", 0))

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		time.Sleep(10 * time.Minute)
		require.ErrorIs(t, m.Touch(ctx, "k", 0), context.Canceled)
		require.ErrorIs(t, m.Touch(t.Context(), "", 0), nearcache.ErrInvalidKey)
		require.ErrorContains(t, m.Touch(t.Context(), "k", -1), "negative")
		require.ErrorContains(t, m.Touch(t.Context(), "k", shared.MaxDuration+1), "longer than")
		require.NoError(t, m.node.Close(atOnce))
		require.ErrorIs(t, m.Touch(t.Context(), "k", 0), nearcache.ErrClosed)
	})
}

// TestTouch_Pending: while an own write is not confirmed, nobody knows what there is to touch.
func TestTouch_Pending(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(idle)
		require.NoError(t, m.Set(t.Context(), "k", "v"))
		f.store.down()
		require.ErrorIs(t, m.Delete(t.Context(), "k"), nearcache.ErrOutcomeUnknown)
		f.store.onBefore(func(_ context.Context, op, _ string) error {
			if op == "write" {
				return errDown
			}
			return nil
		})
		require.ErrorIs(t, m.Touch(t.Context(), "k", 0), nearcache.ErrOutcomeUnknown)
		assert.Zero(t, f.store.touches.Load())
		f.store.onBefore(nil)
	})
}

// TestTouch_Together: calls that come at the same time are one, also when the first of them
// leaves.
func TestTouch_Together(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(idle)
		require.NoError(t, m.Set(t.Context(), "k", "v"))
		time.Sleep(10 * time.Minute)
		f.store.onBefore(func(ctx context.Context, op, _ string) error {
			if op != "touch" {
				return nil
			}
			select {
			case <-time.After(100 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		leaves, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { first <- m.Touch(leaves, "k", 0) }()
		synctest.Wait()
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { assert.NoError(t, m.Touch(t.Context(), "k", 0)) })
		}
		gone, leave := context.WithCancel(t.Context())
		all.Go(func() { assert.ErrorIs(t, m.Touch(gone, "k", 0), context.Canceled) })
		synctest.Wait()
		leave()
		cancel()
		require.ErrorIs(t, <-first, context.Canceled)
		all.Wait()
		assert.EqualValues(t, 2, f.store.touches.Load(), "that of the first, and one for all others")

		var longer sync.WaitGroup // one that asks for more does not make do with less
		time.Sleep(10 * time.Minute)
		f.store.touches.Store(0)
		longer.Go(func() { assert.NoError(t, m.Touch(t.Context(), "k", 0)) })
		synctest.Wait()
		longer.Go(func() { assert.NoError(t, m.Touch(t.Context(), "k", 2*time.Hour)) })
		longer.Wait()
		assert.EqualValues(t, 2, f.store.touches.Load())
		time.Sleep(100 * time.Minute)
		fetches(t, m, "v", none)
	})
}

// TestTouch_NearTTL: a touch keeps nothing near for longer than the options say, and knows the
// end all the same.
func TestTouch_NearTTL(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		opts := idle
		opts.NearTTL = time.Minute
		m := f.join(opts)
		require.NoError(t, m.Set(t.Context(), "k", "v"))
		time.Sleep(10 * time.Minute)
		for range 10 {
			require.NoError(t, m.Touch(t.Context(), "k", 0))
		}
		assert.EqualValues(t, 1, f.store.touches.Load())
		f.store.reads.Store(0)
		time.Sleep(50 * time.Second)
		fetches(t, m, "v", none)
		assert.Zero(t, f.store.reads.Load())
		time.Sleep(11 * time.Second)
		fetches(t, m, "v", none)
		assert.EqualValues(t, 1, f.store.reads.Load())
	})
}

// TestTouch_BesideOtherLives: with fail-safe and refreshes, a touched value is refreshed and
// kept by its later end.
func TestTouch_BesideOtherLives(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		opts := nearcache.Options[string]{TTL: 10 * time.Minute, RefreshAhead: time.Minute, Stale: nearcache.Stale{For: time.Hour}}
		m := f.join(opts)
		require.NoError(t, m.Set(t.Context(), "k", "v"))
		time.Sleep(5 * time.Minute)
		require.NoError(t, m.Touch(t.Context(), "k", 0))
		time.Sleep(8 * time.Minute)
		load, loads := counting("new", 0)
		fetches(t, m, "v", load)
		settle()
		assert.Zero(t, loads.Load(), "it is not due")
		time.Sleep(90 * time.Second)
		fetches(t, m, "v", load)
		settle()
		assert.EqualValues(t, 1, loads.Load())
		fetches(t, m, "new", none)

		time.Sleep(11 * time.Minute)
		require.ErrorIs(t, m.Touch(t.Context(), "k", 0), nearcache.ErrNotFound, "what is kept is no value")
		v, err := m.Fetch(t.Context(), "k", func(context.Context, string) (string, error) { return "", errDown })
		require.NoError(t, err)
		assert.Equal(t, "new", v)
	})
}

// TestTouch_Absent: that there is no value is not kept for longer.
func TestTouch_Absent(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(nearcache.Options[string]{TTL: time.Hour, NotFoundTTL: time.Minute})
		_, err := m.Fetch(t.Context(), "k", func(context.Context, string) (string, error) { return "", nearcache.ErrNotFound })
		require.ErrorIs(t, err, nearcache.ErrNotFound)
		require.ErrorIs(t, m.Touch(t.Context(), "k", 0), nearcache.ErrNegative)
		time.Sleep(61 * time.Second)
		fetches(t, m, "v", is("v"))
	})
}

// TestTouch_Unsupported names what cannot be touched.
func TestTouch_Unsupported(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		alone := f.joinBusOnly()
		require.NoError(t, alone.Set(t.Context(), "k", "v"))
		require.ErrorIs(t, alone.Touch(t.Context(), "k", 0), errors.ErrUnsupported)
		lagging := f.join(nearcache.Options[string]{SourceLag: time.Second})
		require.ErrorIs(t, lagging.Touch(t.Context(), "k", 0), errors.ErrUnsupported)
	})
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.joinOver(struct{ driver.Store }{memstore.New(memstore.Options{})}, idle)
		require.NoError(t, m.Set(t.Context(), "k", "v"))
		require.NoError(t, m.Touch(t.Context(), "k", 0), "there is nothing to do")
		time.Sleep(10 * time.Minute)
		err := m.Touch(t.Context(), "k", 0)
		require.ErrorIs(t, err, errors.ErrUnsupported)
		assert.ErrorContains(t, err, "the store cannot")
	})
}

// TestTouch_AfterAWrite: a touch that began before a write says nothing of what was written.
func TestTouch_AfterAWrite(t *testing.T) {
	for _, op := range []string{"read", "touch"} { // the first one finds nothing, or has touched the old value
		t.Run(op, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				m := f.join(idle)
				if op == "touch" {
					require.NoError(t, m.Set(t.Context(), "k", "old"))
					time.Sleep(10 * time.Minute)
				}
				over, held := make(chan struct{}), false
				f.store.onAfter(func(_ context.Context, one, _ string) error {
					if one == op && !held {
						held = true
						<-over
					}
					return nil
				})
				go func() { _ = m.Touch(t.Context(), "k", 0) }()
				synctest.Wait()
				require.NoError(t, m.SetEntry(t.Context(), "k", nearcache.Entry[string]{Value: "new", TTL: time.Minute}))
				touched := make(chan error, 1)
				go func() { touched <- m.Touch(t.Context(), "k", 0) }()
				synctest.Wait()
				close(over)
				require.NoError(t, <-touched)
				time.Sleep(2 * time.Minute)
				fetches(t, m, "new", none)
			})
		})
	}
}

// TestTouch_BesideALoad: a read that was given up for a load tells no end of what is stored.
func TestTouch_BesideALoad(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join(idle)
		f.store.stalls("read", "acquire")
		load, _ := counting("loaded", 100*time.Millisecond)
		go func() {
			_, err := m.Read(t.Context(), "k", nearcache.ReadOptions{FromShared: true}, nearcache.ValueLoader(load))
			assert.NoError(t, err)
		}()
		synctest.Wait()
		require.ErrorIs(t, m.Touch(t.Context(), "k", 0), context.DeadlineExceeded)
		time.Sleep(5 * time.Second)
	})
}

// TestTouch_Overtaken: writes overtake a Touch again and again. It gets its turn once they leave
// it one, and gives up in time if they do not.
func TestTouch_Overtaken(t *testing.T) {
	for writes, ends := range map[int64]string{40: "", 1 << 40: "written meanwhile each time"} {
		bubble(t, func(t *testing.T, f *fleet) {
			a, b := f.join(idle), f.join(idle)
			require.NoError(t, a.Set(t.Context(), "k", "v"))
			var written atomic.Int64
			f.store.onBefore(func(ctx context.Context, op, _ string) error {
				if op == "touch" && written.Add(1) <= writes {
					return b.Set(ctx, "k", "v")
				}
				return nil
			})
			began := time.Now()
			switch err := a.Touch(t.Context(), "k", time.Hour); ends {
			case "":
				require.NoError(t, err)
				assert.Less(t, f.store.touches.Load(), int64(50))
			default:
				require.ErrorContains(t, err, ends)
				assert.Less(t, time.Since(began), 10*time.Second)
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(10*time.Millisecond, cancel)
			written.Store(0)
			if ends != "" {
				require.ErrorIs(t, a.Touch(ctx, "k", 2*time.Hour), context.Canceled)
			}
		})
	}
}
