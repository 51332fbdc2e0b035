package nearcache_test

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
)

// openAlone returns a node that is alone on its bus.
func openAlone(t testing.TB) *nearcache.Node { return openWith(t, nearcache.NodeOptions{}) }

// openWith is openAlone with options.
func openWith(t testing.TB, opts nearcache.NodeOptions) *nearcache.Node {
	tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
	require.NoError(t, err)
	b, err := bus.New(membus.NewHub().Join(), bus.Options{})
	require.NoError(t, err)
	node, err := nearcache.NewNode(tier, b, opts)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, node.Close(atOnce))
		require.NoError(t, b.Close())
		require.NoError(t, tier.Close())
	})
	return node
}

// openCaches opens caches on node from one number up to another.
func openCaches(t testing.TB, node *nearcache.Node, from, to int) {
	for i := from; i < to; i++ {
		_, err := nearcache.New(node, "cache-"+strconv.Itoa(i), nearcache.Options[record]{})
		require.NoError(t, err)
	}
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestNew_ManyCaches: what a cache takes does not depend on how many there are, and is little
// while it is not used.
func TestNew_ManyCaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no time passes meanwhile
		node := openAlone(t)
		few := allocated(func() { openCaches(t, node, 0, 1000) })
		many := allocated(func() { openCaches(t, node, 1000, 11_000) })
		assert.Less(t, many, 15*few, "ten times as many")
		assert.Less(t, many, uint64(10_000*10<<10))
	})
}

// TestNew_ManyCachesAreLookedAtOnce: the options of caches are put together for the other nodes
// when caches join, and not at each look at who is there.
func TestNew_ManyCachesAreLookedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := openAlone(t)
		openCaches(t, node, 0, 3000)
		time.Sleep(time.Minute)
		looks := allocated(func() { time.Sleep(10 * time.Minute) })
		openCaches(t, node, 3000, 3001)
		once := allocated(func() { time.Sleep(2 * time.Second) })
		assert.Less(t, looks, 3*once, "some sixty looks")
	})
}

// BenchmarkNew opens 10,000 caches on a node, and says what they take until they are used.
func BenchmarkNew(b *testing.B) {
	for _, caches := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(caches), func(b *testing.B) {
			var before, after runtime.MemStats
			for b.Loop() {
				b.StopTimer()
				node := openAlone(b)
				runtime.GC()
				runtime.ReadMemStats(&before)
				b.StartTimer()
				openCaches(b, node, 0, caches)
				b.StopTimer()
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(caches), "heap-B/cache")
				require.NoError(b, node.Close(atOnce))
				b.StartTimer()
			}
		})
	}
}
