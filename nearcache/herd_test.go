package nearcache_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestHerd_FlushRefillsLazily flushes the near tiers of ten nodes under load and
// measures what the shared tier is asked for: what is read, when it is read, and
// the source not at all.
func TestHerd_FlushRefillsLazily(t *testing.T) {
	const (
		nodes  = 10
		keys   = 5000
		every  = time.Millisecond // a read on each node
		window = 100 * time.Millisecond
	)
	bubble(t, func(t *testing.T, f *fleet) {
		var fleet []*member
		for range nodes {
			fleet = append(fleet, f.join())
		}
		for i := range keys {
			require.NoError(t, fleet[0].Set(t.Context(), fmt.Sprint(i), "v"))
		}
		settle()
		stop := make(chan struct{})
		var readers sync.WaitGroup
		for i, m := range fleet {
			readers.Go(func() {
				zipf := rand.NewZipf(rand.New(rand.NewPCG(1, uint64(i))), 1.1, 10, keys-1)
				for {
					select {
					case <-stop:
						return
					case <-time.After(every):
					}
					_, err := m.Fetch(t.Context(), fmt.Sprint(zipf.Uint64()), none)
					assert.NoError(t, err)
				}
			})
		}
		measure := func(d time.Duration) (mean, peak int64) {
			before := f.store.reads.Load()
			for at, last := time.Duration(0), before; at < d; at += window {
				time.Sleep(window)
				now := f.store.reads.Load()
				peak, last = max(peak, now-last), now
			}
			return (f.store.reads.Load() - before) * int64(window) / int64(d), peak
		}
		time.Sleep(10 * time.Second) // warm
		mean, peak := measure(2 * time.Second)
		for _, m := range fleet {
			m.link.deaf.Store(true) // the bus is lost for a moment, which flushes
		}
		_, flushed := measure(4 * time.Second)
		for _, m := range fleet {
			m.link.deaf.Store(false)
			require.NotZero(t, m.node.Stats().Near.Flushes)
			assert.Zero(t, m.Stats().Loads.Keys)
		}
		close(stop)
		readers.Wait()
		calls := int64(nodes * window / every)
		t.Logf("in %v: %d calls, %d reads of the shared tier (peak %d), after a flush %d at most", window, calls, mean, peak, flushed)
		assert.Greater(t, flushed, peak)
		assert.LessOrEqual(t, flushed, calls, "nothing is read that nobody asks for")
	})
}
