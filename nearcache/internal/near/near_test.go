package near_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared/driver"
)

type value struct {
	near.Entry
	n   int
	key string
}

// of returns the entry of v, with this key.
func (v *value) of(key string) *near.Entry {
	v.key = key
	v.NameLong(unsafe.Offsetof(v.key))
	return &v.Entry
}

func entry(stamp near.Stamp, n int) *value {
	v := &value{n: n}
	v.Stamp = stamp
	v.Charge(near.Overhead)
	return v
}

func read(epoch, revision uint64, stamp near.Stamp, n int) *value {
	v := entry(stamp, n)
	v.Revision = driver.Revision{Epoch: epoch, Number: revision}
	return v
}

// written returns a value of epoch 7 for Finish, which stamps it.
func written(revision uint64, n int) *value { return read(7, revision, near.Stamp{}, n) }

// get returns the value under key, or -1.
func get(s *near.Space, key string) int {
	e := s.Find(key, s.Hash(key))
	if e == nil {
		return -1
	}
	return (*value)(unsafe.Pointer(e)).n
}

func install(s *near.Space, key string, v *value) bool {
	return s.Install(key, s.Hash(key), v.of(key), time.Minute, false)
}

func newTier(t *testing.T, conf near.Config) *near.Tier {
	t.Helper()
	if conf.Bytes == 0 {
		conf.Bytes = 1 << 20
	}
	tier, err := near.New(conf)
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, tier.CheckInvariants())
		tier.Close()
	})
	return tier
}

func TestInstall(t *testing.T) {
	t.Run("is readable at once", func(t *testing.T) {
		tier := newTier(t, near.Config{})
		s := tier.Space(0)
		require.True(t, install(s, "a", entry(tier.Stamp(), 1)))
		assert.Equal(t, 1, get(s, "a"))
		assert.Equal(t, -1, get(tier.Space(0), "a"), "spaces do not share keys")
	})
	t.Run("replaces what is there", func(t *testing.T) {
		tier := newTier(t, near.Config{})
		s := tier.Space(0)
		require.True(t, install(s, "a", entry(tier.Stamp(), 1)))
		require.True(t, install(s, "a", entry(tier.Stamp(), 2)))
		assert.Equal(t, 2, get(s, "a"))
		assert.EqualValues(t, 1, tier.Stats().Entries)
	})
	t.Run("never replaces a higher revision of its epoch", func(t *testing.T) {
		tier := newTier(t, near.Config{})
		s := tier.Space(0)
		require.True(t, install(s, "a", read(7, 20, tier.Stamp(), 20)))
		assert.False(t, install(s, "a", read(7, 19, tier.Stamp(), 19)))
		assert.Equal(t, 20, get(s, "a"))
		assert.True(t, install(s, "a", read(8, 1, tier.Stamp(), 1)), "another epoch")
		assert.Equal(t, 1, get(s, "a"))
	})
	t.Run("refuses what was invalidated since its stamp", func(t *testing.T) {
		tier := newTier(t, near.Config{})
		s := tier.Space(0)
		stamp := tier.Stamp()
		s.Invalidate("a", s.Hash("a"))
		assert.False(t, install(s, "a", entry(stamp, 1)))
		assert.Equal(t, -1, get(s, "a"))
		assert.True(t, install(s, "a", entry(tier.Stamp(), 2)))
		assert.EqualValues(t, 1, tier.Stats().Fenced)
	})
	t.Run("refuses what was flushed since its stamp", func(t *testing.T) {
		tier := newTier(t, near.Config{})
		s := tier.Space(0)
		stamp := tier.Stamp()
		tier.Flush()
		assert.False(t, install(s, "a", entry(stamp, 1)))
		assert.True(t, install(s, "a", entry(tier.Stamp(), 2)))
		s.Clear()
		assert.Equal(t, -1, get(s, "a"))
	})
	t.Run("refuses what is more than a quarter of all bytes", func(t *testing.T) {
		tier := newTier(t, near.Config{Bytes: 64 << 10})
		s := tier.Space(0)
		require.True(t, install(s, "a", entry(tier.Stamp(), 1)))
		big := entry(tier.Stamp(), 2)
		big.Charge(16 << 10)
		assert.False(t, install(s, "a", big))
		assert.Equal(t, -1, get(s, "a"), "the old value must not stay")
	})
	t.Run("keeps a key of its own", func(t *testing.T) {
		tier := newTier(t, near.Config{})
		s := tier.Space(0)
		buf := []byte("key")
		key := string(buf)
		require.True(t, install(s, key, entry(tier.Stamp(), 1)))
		assert.Equal(t, 1, get(s, strings.Clone("key")))
	})
}

func TestStripe_TwoNeighbours(t *testing.T) {
	// With few stripes, many keys share a stripe. The key that was
	// invalidated last does not fence its neighbours.
	tier := newTier(t, near.Config{Bytes: 64 << 10})
	s := tier.Space(0)
	stamp := tier.Stamp()
	for range 100 {
		s.Invalidate("hot", s.Hash("hot"))
	}
	for i := range 50 {
		key := fmt.Sprint("neighbour", i)
		assert.True(t, s.Valid(s.Hash(key), stamp), key)
	}
	assert.False(t, s.Valid(s.Hash("hot"), stamp))
	for i := range 2000 {
		key := fmt.Sprint("other", i)
		s.Invalidate(key, s.Hash(key))
	}
	assert.False(t, s.Valid(s.Hash("hot"), stamp), "a mark never falls")
}

// TestInstall_Fenced: a value that may not enter is given to those who wait for
// it, so nothing older may be given to anybody after that.
func TestInstall_Fenced(t *testing.T) {
	late := func(t *testing.T, conf near.Config) (*near.Tier, *near.Space, near.Stamp) {
		tier := newTier(t, conf)
		s := tier.Space(0)
		stamp := tier.Stamp()
		s.Invalidate("a", s.Hash("a"))
		return tier, s, stamp
	}
	t.Run("takes an older entry out", func(t *testing.T) {
		tier, s, stamp := late(t, near.Config{})
		require.True(t, install(s, "a", read(7, 1, tier.Stamp(), 1)))
		assert.False(t, install(s, "a", read(7, 2, stamp, 2)))
		assert.Equal(t, -1, get(s, "a"))
	})
	t.Run("fences older reads under way", func(t *testing.T) {
		tier, s, stamp := late(t, near.Config{})
		second := tier.Stamp()
		assert.False(t, install(s, "a", read(7, 2, stamp, 2)))
		assert.False(t, s.Valid(s.Hash("a"), second))
		assert.False(t, install(s, "a", read(7, 1, second, 1)))
		assert.True(t, install(s, "a", read(7, 2, tier.Stamp(), 2)))
	})
	if fault.Compiled {
		t.Run("does neither when the mechanism is off", func(t *testing.T) {
			tier, s, stamp := late(t, near.Config{Faults: fault.Without(fault.PassedNews)})
			require.True(t, install(s, "a", read(7, 1, tier.Stamp(), 1)))
			assert.False(t, install(s, "a", read(7, 2, stamp, 2)))
			assert.Equal(t, 1, get(s, "a"))
		})
	}
	t.Run("spares an entry that is as new", func(t *testing.T) {
		tier, s, stamp := late(t, near.Config{})
		second := tier.Stamp()
		require.True(t, install(s, "a", read(7, 2, tier.Stamp(), 2)))
		assert.False(t, install(s, "a", read(7, 2, stamp, 2)))
		assert.Equal(t, 2, get(s, "a"))
		assert.True(t, s.Valid(s.Hash("a"), second))
	})
	t.Run("is news once", func(t *testing.T) {
		tier, s, stamp := late(t, near.Config{})
		second := tier.Stamp()
		assert.False(t, install(s, "a", read(7, 2, stamp, 2)))
		third := tier.Stamp()
		assert.False(t, install(s, "a", read(7, 2, second, 2)), "fenced by the first")
		assert.True(t, s.Valid(s.Hash("a"), third), "the third began after both found the same")
	})
	t.Run("of two rivals the second to arrive does not come near", func(t *testing.T) {
		tier := newTier(t, near.Config{})
		s := tier.Space(0)
		first, second := tier.Stamp(), tier.Stamp()
		assert.True(t, s.Install("a", s.Hash("a"), &read(0, 8, second, 2).Entry, time.Hour, true))
		assert.False(t, s.Install("a", s.Hash("a"), &read(0, 7, first, 1).Entry, time.Hour, true))
		assert.Equal(t, -1, get(s, "a"), "a later reader looks anew: nobody knows which of them is older")
	})
	t.Run("one that is not kept ends its rivals", func(t *testing.T) {
		tier := newTier(t, near.Config{})
		s := tier.Space(0)
		stamp := tier.Stamp()
		require.True(t, install(s, "a", read(7, 3, tier.Stamp(), 3)))
		s.Pass("a", s.Hash("a"), driver.Revision{Epoch: 7, Number: 2}, true)
		assert.Equal(t, 3, get(s, "a"))
		assert.True(t, s.Fenced(s.Hash("a"), stamp))
	})
	t.Run("ends all that may be older without a revision", func(t *testing.T) {
		tier, s, stamp := late(t, near.Config{})
		require.True(t, install(s, "a", entry(tier.Stamp(), 1)))
		underWay := tier.Stamp()
		assert.False(t, install(s, "a", entry(stamp, 2)))
		assert.Equal(t, -1, get(s, "a"))
		assert.False(t, install(s, "a", read(0, 1, underWay, 1)))
	})
}

func TestApply(t *testing.T) {
	newRead := func(t *testing.T) (*near.Tier, *near.Space, func(near.News)) {
		tier := newTier(t, near.Config{})
		s := tier.Space(0)
		require.True(t, install(s, "a", read(7, 20, tier.Stamp(), 20)))
		return tier, s, func(n near.News) { s.Apply("a", s.Hash("a"), n) }
	}
	for _, c := range []struct {
		name string
		news near.News
		kept bool
	}{
		{"of a later write", near.News{Revision: driver.Revision{Epoch: 7, Number: 21}}, false},
		{"of the write that is here", near.News{Revision: driver.Revision{Epoch: 7, Number: 20}}, true},
		{"of an earlier write", near.News{Revision: driver.Revision{Epoch: 7, Number: 19}}, true},
		{"of another epoch", near.News{Revision: driver.Revision{Epoch: 6, Number: 1}}, false},
		{"without a revision", near.News{}, false},
		{"own, of a later write that is not awaited", near.News{Revision: driver.Revision{Epoch: 7, Number: 21}, Own: true}, false},
		{"own, of the write that is here", near.News{Revision: driver.Revision{Epoch: 7, Number: 20}, Own: true}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, s, apply := newRead(t)
			apply(c.news)
			assert.Equal(t, c.kept, get(s, "a") == 20)
		})
	}
	t.Run("fences loads even where it is skipped", func(t *testing.T) {
		tier, s, apply := newRead(t)
		stamp := tier.Stamp()
		apply(near.News{Revision: driver.Revision{Epoch: 7, Number: 20}})
		assert.False(t, s.Valid(s.Hash("a"), stamp))
	})
	t.Run("own, of a later write that is not awaited, while another is", func(t *testing.T) {
		tier, s, apply := newRead(t)
		s.Begin("b", s.Hash("a")) // which has the same stripe
		tier.Space(1).Begin("a", s.Hash("a"))
		apply(near.News{Revision: driver.Revision{Epoch: 7, Number: 21}, Own: true})
		assert.Equal(t, -1, get(s, "a"))
	})
	t.Run("epoch 0 compares by equality alone", func(t *testing.T) {
		tier := newTier(t, near.Config{})
		s := tier.Space(0)
		require.True(t, install(s, "a", read(0, 20, tier.Stamp(), 20)))
		s.Apply("a", s.Hash("a"), near.News{Revision: driver.Revision{Number: 20}})
		assert.Equal(t, 20, get(s, "a"))
		s.Apply("a", s.Hash("a"), near.News{Revision: driver.Revision{Number: 19}})
		assert.Equal(t, -1, get(s, "a"))
	})
}

func TestWrite(t *testing.T) {
	begin := func(t *testing.T, conf near.Config) (*near.Tier, *near.Space, *near.Write) {
		tier := newTier(t, conf)
		s := tier.Space(0)
		require.True(t, install(s, "a", entry(tier.Stamp(), 1)))
		w := s.Begin("a", s.Hash("a"))
		assert.Equal(t, -1, get(s, "a"), "nothing older is served once a write began")
		return tier, s, w
	}
	finish := func(w *near.Write, v *value) bool { return w.Finish(v.of("a"), time.Minute) }

	t.Run("leaves its value", func(t *testing.T) {
		_, s, w := begin(t, near.Config{})
		assert.True(t, finish(w, written(2, 2)))
		assert.Equal(t, 2, get(s, "a"))
	})
	t.Run("fences what was read while it was under way", func(t *testing.T) {
		tier, s, w := begin(t, near.Config{})
		stamp := tier.Stamp()
		require.True(t, install(s, "a", entry(stamp, 1)))
		w.Abort()
		assert.Equal(t, -1, get(s, "a"))
		assert.False(t, install(s, "a", entry(stamp, 1)))
	})
	t.Run("leaves nothing after news of another write", func(t *testing.T) {
		_, s, w := begin(t, near.Config{})
		s.Apply("a", s.Hash("a"), near.News{Revision: driver.Revision{Epoch: 7, Number: 3}})
		assert.False(t, finish(w, written(2, 2)))
		assert.Equal(t, -1, get(s, "a"))
	})
	if fault.Compiled {
		t.Run("leaves an older value behind when the check is off", func(t *testing.T) {
			_, s, w := begin(t, near.Config{Faults: fault.Without(fault.OwnWrites)})
			s.Apply("a", s.Hash("a"), near.News{Revision: driver.Revision{Epoch: 7, Number: 3}})
			assert.True(t, finish(w, written(2, 2)))
			assert.Equal(t, 2, get(s, "a"))
		})
	}
	t.Run("its own echo before the answer changes nothing", func(t *testing.T) {
		_, s, w := begin(t, near.Config{})
		s.Apply("a", s.Hash("a"), near.News{Revision: driver.Revision{Epoch: 7, Number: 2}, Own: true})
		assert.True(t, finish(w, written(2, 2)))
	})
	t.Run("the echo of a later own write does", func(t *testing.T) {
		_, s, w := begin(t, near.Config{})
		s.Apply("a", s.Hash("a"), near.News{Revision: driver.Revision{Epoch: 7, Number: 3}, Own: true})
		assert.False(t, finish(w, written(2, 2)))
	})
	t.Run("a read of a later write does", func(t *testing.T) {
		for _, kept := range []bool{true, false} {
			tier, s, w := begin(t, near.Config{})
			stamp := tier.Stamp()
			if !kept {
				s.Clear() // the reader gets its value nevertheless
			}
			assert.Equal(t, kept, install(s, "a", read(7, 3, stamp, 3)))
			assert.False(t, finish(w, written(2, 2)))
			assert.Equal(t, -1, get(s, "a"))
		}
	})
	t.Run("a value without a revision does, which may be of a later write", func(t *testing.T) {
		tier, s, w := begin(t, near.Config{})
		require.True(t, install(s, "a", entry(tier.Stamp(), 3)))
		assert.False(t, finish(w, written(2, 2)))
		assert.Equal(t, -1, get(s, "a"))
	})
	t.Run("a read of an earlier write does not", func(t *testing.T) {
		tier, s, w := begin(t, near.Config{})
		require.True(t, install(s, "a", read(7, 1, tier.Stamp(), 1)))
		assert.True(t, finish(w, written(2, 2)))
		assert.Equal(t, 2, get(s, "a"))
	})
	t.Run("echoes that cannot be compared do", func(t *testing.T) {
		_, s, w := begin(t, near.Config{})
		s.Apply("a", s.Hash("a"), near.News{Revision: driver.Revision{Epoch: 7, Number: 2}, Own: true})
		s.Apply("a", s.Hash("a"), near.News{Revision: driver.Revision{Epoch: 6, Number: 9}, Own: true})
		assert.False(t, finish(w, written(2, 2)))
	})
	t.Run("of two at once neither leaves its value", func(t *testing.T) {
		_, s, w := begin(t, near.Config{})
		w2 := s.Begin("a", s.Hash("a"))
		assert.False(t, finish(w, written(2, 2)))
		assert.False(t, finish(w2, written(3, 3)))
		assert.Equal(t, -1, get(s, "a"))
	})
	t.Run("a flush in between makes its value invalid", func(t *testing.T) {
		tier, s, w := begin(t, near.Config{})
		tier.Flush()
		finish(w, written(2, 2))
		assert.Equal(t, -1, get(s, "a"))
	})
}

// bubble runs test with a clock of its own. The clock of the space is in the last
// of three partitions.
func bubble(t *testing.T, conf near.Config, test func(t *testing.T, tier *near.Tier, s *near.Space)) {
	synctest.Test(t, func(t *testing.T) {
		conf.Partitions, conf.MaxStaleness = 3, 5*time.Second
		tier := newTier(t, conf)
		test(t, tier, tier.Space(2))
	})
}

// TestTrust: an entry is served while it is known that no write was missed for
// longer than MaxStaleness.
func TestTrust(t *testing.T) {
	in := func(partition int, v *value) *value {
		v.Partition = int32(partition)
		return v
	}
	confirm := func(tier *near.Tier, partitions ...int) {
		for _, p := range partitions {
			tier.Confirm(p, tier.Now())
		}
	}
	t.Run("is as old as the stamp without any confirmation", func(t *testing.T) {
		bubble(t, near.Config{}, func(t *testing.T, tier *near.Tier, s *near.Space) {
			stamp := tier.Stamp()
			time.Sleep(3 * time.Second)
			require.True(t, install(s, "a", in(1, entry(stamp, 1))))
			time.Sleep(2*time.Second - 2*near.Tick)
			assert.Equal(t, 1, get(s, "a"))
			time.Sleep(4 * near.Tick)
			assert.Equal(t, -1, get(s, "a"))
			assert.EqualValues(t, 1, tier.Stats().Stale)
		})
	})
	t.Run("is that of the entry's partition and the clock's", func(t *testing.T) {
		bubble(t, near.Config{}, func(t *testing.T, tier *near.Tier, s *near.Space) {
			require.True(t, install(s, "a", in(0, entry(tier.Stamp(), 1))))
			require.True(t, install(s, "b", in(1, entry(tier.Stamp(), 2))))
			time.Sleep(4 * time.Second)
			confirm(tier, 1, 2)
			time.Sleep(4 * time.Second)
			assert.False(t, tier.Trusted())
			assert.Equal(t, -1, get(s, "a"), "its own is too far behind")
			assert.Equal(t, 2, get(s, "b"))
			confirm(tier, 0, 1)
			time.Sleep(4 * time.Second)
			assert.Equal(t, -1, get(s, "b"), "that of the clock is too far behind")
			confirm(tier, 0, 1, 2)
			assert.True(t, tier.Trusted())
			assert.Equal(t, 1, get(s, "a"))
			assert.Equal(t, 2, get(s, "b"))
		})
	})
	t.Run("is that of the partitions alone for what was read", func(t *testing.T) {
		bubble(t, near.Config{}, func(t *testing.T, tier *near.Tier, s *near.Space) {
			confirm(tier, 0, 1, 2)
			time.Sleep(4 * time.Second)
			for _, partition := range []int{0, 1} {
				v := in(partition, entry(tier.Stamp(), partition+1))
				v.FromShared = true
				require.True(t, install(s, fmt.Sprint(partition), v))
			}
			confirm(tier, 1, 2)
			time.Sleep(2 * time.Second)
			assert.Equal(t, -1, get(s, "0"), "it is there for 2 s; its partition is 6 s behind")
			assert.Equal(t, 2, get(s, "1"))
			assert.False(t, tier.Confirmed(0, tier.Now()))
			assert.True(t, tier.Confirmed(1, tier.Now()))
		})
	})
	t.Run("begins when the clock of the cache was read", func(t *testing.T) {
		bubble(t, near.Config{}, func(t *testing.T, tier *near.Tier, s *near.Space) {
			at := tier.Now()
			time.Sleep(4 * time.Second)
			require.True(t, install(s, "a", entry(tier.Stamp().Limit(at), 1)))
			time.Sleep(2 * time.Second)
			assert.Equal(t, -1, get(s, "a"))
		})
	})
	t.Run("is of no account where that was chosen", func(t *testing.T) {
		bubble(t, near.Config{ServeStale: true}, func(t *testing.T, tier *near.Tier, s *near.Space) {
			require.True(t, install(s, "a", entry(tier.Stamp(), 1)))
			time.Sleep(10 * time.Second)
			assert.Equal(t, 1, get(s, "a"))
			assert.EqualValues(t, 1, tier.Stats().Stale)
		})
	})
	t.Run("of a written value begins before it was sent", func(t *testing.T) {
		bubble(t, near.Config{}, func(t *testing.T, tier *near.Tier, s *near.Space) {
			w := s.Begin("a", s.Hash("a"))
			time.Sleep(4 * time.Second)
			v := read(7, 1, tier.Stamp(), 1)
			require.True(t, w.Finish(v.of("a"), time.Minute))
			assert.Equal(t, 1, get(s, "a"))
			time.Sleep(2 * time.Second)
			assert.Equal(t, -1, get(s, "a"))
		})
	})
	t.Run("ends when the machine slept", func(t *testing.T) {
		var slept atomic.Int64
		var jumps atomic.Int64
		bubble(t, near.Config{
			Wall:   func() time.Time { return time.Now().Add(time.Duration(slept.Load())) },
			Jumped: func() { jumps.Add(1) },
		}, func(t *testing.T, tier *near.Tier, s *near.Space) {
			require.True(t, install(s, "a", entry(tier.Stamp(), 1)))
			slept.Store(int64(500 * time.Millisecond))
			time.Sleep(2 * near.Tick)
			assert.Equal(t, 1, get(s, "a"), "somebody set the clock")
			slept.Store(int64(3 * time.Second))
			time.Sleep(2 * near.Tick)
			assert.Equal(t, -1, get(s, "a"))
			assert.EqualValues(t, 1, jumps.Load())
		})
	})
}

func TestSpaces_AreToldApartWhileTheyComeIn(t *testing.T) {
	const spaces = 100
	tier := newTier(t, near.Config{})
	var wg sync.WaitGroup
	for i := range spaces {
		wg.Go(func() {
			s := tier.Space(0)
			require.True(t, install(s, "a", entry(tier.Stamp(), i)))
			if i%2 == 0 {
				s.Clear()
			}
			entries, _ := tier.Sample(0, spaces)
			for _, e := range entries {
				assert.Equal(t, s.Has(e), (*value)(unsafe.Pointer(e)).n == i)
			}
		})
	}
	wg.Wait()
	entries, _ := tier.Sample(0, spaces)
	assert.Len(t, entries, spaces/2)
	for _, e := range entries {
		assert.True(t, tier.InPlace(e))
		assert.Equal(t, 1, (*value)(unsafe.Pointer(e)).n%2, "its own space was not cleared")
	}
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := newTier(t, near.Config{})
		s := tier.Space(0)
		e := entry(tier.Stamp(), 1)
		require.True(t, s.Install("a", s.Hash("a"), e.of("a"), time.Second, false))
		time.Sleep(time.Second - 2*near.Tick)
		assert.Equal(t, 1, get(s, "a"))
		time.Sleep(3 * near.Tick)
		assert.Equal(t, -1, get(s, "a"))
		time.Sleep(2 * time.Minute)
		assert.Zero(t, tier.Stats().Entries, "the janitor frees what nobody asks for")
		assert.Zero(t, tier.Stats().Bytes)
	})
}

// TestBound fills the tier far past its bound, while readers keep a few keys
// warm, and invalidations and replacements go on.
func TestBound(t *testing.T) {
	const bytes = 1 << 20
	tier := newTier(t, near.Config{Bytes: bytes})
	s := tier.Space(0)
	var wg sync.WaitGroup
	var worst atomic.Int64
	for g := range 4 {
		wg.Go(func() {
			for i := range 40_000 {
				key := fmt.Sprint(g, ":", i%20_000)
				e := entry(tier.Stamp(), i)
				e.Charge(int64(i % 700))
				install(s, key, e)
				if i%7 == 0 {
					s.Invalidate(key, s.Hash(key))
				}
				if found := s.Find("0:1", s.Hash("0:1")); found != nil {
					found.Hit()
				}
				if b := tier.Stats().Bytes; b > worst.Load() {
					worst.Store(b)
				}
			}
		})
	}
	wg.Wait()
	assert.Positive(t, tier.Stats().Evicted)
	assert.LessOrEqual(t, worst.Load(), int64(bytes+bytes/10))
}

func TestClose_DuringUse(t *testing.T) {
	tier, err := near.New(near.Config{Bytes: 64 << 10})
	require.NoError(t, err)
	s := tier.Space(0)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprint(i % 1000)
				install(s, key, entry(tier.Stamp(), i))
				get(s, key)
				if e := s.Find(key, s.Hash(key)); e != nil {
					e.Hit()
				}
				s.Invalidate(key, s.Hash(key))
			}
		})
	}
	tier.Close()
	assert.Equal(t, -1, get(s, "1"), "nothing is served after Close")
	close(stop)
	wg.Wait()
	assert.NoError(t, tier.CheckInvariants())
}
