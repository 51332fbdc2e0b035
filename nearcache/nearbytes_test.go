package nearcache_test

import (
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
)

func TestSetNearBytes(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.nodeOpts.NearBytes = 1 << 20
		m := f.join()
		fill := func(n int) {
			for i := range n {
				_, err := m.Fetch(t.Context(), fmt.Sprint(i), is("v"))
				require.NoError(t, err)
			}
		}
		bytes := func() int64 { s := m.node.Stats().Near; return s.Bytes }
		fill(20_000)
		assert.InDelta(t, 1<<20, bytes(), 64<<10)
		for _, bound := range []int64{256 << 10, 64 << 10, 4 << 20, 1 << 20} {
			require.NoError(t, m.node.SetNearBytes(bound))
			assert.LessOrEqual(t, bytes(), bound+bound/64)
			fill(20_000)
			assert.LessOrEqual(t, bytes(), bound+bound/64)
			assert.GreaterOrEqual(t, bytes(), min(bound, 3<<20)*9/10)
		}
		for _, wrong := range []int64{-1, 0, 64<<10 - 1, 4<<20 + 1, math.MaxInt64} {
			require.ErrorContains(t, m.node.SetNearBytes(wrong), "SetNearBytes")
		}
	})
}

// TestSetNearBytes_BesideReaders: nobody is given a wrong answer, and nothing is lost but room.
func TestSetNearBytes_BesideReaders(t *testing.T) {
	f := newFleet(t)
	f.nodeOpts.NearBytes = 1 << 20
	m := f.join()
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for r := range 4 {
		readers.Go(func() {
			for i := r; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprint(i % 5000)
				v, err := m.Fetch(context.Background(), key, is(key))
				assert.NoError(t, err)
				assert.Equal(t, key, v)
			}
		})
	}
	for i := range int64(50) {
		require.NoError(t, m.node.SetNearBytes(64<<10+i%7*(500<<10)))
	}
	close(stop)
	readers.Wait()
	require.NoError(t, m.node.SetNearBytes(64<<10))
	assert.LessOrEqual(t, m.node.Stats().Near.Bytes, int64(64<<10+1<<10))
}

func TestNearBytes_HeedGOMEMLIMIT(t *testing.T) {
	before := debug.SetMemoryLimit(80 << 20)
	defer debug.SetMemoryLimit(before)
	f := newFleet(t)
	m := f.join()
	require.NoError(t, m.node.SetNearBytes(40<<20))
	require.ErrorContains(t, m.node.SetNearBytes(40<<20+1), "SetNearBytes", "four times 10 MiB")
}

// TestSetNearBytes_TakesNoLessThanNodesNeed: a node of 16 MiB or more has something near with the
// smallest bound that there is.
func TestSetNearBytes_TakesNoLessThanNodesNeed(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.nodeOpts.NearBytes = 16 << 20
		m := f.join()
		require.ErrorContains(t, m.node.SetNearBytes(444<<10-1), "454656")
		require.NoError(t, m.node.SetNearBytes(444<<10))
		_, err := m.Fetch(t.Context(), "k", is("v"))
		require.NoError(t, err)
		requireNear(t, m, "k", "v")
	})
}

// TestSetNearBytes_Tags: what is known of tags gives room back, and nothing that a tag ended is
// served for that.
func TestSetNearBytes_Tags(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal, f.nodeOpts.NearBytes = true, 8<<20
		m, other := f.join(), f.join()
		for i := range 20_000 {
			require.NoError(t, m.InvalidateTags(t.Context(), fmt.Sprint(i)))
		}
		require.NoError(t, m.SetEntry(t.Context(), "ended", tagged("old", "7")))
		settle()
		v, err := other.Get(t.Context(), "ended")
		require.NoError(t, err)
		assert.Equal(t, "old", v)
		require.Greater(t, m.node.Stats().Near.TagBytes, int64(512<<10))
		for _, one := range []*member{m, other} {
			require.NoError(t, one.node.SetNearBytes(256<<10))
			assert.LessOrEqual(t, one.node.Stats().Near.TagBytes, int64(128<<10))
		}
		require.NoError(t, other.InvalidateTags(t.Context(), "7"))
		settle()
		for _, one := range []*member{m, other} {
			_, err := one.Get(t.Context(), "ended")
			require.ErrorIs(t, err, nearcache.ErrNotFound)
			_, err = one.Fetch(t.Context(), "k", is("v"))
			require.NoError(t, err)
			requireNear(t, one, "k", "v")
		}
	})
}
