package coherence

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func keyspaceOf(name string) *Keyspace {
	k := new(Keyspace)
	k.Name = name
	return k
}

// TestDirectory: caches that joined are found, beside others that join, and no others are.
func TestDirectory(t *testing.T) {
	const caches = 3000
	var d directory
	d.init()
	require.Nil(t, d.find("0"))
	var joined atomic.Int64
	ended, strangers := make(chan string, 1), make(chan *Keyspace, 1)
	go func() { // ends when all have joined, or a cache is found that never did
		var k *Keyspace
		for k == nil && joined.Load() < caches {
			k = d.find("none") // others take its place between two looks
		}
		strangers <- k
	}()
	go func() { // ends when all have joined
		for joined.Load() < caches {
			n := int(joined.Load())
			for i := range n {
				if k := d.find(strconv.Itoa(i)); k == nil || k != d.all()[i] || k.Name != strconv.Itoa(i) {
					ended <- "cache " + strconv.Itoa(i) + " is not found"
					return
				}
			}
		}
		ended <- ""
	}()
	for i := range caches {
		d.add(keyspaceOf(strconv.Itoa(i)))
		joined.Store(int64(i + 1))
	}
	require.Empty(t, <-ended)
	require.Nil(t, <-strangers)
	require.Len(t, d.all(), caches)
}

// BenchmarkDirectory_Find looks for the cache of an invalidation, as each that comes by the bus
// does.
func BenchmarkDirectory_Find(b *testing.B) {
	for _, caches := range []int{1, 20, 10_000} {
		b.Run(strconv.Itoa(caches), func(b *testing.B) {
			var d directory
			d.init()
			names := make([]string, caches)
			for i := range names {
				names[i] = "users-" + strconv.Itoa(i)
				d.add(keyspaceOf(names[i]))
			}
			i := 0
			for b.Loop() {
				if d.find(names[i%caches]) == nil {
					b.Fatal("not found")
				}
				i += 7919
			}
		})
	}
}
