package topk_test

import (
	"hash/maphash"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/internal/topk"
)

var seed = maphash.MakeSeed()

func add(s *topk.Sketch, key string, at time.Duration) {
	s.Add(maphash.String(seed, key), key, int64(at))
}

// TestSketch_Bounds: of keys of any distribution, each one with more than a 64th of all has a
// counter, and its true count lies between AtLeast and AtMost.
func TestSketch_Bounds(t *testing.T) {
	t.Parallel()
	for _, skew := range []float64{1.01, 1.3, 2} {
		s, truth := new(topk.Sketch), map[string]uint64{}
		d := rand.New(rand.NewPCG(1, 2))
		zipf := rand.NewZipf(d, skew, 1, 1<<20)
		const all = 200_000
		for range all {
			key := strconv.FormatUint(zipf.Uint64(), 10)
			truth[key]++
			add(s, key, 1)
		}
		top := s.Top(1)
		require.NotEmpty(t, top)
		found := map[string]bool{}
		for i, c := range top {
			found[c.Key] = true
			assert.LessOrEqual(t, c.AtLeast, truth[c.Key])
			assert.GreaterOrEqual(t, c.AtMost, truth[c.Key])
			assert.True(t, i == 0 || top[i-1].AtLeast >= c.AtLeast)
		}
		for key, n := range truth {
			if n > all/20 { // of which there are fewer than Top returns
				assert.True(t, found[key], "%s of %d with skew %v", key, n, skew)
			}
		}
	}
}

// TestSketch_Periods: what happened more than two periods ago is forgotten, and what happened
// in the one before still counts.
func TestSketch_Periods(t *testing.T) {
	t.Parallel()
	var s topk.Sketch
	add(&s, "old", time.Minute)
	add(&s, "old", 2*time.Minute)
	add(&s, "new", 7*time.Minute)
	assert.Equal(t, []topk.Count{{Key: "old", AtLeast: 2, AtMost: 2}, {Key: "new", AtLeast: 1, AtMost: 1}}, s.Top(int64(8*time.Minute)))
	assert.Equal(t, []topk.Count{{Key: "new", AtLeast: 1, AtMost: 1}}, s.Top(int64(12*time.Minute)))
	assert.Empty(t, s.Top(int64(time.Hour)))
	add(&s, "again", time.Hour)
	assert.Len(t, s.Top(int64(time.Hour)), 1)
}

// TestSketch_Pause: a pause, after which a period begins late, does not have what happened before it
// remembered for longer.
func TestSketch_Pause(t *testing.T) {
	t.Parallel()
	var s topk.Sketch
	add(&s, "old", 0)
	add(&s, "new", 9*time.Minute)
	assert.Equal(t, []topk.Count{{Key: "new", AtLeast: 1, AtMost: 1}}, s.Top(int64(topk.Longest)))
}

// TestSketch_Bounded: keys that come once each take up no more room once there is no counter
// left.
func TestSketch_Bounded(t *testing.T) {
	var s topk.Sketch
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = "key-" + strconv.Itoa(1000+i)
	}
	i := 0
	once := func() { add(&s, keys[i%len(keys)], 1); i++ }
	for range 200 {
		once()
	}
	assert.Zero(t, testing.AllocsPerRun(1000, once))
	assert.Len(t, s.Top(1), 20)
}

func BenchmarkSketch(b *testing.B) {
	keys, hashes := make([]string, 1<<16), make([]uint64, 1<<16)
	for i := range keys {
		keys[i] = "user-" + strconv.Itoa(i)
		hashes[i] = maphash.String(seed, keys[i])
	}
	for name, mask := range map[string]int{"known": 31, "unknown": 1<<16 - 1} {
		b.Run(name, func(b *testing.B) {
			var s topk.Sketch
			for i := 0; b.Loop(); i++ {
				s.Add(hashes[i&mask], keys[i&mask], 1)
			}
		})
	}
}
