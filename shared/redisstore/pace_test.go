package redisstore

import (
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// many is a pace with many connections.
var many = pace{few: fewReads, most: 64, least: time.Hour}

// readMany has n callers read at once, of a server whose records are so long, and returns how
// long that took and how many were in each request. The server answers after a second, but
// the reads from which the combiner learns after trip.
func readMany(t *testing.T, trip time.Duration, n, size int, p pace) (took time.Duration, sizes []int) {
	s := &slowServer{size: size, takes: trip}
	c := newCombiner(s)
	c.pace = p
	for range 50 {
		_, err := c.read(t.Context(), "k")
		require.NoError(t, err)
	}
	s.mu.Lock()
	s.requests, s.takes = nil, time.Second
	s.mu.Unlock()
	began := time.Now()
	var readers sync.WaitGroup
	for i := range n {
		readers.Go(func() {
			image, err := c.read(t.Context(), strconv.Itoa(i))
			assert.NoError(t, err)
			assert.Equal(t, strconv.Itoa(i), string(image.image[:len(strconv.Itoa(i))]))
		})
		synctest.Wait()
	}
	readers.Wait()
	free(t, c)
	return time.Since(began), s.sizes()
}

// TestCombiner_NobodyWaitsOverANetwork: if a round trip takes long, there is a request for
// as many callers as travel in its first packets.
func TestCombiner_NobodyWaitsOverANetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took, sizes := readMany(t, time.Second, 20, 0, many)
		assert.Equal(t, time.Second, took, "a round trip")
		assert.Equal(t, slices.Repeat([]int{1}, 20), sizes)
	})
}

// TestCombiner_WhoIsFullDoesNotWait: however short the round trip is, company that there
// cannot be is not waited for.
func TestCombiner_WhoIsFullDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for size, most := range map[int]int{60 << 10: 1, 10 << 10: 3} {
			took, sizes := readMany(t, time.Microsecond, 62, size, many)
			assert.Equal(t, time.Second, took)
			assert.Equal(t, most, slices.Max(sizes), "32 KiB at most")
		}
		took, sizes := readMany(t, time.Microsecond, fewReads+10*maxTogether, 0, many)
		assert.Equal(t, time.Second, took)
		assert.Equal(t, append(slices.Repeat([]int{1}, fewReads), slices.Repeat([]int{maxTogether}, 10)...), sizes)

		took, sizes = readMany(t, time.Microsecond, 20, 0, many)
		assert.Equal(t, 2*time.Second, took, "others may come")
		assert.Equal(t, []int{1, 1, 18}, sizes)
	})
}

// TestCombiner_FewConnections: what is under way is bounded by their number, and what shares
// a request is not smaller than it must be.
func TestCombiner_FewConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took, sizes := readMany(t, time.Second, 52, 20<<10, pace{few: fewReads, most: 4, least: time.Hour})
		assert.Equal(t, 5*time.Second, took)
		assert.ElementsMatch(t, []int{1, 1, 1, 1, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3}, sizes, "64 KiB")
	})
}

// TestCombiner_WaitsForItsTurn: a queue that is long, and moves on, is no reason to go alone.
func TestCombiner_WaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, sizes := readMany(t, time.Second, 10*maxTogether, 0, pace{few: fewReads, most: fewReads, least: leastPatience})
		assert.Less(t, len(sizes), 14)
	})
}

func TestPace_Lanes(t *testing.T) {
	now := time.Now()
	p := pace{few: 2, most: 50}
	assert.Equal(t, 2, p.lanes(), "nothing is known")
	p.learn(now, time.Second, 0)
	assert.Equal(t, 50, p.lanes(), "a connection is made")
	p.learn(now, 10*spacing, 0)
	p.learn(now, 500*spacing, 0)
	assert.Equal(t, 10, p.lanes(), "the shortest counts")
	p.learn(now.Add(2*window), 20*spacing, 0)
	assert.Equal(t, 10, p.lanes(), "so does that of the window before")
	p.learn(now.Add(4*window), 20*spacing, 0)
	assert.Equal(t, 20, p.lanes(), "the way has become longer")
	p.learn(now.Add(4*window), spacing/2, 0)
	assert.Equal(t, 2, p.lanes())
	p.most = 1
	assert.Equal(t, 1, p.lanes())
}

func TestPace_Bytes(t *testing.T) {
	now, p := time.Now(), pace{}
	p.learn(now, time.Millisecond, 100)
	assert.Equal(t, largeBatch, p.bytes())
	for range 10 {
		p.learn(now, time.Millisecond, largeBatch/3)
	}
	assert.Equal(t, largeBatch, p.bytes(), "none was full")
	for _, want := range []int{2 * largeBatch, 4 * largeBatch, 8 * largeBatch, hugeBatch, hugeBatch} {
		p.learn(now, time.Millisecond, p.bytes())
		assert.Equal(t, want, p.bytes())
	}
	p.learn(now, 3*time.Millisecond, hugeBatch)
	assert.Equal(t, hugeBatch, p.bytes())
	for _, want := range []int{hugeBatch / 2, hugeBatch / 4, hugeBatch / 8, largeBatch, largeBatch} {
		p.learn(now, 5*time.Millisecond, hugeBatch)
		assert.Equal(t, want, p.bytes())
	}
}

// TestPace_Patience: over a way that is slow or uneven, answers are waited for longer.
func TestPace_Patience(t *testing.T) {
	now, p := time.Now(), pace{least: leastPatience}
	assert.Equal(t, leastPatience, p.patience())
	for range 100 {
		p.learn(now, time.Millisecond, 0)
	}
	assert.Equal(t, leastPatience, p.patience())
	for range 100 {
		p.learn(now, time.Second, 0)
	}
	assert.InDelta(t, time.Second, p.patience(), float64(10*time.Millisecond))
	for i := range 100 {
		p.learn(now, time.Duration(i%2)*time.Second, 0)
	}
	assert.Greater(t, p.patience(), 2*time.Second)
}

func TestStore_Connections(t *testing.T) {
	for _, c := range []struct {
		options redis.Options
		want    int
	}{
		{redis.Options{PoolSize: 7}, 7},
		{redis.Options{PoolSize: 7, MaxActiveConns: 5}, 5},
		{redis.Options{PoolSize: 7, MaxActiveConns: 9}, 7},
	} {
		client := redis.NewClient(&c.options)
		s := Store{single: client}
		assert.Equal(t, c.want, s.readsOf().pace.most)
		assert.Equal(t, c.want, s.stepsOf().pace.most)
		require.NoError(t, client.Close())
	}
}
