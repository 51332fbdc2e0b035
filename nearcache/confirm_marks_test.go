package nearcache_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared/driver"
)

// slotKey is where the watermark of the slot of a tag is.
func slotKey(tag string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(tag))
	sum := h.Sum32()
	return fmt.Sprint("users!tag:", (sum>>16^sum)&0xffff)
}

// TestG4_RestoredMarks: the server of the clock, or of what tags are judged by, lost what
// ended a record, and the server of the record lost nothing. Who comes later is not
// given it, whether or not the read was under way when that was found out.
func TestG4_RestoredMarks(t *testing.T) {
	for name, marks := range map[string]struct {
		keys []string
		end  func(ctx context.Context, m *member) error
	}{
		"clear":              {[]string{"users!clock"}, func(ctx context.Context, m *member) error { return m.Clear(ctx) }},
		"tag":                {[]string{"users!tags", slotKey("t")}, func(ctx context.Context, m *member) error { return m.InvalidateTags(ctx, "t") }},
		"tag, the clock":     {[]string{"users!tags"}, func(ctx context.Context, m *member) error { return m.InvalidateTags(ctx, "t") }},
		"tag, the watermark": {[]string{slotKey("t")}, func(ctx context.Context, m *member) error { return m.InvalidateTags(ctx, "t") }},
	} {
		for how, first := range ways {
			t.Run(name+" "+how, func(t *testing.T) {
				get := func(off fault.Switches) (v string) {
					synctest.Test(t, func(t *testing.T) {
						s := newServers()
						b := s.join(t, off)
						require.NoError(t, b.Clear(t.Context()))
						require.NoError(t, b.SetEntry(t.Context(), "k", tagged("old", "t")))
						require.NoError(t, b.SetEntry(t.Context(), "other", tagged("old", "t")))
						restore := s.snapshot(t, marks.keys...)
						wait(time.Second)
						require.NoError(t, marks.end(t.Context(), b))
						require.NoError(t, b.node.Close(atOnce))
						restore()
						s.slowTails(100 * time.Millisecond)
						a := s.join(t, off)
						v = first(t.Context(), a)
						wait(10 * time.Second)
						require.True(t, a.node.Health().Trusted)
						if off == fault.Without() {
							require.NotEqual(t, "old", first(t.Context(), a))
						}
					})
					return v
				}
				assert.NotEqual(t, "old", get(fault.Without()))
				if fault.Compiled {
					assert.Equal(t, "old", get(fault.Without(fault.Confirmation)), "the test sees what the mechanism is for")
				}
			})
		}
	}
}

// TestG4_RestoredClockFoundOutMeanwhile: the loss is found out after the clock was read and
// before the record is believed, by a round that nobody waited for.
func TestG4_RestoredClockFoundOutMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServers()
		b := s.join(t, fault.Without())
		require.NoError(t, b.Clear(t.Context()))
		require.NoError(t, b.SetEntry(t.Context(), "k", tagged("old", "t")))
		require.NoError(t, b.InvalidateTags(t.Context(), "u")) // or nobody would read watermarks
		restore := s.snapshot(t, "users!clock")
		require.NoError(t, b.Clear(t.Context()))
		require.NoError(t, b.node.Close(atOnce))
		restore()
		s.slowTails(100 * time.Millisecond)
		slow := func(keys []string) {
			if slices.Contains(keys, slotKey("t")) {
				time.Sleep(time.Second)
			}
		}
		s.afterRead.Store(&slow)
		_, err := s.join(t, fault.Without()).Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
	})
}

// TestG4_RestoredClockIsRaisedOnce: nodes that find out about it at one moment do not
// clear what others have loaded since.
func TestG4_RestoredClockIsRaisedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServers()
		nodes := make([]*member, 10)
		for i := range nodes {
			nodes[i] = s.join(t, fault.Without())
		}
		require.NoError(t, nodes[0].Clear(t.Context()))
		restore := s.snapshot(t, "users!clock")
		wait(2 * time.Second)
		restore()
		before := s.raises.Load()
		slow := func([]string) { time.Sleep(time.Millisecond) }
		s.afterRead.Store(&slow)
		load, loads := counting("v", time.Millisecond)
		var all sync.WaitGroup
		for range 200 {
			for _, m := range nodes {
				for i := range 5 {
					all.Go(func() {
						v, err := m.Fetch(t.Context(), fmt.Sprint(i), load)
						assert.NoError(t, err)
						assert.Equal(t, "v", v)
					})
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
		all.Wait()
		assert.EqualValues(t, 1, s.raises.Load()-before)
		assert.LessOrEqual(t, loads.Load(), int64(2*5), "before it is found out, and after")
	})
}

// TestG4_RestoredClockFoundOutBeforeLease: the loss is found out after the clock was read, and
// before there is a record.
func TestG4_RestoredClockFoundOutBeforeLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServers()
		b := s.join(t, fault.Without())
		require.NoError(t, b.Clear(t.Context()))
		require.NoError(t, b.Set(t.Context(), "k", "old"))
		images, err := s.Read(t.Context(), []string{"users:k"})
		require.NoError(t, err)
		restore := s.snapshot(t, "users!clock")
		require.NoError(t, b.Clear(t.Context()))
		require.NoError(t, b.node.Close(atOnce))
		restore()
		gone := (&driver.Record{Kind: driver.KindTombstone, Nonce: driver.NewNonce()}).Append(nil)
		require.NoError(t, s.Write(t.Context(), []driver.Write{{Key: "users:k", Image: gone, TTL: 1}})[0].Err)
		s.slowTails(100 * time.Millisecond)
		appears := sync.OnceFunc(func() {
			time.Sleep(500 * time.Millisecond) // the journals are read by then
			s.of("users:k").Plant("users:k", images[0])
		})
		s.beforeAcquire.Store(&appears)
		values, err := s.join(t, fault.Without()).FetchMany(t.Context(), []string{"k"}, func(context.Context, []string) (map[string]string, error) {
			return map[string]string{"k": "loaded"}, nil
		})
		require.NoError(t, err)
		require.Equal(t, map[string]string{"k": "loaded"}, values)
	})
}

// TestG4_RestoredClockCannotBeRaised: then nobody can tell what is live.
func TestG4_RestoredClockCannotBeRaised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServers()
		b := s.join(t, fault.Without())
		require.NoError(t, b.Clear(t.Context()))
		require.NoError(t, b.Set(t.Context(), "k", "v"))
		restore := s.snapshot(t, "users!clock")
		wait(time.Second)
		restore()
		wait(2 * time.Second)
		s.fails.Store(true)
		_, err := b.Get(t.Context(), "k")
		require.ErrorIs(t, err, errNoReplicas)
		v, err := b.Fetch(t.Context(), "k", is("loaded"))
		require.NoError(t, err)
		assert.Equal(t, "loaded", v)
		s.fails.Store(false)
		wait(6 * time.Second)
		_, err = b.Get(t.Context(), "k")
		require.ErrorIs(t, err, nearcache.ErrNotFound)
	})
}

// TestG4_TagEndsWhatWaits: a record is judged by a watermark that is known, and then
// there is a wait for the journal, which tells that the watermark rose meanwhile.
func TestG4_TagEndsWhatWaits(t *testing.T) {
	for name, waits := range map[string]func(s *servers, a *member){
		"the machine sleeps": func(s *servers, a *member) {
			s.beforeTail.Store(nil)
			nearcache.Jump(a.node)
			time.Sleep(time.Millisecond) // or a round would begin at the moment of the jump
		},
		"the read is slow": func(s *servers, _ *member) { time.Sleep(20 * time.Millisecond); s.beforeTail.Store(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServers()
				a, b := s.join(t, fault.Without()), s.join(t, fault.Without())
				wait(time.Second)
				for key, tag := range map[string]string{"k": "t", "known": "t", "unknown": "w"} {
					require.NoError(t, b.SetEntry(t.Context(), key, tagged("old", tag)))
				}
				require.NoError(t, b.InvalidateTags(t.Context(), "u")) // or the tag clock would do
				wait(2 * time.Second)
				v, err := a.Get(t.Context(), "known")
				require.NoError(t, err)
				require.Equal(t, "old", v)
				fails := func(context.Context, int) error { return errNoReplicas }
				s.beforeTail.Store(&fails)
				require.NoError(t, b.InvalidateTags(t.Context(), "t"))
				for a.node.Health().Behind < 4990*time.Millisecond {
					wait(time.Millisecond)
				}
				once := sync.OnceFunc(func() { waits(s, a) })
				slow := func(keys []string) {
					if slices.Contains(keys, slotKey("w")) {
						once()
					}
				}
				s.afterRead.Store(&slow)
				values, err := a.GetMany(t.Context(), []string{"k", "unknown"})
				require.NoError(t, err)
				require.Equal(t, map[string]string{"unknown": "old"}, values)
			})
		})
	}
}

// TestConfirm_WaitIsBounded: also where a client does not heed the end of its context.
func TestConfirm_WaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServers()
		b := s.join(t, fault.Without())
		require.NoError(t, b.Set(t.Context(), "k", "v"))
		over := make(chan struct{})
		hangs := func(context.Context, int) error { <-over; return errNoReplicas }
		s.beforeTail.Store(&hangs)
		a := s.join(t, fault.Without())
		defer close(over)
		began := time.Now()
		v, err := a.Fetch(t.Context(), "k", is("loaded"))
		require.NoError(t, err)
		assert.Equal(t, "loaded", v)
		assert.LessOrEqual(t, time.Since(began), 2*time.Second)
		_, err = a.Get(t.Context(), "other")
		require.ErrorIs(t, err, nearcache.ErrNotFound, "it is not there, and nobody has to believe that")
	})
}

// TestConfirm_ClosedMeanwhile: the round that a reader waits for ends with the node.
func TestConfirm_ClosedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServers()
		b := s.join(t, fault.Without())
		require.NoError(t, b.Set(t.Context(), "k", "v"))
		hangs := func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }
		s.beforeTail.Store(&hangs)
		a := s.join(t, fault.Without())
		round := nearcache.DefaultStaleness * 2 / 5 // at most
		wait(round - 100*time.Millisecond)
		left := make(chan error)
		go func() {
			_, err := a.Get(t.Context(), "k")
			left <- err
		}()
		wait(round / 2) // the next one is under way
		require.NoError(t, a.node.Close(atOnce))
		require.ErrorIs(t, <-left, nearcache.ErrClosed)
	})
}

// TestConfirm_FailuresAreSpaced: while readers ask for the journal of one server, the
// others are not asked without a break.
func TestConfirm_FailuresAreSpaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServers()
		a := s.join(t, fault.Without())
		for i := range 10_000 {
			require.NoError(t, a.Set(t.Context(), fmt.Sprint(i), "v"))
		}
		fails := func(_ context.Context, partition int) error {
			if partition == 0 {
				return errNoReplicas
			}
			return nil
		}
		s.beforeTail.Store(&fails)
		wait(10 * time.Second)
		before := s.tails.Load()
		for i := range 10_000 {
			time.Sleep(time.Millisecond)
			go func() { _, _ = a.Fetch(t.Context(), fmt.Sprint(i), is("loaded")) }()
		}
		wait(time.Second)
		assert.LessOrEqual(t, s.tails.Load()-before, int64(100))
		none := func(context.Context, int) error { return nil }
		s.beforeTail.Store(&none)
		wait(2 * time.Second)
		assert.True(t, a.node.Health().Trusted)
	})
}
