package redisstore

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// slowServer answers with the key after a second, and notes what it was asked.
type slowServer struct {
	mu       sync.Mutex
	requests [][]string
	takes    time.Duration
	size     int   // of what it answers, if more than the key
	err      error // instead of an answer to several keys
	panics   bool
	hasty    bool // gives up a moment before the end of the context, as a socket does
}

func (s *slowServer) many(ctx context.Context, keys []string) ([][]byte, error) {
	s.mu.Lock()
	s.requests = append(s.requests, append([]string{}, keys...))
	panics, takes := s.panics && len(keys) > 1, cmp.Or(s.takes, time.Second)
	s.mu.Unlock()
	var end <-chan time.Time
	if deadline, ok := ctx.Deadline(); ok && s.hasty {
		end = time.After(time.Until(deadline) - time.Microsecond)
	}
	select {
	case <-time.After(takes):
	case <-end:
		return nil, context.DeadlineExceeded
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if panics {
		panic("client")
	}
	images := make([][]byte, len(keys))
	for i, key := range keys {
		images[i] = append(make([]byte, 0, len(key)+s.size), key...)
		images[i] = images[i][:max(len(key), s.size)]
	}
	if len(keys) > 1 && s.err != nil {
		return nil, s.err
	}
	return images, nil
}

func (s *slowServer) sizes() (sizes []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		sizes = append(sizes, len(r))
	}
	return sizes
}

// reading is a combiner of reads.
type reading struct{ *combiner[string, proven] }

func (r reading) read(ctx context.Context, key string) (proven, error) {
	p := r.do(ctx, key)
	return p, p.err
}

// newCombiner returns one that never has more than the fewest requests under way.
func newCombiner(s *slowServer) reading {
	c := (&Store{single: unconnected}).readsOf()
	c.many = func(ctx context.Context, keys []string) []proven {
		images, err := s.many(ctx, keys)
		all := make([]proven, len(keys))
		for i := range all {
			if all[i].err = err; err == nil {
				all[i].image = images[i]
			}
		}
		return all
	}
	c.one = func(ctx context.Context, key string) proven { return c.many(ctx, []string{key})[0] }
	c.pace = pace{few: fewReads, most: fewReads, least: time.Hour}
	return reading{c}
}

// unconnected is a client that is not used.
var unconnected = redis.NewClient(&redis.Options{ContextTimeoutEnabled: true})

// busy has all lanes taken by reads of a second.
func busy(t *testing.T, c reading) (wait func()) {
	var wg sync.WaitGroup
	for range fewReads {
		wg.Go(func() {
			_, err := c.read(t.Context(), "busy")
			assert.NoError(t, err)
		})
	}
	synctest.Wait()
	return wg.Wait
}

// free requires that all lanes are free again and nothing is left behind.
func free(t *testing.T, c reading) {
	synctest.Wait() // for lanes that find that nobody waits
	require.Zero(t, c.busy)
	require.Empty(t, c.queue)
}

func TestCombiner_ALoneReadGoesAtOnceAndAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowServer{}
		c := newCombiner(s)
		for range 3 {
			began := time.Now()
			image, err := c.read(t.Context(), "k")
			require.NoError(t, err)
			require.Equal(t, "k", string(image.image))
			require.Equal(t, time.Second, time.Since(began))
		}
		require.Equal(t, []int{1, 1, 1}, s.sizes())
		free(t, c)
	})
}

func TestCombiner_ReadsThatWaitTravelTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowServer{}
		c := newCombiner(s)
		wait := busy(t, c)
		began := time.Now()
		var wg sync.WaitGroup
		for i := range maxTogether + 10 {
			wg.Go(func() {
				key := strconv.Itoa(i)
				image, err := c.read(t.Context(), key)
				assert.NoError(t, err)
				assert.Equal(t, key, string(image.image))
			})
		}
		wg.Wait()
		wait()
		require.Equal(t, 2*time.Second, time.Since(began), "after the next answer")
		require.ElementsMatch(t, []int{1, 1, maxTogether, 10}, s.sizes())
		free(t, c)
	})
}

func TestCombiner_LargeRecordsTravelAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowServer{size: 1 << 20}
		c := newCombiner(s)
		busy(t, c)() // learns how large they are
		wait := busy(t, c)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				_, err := c.read(t.Context(), "k")
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		wait()
		for _, n := range s.sizes() {
			require.Equal(t, 1, n)
		}
		free(t, c)
	})
}

// TestCombiner_TheEndOfOneContextIsNotThatOfOthers has the reader who sends for
// all give up.
func TestCombiner_TheEndOfOneContextIsNotThatOfOthers(t *testing.T) {
	t.Run("context", func(t *testing.T) { senderGivesUp(t, &slowServer{}) })
	t.Run("socket", func(t *testing.T) { senderGivesUp(t, &slowServer{hasty: true}) })
}

func senderGivesUp(t *testing.T, s *slowServer) {
	synctest.Test(t, func(t *testing.T) {
		c := newCombiner(s)
		wait := busy(t, c)
		short, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := c.read(short, "short")
			assert.ErrorIs(t, err, context.DeadlineExceeded)
		})
		synctest.Wait() // it waits longest, and will send
		for _, key := range []string{"a", "b"} {
			wg.Go(func() {
				image, err := c.read(t.Context(), key)
				assert.NoError(t, err)
				assert.Equal(t, key, string(image.image))
			})
		}
		wg.Wait()
		wait()
		free(t, c)
	})
}

func TestCombiner_WhoWaitsMayLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowServer{}
		c := newCombiner(s)
		wait := busy(t, c)
		short, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		_, err := c.read(short, "k")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		wait()
		require.Equal(t, []int{1, 1}, s.sizes(), "nobody is left to ask for")
		free(t, c)
	})
}

// TestCombiner_WhoWaitsGoesAloneInTheEnd: connections that say nothing any more do not
// hold up reads that others could carry.
func TestCombiner_WhoWaitsGoesAloneInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowServer{}
		c := newCombiner(s)
		c.pace.least = time.Second / 10
		wait := busy(t, c)
		began := time.Now()
		image, err := c.read(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, "k", string(image.image))
		require.Equal(t, 1100*time.Millisecond, time.Since(began), "it did not wait for a lane")
		wait()
		free(t, c)
	})
}

// TestCombiner_WhoWaitsForAnAnswerGoesAloneInTheEnd: likewise if the batch that they travel
// in is not answered for much longer than others were.
func TestCombiner_WhoWaitsForAnAnswerGoesAloneInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowServer{}
		c := newCombiner(s)
		c.pace.least = time.Second / 2
		wait := busy(t, c)
		time.Sleep(time.Second * 3 / 4)
		began := time.Now()
		var readers sync.WaitGroup
		var took [3]time.Duration
		for i := range took {
			readers.Go(func() {
				image, err := c.read(t.Context(), strconv.Itoa(i))
				assert.NoError(t, err)
				assert.Equal(t, strconv.Itoa(i), string(image.image))
				took[i] = time.Since(began)
			})
		}
		synctest.Wait()
		s.mu.Lock()
		s.takes = time.Minute
		s.mu.Unlock()
		wait()
		c.mu.Lock()
		patience := c.pace.patience()
		c.mu.Unlock()
		assert.Greater(t, patience, time.Second)
		readers.Wait()
		want := time.Second/4 + patience + time.Minute
		assert.Equal(t, [3]time.Duration{want, want, want}, took)
		assert.ElementsMatch(t, []int{1, 1, 3, 1, 1, 1}, s.sizes())
		free(t, c)
	})
}

// TestCombiner_LeavingWhenALaneBecomesFree has all who wait leave at the moment
// in which they are told to send.
func TestCombiner_LeavingWhenALaneBecomesFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 200 {
			c := newCombiner(&slowServer{})
			wait := busy(t, c)
			short, cancel := context.WithTimeout(t.Context(), time.Second)
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() { _, _ = c.read(short, "k") })
			}
			wg.Wait()
			cancel()
			wait()
			free(t, c)
		}
	})
}

// TestCombiner_NoLaneIsLost has readers come, leave and lose patience at the same
// moments, also that in which a lane becomes free.
func TestCombiner_NoLaneIsLost(t *testing.T) {
	const half = time.Second / 2
	synctest.Test(t, func(t *testing.T) {
		for round := range 200 {
			c := newCombiner(&slowServer{hasty: round%2 == 0})
			c.pace.least = time.Duration(1+rand.N(4)) * half
			var wg sync.WaitGroup
			for i := range 50 {
				wg.Go(func() {
					time.Sleep(rand.N(time.Duration(6)) * half)
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rand.N(8))*half)
					defer cancel()
					image, err := c.read(ctx, strconv.Itoa(i))
					if err == nil {
						assert.Equal(t, strconv.Itoa(i), string(image.image))
					} else {
						assert.ErrorIs(t, err, context.DeadlineExceeded)
					}
				})
			}
			wg.Wait()
			free(t, c)
		}
	})
}

func TestCombiner_AnErrorIsEverybodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		s := &slowServer{err: broken}
		c := newCombiner(s)
		wait := busy(t, c)
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				_, err := c.read(t.Context(), "k")
				assert.ErrorIs(t, err, broken)
			})
		}
		wg.Wait()
		wait()
		require.ElementsMatch(t, []int{1, 1, 5}, s.sizes())
		free(t, c)
	})
}

// TestCombiner_AnEndThatIsNobodysHere: an error that says that a context ended, while none
// of these did, is that of a call that had the connection before. Each asks for itself.
func TestCombiner_AnEndThatIsNobodysHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowServer{err: context.DeadlineExceeded}
		c := newCombiner(s)
		wait := busy(t, c)
		var readers sync.WaitGroup
		for range 3 {
			readers.Go(func() {
				_, err := c.read(t.Context(), "k")
				assert.NoError(t, err)
			})
		}
		readers.Wait()
		wait()
		require.ElementsMatch(t, []int{1, 1, 3, 1, 1, 1}, s.sizes())
		free(t, c)
	})
}

// TestCombiner_APanicEndsNoProcess: there is nobody above a lane to recover. Each asks for
// itself, and meets the panic, if there is one again.
func TestCombiner_APanicEndsNoProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowServer{panics: true}
		c := newCombiner(s)
		wait := busy(t, c)
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				image, err := c.read(t.Context(), "k")
				assert.NoError(t, err)
				assert.Equal(t, "k", string(image.image))
			})
		}
		wg.Wait()
		wait()
		assert.ElementsMatch(t, []int{1, 1, 5, 1, 1, 1, 1, 1}, s.sizes())
		free(t, c)
	})
}

// TestCombiner_WhoHangsUpCostsOthersNothing has those who began a request leave before its
// answer: it is neither ended nor sent again.
func TestCombiner_WhoHangsUpCostsOthersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowServer{hasty: true}
		c := newCombiner(s)
		wait := busy(t, c)
		short, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 10 {
			ctx, patient := short, i%2 == 1
			if patient {
				ctx = t.Context()
			}
			wg.Go(func() {
				image, err := c.read(ctx, strconv.Itoa(i))
				if patient {
					assert.NoError(t, err)
					assert.Equal(t, strconv.Itoa(i), string(image.image))
					assert.Equal(t, 2*time.Second, time.Since(began))
				} else {
					assert.ErrorIs(t, err, context.DeadlineExceeded)
					assert.Equal(t, 1500*time.Millisecond, time.Since(began))
				}
			})
			synctest.Wait() // the first of them has no time
		}
		wg.Wait()
		wait()
		assert.Equal(t, []int{1, 1, 10}, s.sizes())
		free(t, c)
	})
}

// TestCombiner_ARequestThatNobodyWaitsForHasNoLane: those who hung up leave nothing that
// counts as under way, though the client cannot be interrupted.
func TestCombiner_ARequestThatNobodyWaitsForHasNoLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowServer{}
		c := newCombiner(s)
		many := c.many
		c.many = func(_ context.Context, keys []string) []proven { return many(context.Background(), keys) }
		wait := busy(t, c)
		var wg sync.WaitGroup
		for range maxTogether * fewReads {
			wg.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(1100*time.Millisecond, cancel)
				_, err := c.read(ctx, "gone")
				assert.ErrorIs(t, err, context.Canceled)
			})
		}
		wg.Wait()
		wait()
		assert.ElementsMatch(t, []int{1, 1, maxTogether, maxTogether}, s.sizes())
		began := time.Now()
		_, err := c.read(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, time.Second, time.Since(began), "it waited for an answer to those who are gone")
		time.Sleep(time.Second)
		free(t, c)
	})
}
