package nearcache_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
)

func metered(f *fleet) { f.nodeOpts.AuditRate, f.nodeOpts.NearBytes = 200, 1<<20 }

// TestMeter_Agrees: with the journal switched off and a bus that loses the news,
// the meter finds what is stale; with it, nothing older than the bound.
func TestMeter_Agrees(t *testing.T) {
	for _, off := range variants(fault.Journal) {
		t.Run(fmt.Sprint(off.Off(fault.Journal)), func(t *testing.T) {
			journaled(t, func(t *testing.T, f *fleet, a, b *member) {
				a.link.deaf.Store(false)
				a.loseNews() // announced with the write, so that nobody misses a number
				wait(4 * time.Second)
				values := map[string]string{}
				for i := range 50 {
					values[fmt.Sprint(i)] = "old"
				}
				require.NoError(t, b.SetMany(t.Context(), values))
				keys := append([]string{"k"}, fmt.Sprint(1), fmt.Sprint(2), fmt.Sprint(3))
				wait(2 * time.Second) // that one had a number
				_, err := a.GetMany(t.Context(), keys)
				require.NoError(t, err)
				require.NoError(t, b.Set(t.Context(), "2", "new"))
				began := time.Now()
				for time.Since(began) < 20*time.Second {
					_, err := a.GetMany(t.Context(), keys)
					require.NoError(t, err)
					require.NoError(t, b.Set(t.Context(), "1", time.Now().String()))
					wait(1400 * time.Millisecond)
				}
				c := a.node.Consistency()
				assert.NotZero(t, c.Checked)
				assert.Zero(t, c.Failures)
				var sum uint64
				for _, n := range c.Staleness {
					sum += n
				}
				assert.Equal(t, c.Stale, sum)
				if off.Off(fault.Journal) {
					assert.NotZero(t, c.Stale)
					assert.Greater(t, c.Worst, 5*time.Second, "nobody ever told of the write")
					assert.Less(t, c.Nines(), 1.0)
					return
				}
				assert.LessOrEqual(t, c.Worst, time.Second+20*time.Millisecond)
				assert.Less(t, time.Since(c.Proven), 3*time.Second)
				own := b.node.Consistency()
				assert.NotZero(t, own.Checked)
				assert.Zero(t, own.Stale, "the writer's own near tier")
				assert.Greater(t, own.Nines(), 2.0)
			}, metered, without(off), func(f *fleet) { f.announces = true })
		})
	}
}

// TestMeter_Clear: what a Clear ended is stale, although its record stands.
func TestMeter_Clear(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, b *member) {
		failTails(f)
		require.NoError(t, b.Clear(t.Context()))
		wait(3 * time.Second)
		c := a.node.Consistency()
		assert.NotZero(t, c.Stale)
		assert.Greater(t, c.Worst, time.Second)
	}, metered)
}

// TestMeter_OutOfReach: no proof, and no guess.
func TestMeter_OutOfReach(t *testing.T) {
	journaled(t, func(t *testing.T, f *fleet, a, _ *member) {
		wait(5 * time.Second)
		before := a.node.Consistency()
		require.NotZero(t, before.Checked)
		f.store.down()
		wait(3 * time.Second)
		c := a.node.Consistency()
		assert.NotZero(t, c.Failures)
		assert.Equal(t, before.Checked, c.Checked)
		assert.Equal(t, before.Proven, c.Proven)
	}, metered)
}

// TestMeter_Bounded: no more is read than was asked for, and nothing when it is
// off.
func TestMeter_Bounded(t *testing.T) {
	for rate, reads := range map[int]int64{0: 0, 1: 10, 100: 10, 2000: 78} {
		bubble(t, func(t *testing.T, f *fleet) {
			f.nodeOpts.AuditRate = rate
			m := f.join()
			values := map[string]string{}
			for i := range 1000 {
				values[fmt.Sprint(i)] = "v"
			}
			require.NoError(t, m.SetMany(t.Context(), values))
			before := f.store.reads.Load()
			wait(10*time.Second + 10*time.Millisecond)
			assert.InDelta(t, reads, f.store.reads.Load()-before, 1)
			c := m.node.Consistency()
			assert.LessOrEqual(t, c.Checked, uint64(10*rate))
			assert.GreaterOrEqual(t, c.Checked, uint64(8*rate))
		})
	}
	_, err := nearcache.NewNode(nil, nil, nearcache.NodeOptions{AuditRate: 10_001})
	require.Error(t, err)
}
