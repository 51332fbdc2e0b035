package telemetry

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestQueue_Order: notes come one by one, in their order, also those that wait when the queue
// is closed.
func TestQueue_Order(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var counts []int
		q := NewQueue(func(n Note) {
			time.Sleep(time.Millisecond)
			counts = append(counts, n.Count)
		})
		for i := range 10 {
			q.Tell(Note{Kind: Load, Count: i})
		}
		q.Close()
		assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, counts)
		notes, panics := q.Dropped()
		assert.Zero(t, notes)
		assert.Zero(t, panics)
	})
}

// TestQueue_Blocks: an observer that blocks holds nobody up. What it is not told is counted, and
// Close leaves it behind.
func TestQueue_Blocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		q := NewQueue(func(Note) { <-free })
		q.Tell(Note{})
		synctest.Wait() // it has one
		began := time.Now()
		for range queueSize + 7 {
			q.Tell(Note{})
		}
		assert.Zero(t, time.Since(began))
		notes, _ := q.Dropped()
		assert.Equal(t, uint64(7), notes)
		q.Close()
		assert.Equal(t, partingTimeout, time.Since(began))
		close(free)
	})
}

// TestQueue_Slow: a slow observer is told nothing after Close has returned, but for what it is being
// told by then, and the rest is counted.
func TestQueue_Slow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told atomic.Int32
		q := NewQueue(func(Note) {
			told.Add(1)
			time.Sleep(200 * time.Millisecond)
		})
		for range 100 {
			q.Tell(Note{})
		}
		q.Close()
		by := told.Load()
		<-q.done
		assert.Equal(t, by, told.Load())
		notes, _ := q.Dropped()
		assert.Equal(t, uint64(100-by), notes)
	})
}

// TestQueue_Panics: an observer that panics, or ends its goroutine, is called again.
func TestQueue_Panics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		q := NewQueue(func(n Note) {
			calls.Add(1)
			switch n.Count {
			case 0:
				panic("no")
			case 1:
				runtime.Goexit()
			}
		})
		for i := range 3 {
			q.Tell(Note{Count: i})
		}
		q.Close()
		assert.Equal(t, int32(3), calls.Load())
		_, panics := q.Dropped()
		assert.Equal(t, uint64(2), panics)
	})
}

// TestQueue_None: without an observer there is nothing.
func TestQueue_None(t *testing.T) {
	q := NewQueue(nil)
	assert.Nil(t, q)
	q.Tell(Note{})
	q.Close()
	notes, panics := q.Dropped()
	assert.Zero(t, notes+panics)
}
