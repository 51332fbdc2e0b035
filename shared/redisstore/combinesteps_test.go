package redisstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/driver"
)

// slowWrites answers after a second, and notes what it was sent. As a client, it
// does not begin what was canceled, and once it has begun knows deadlines only.
type slowWrites struct {
	mu       sync.Mutex
	requests [][]string
	takes    time.Duration
	err      error // the answer to several writes
	panics   bool  // at several writes
}

func (s *slowWrites) one(ctx context.Context, w step) answer {
	return s.answer(ctx, []step{w})[0]
}

func (s *slowWrites) many(ctx context.Context, writes []step) []answer {
	if s.panics {
		panic("client")
	}
	return s.answer(ctx, writes)
}

func (s *slowWrites) answer(ctx context.Context, writes []step) []answer {
	keys := make([]string, len(writes))
	for i, w := range writes {
		keys[i] = keyOf(w)
	}
	s.mu.Lock()
	s.requests = append(s.requests, keys)
	s.mu.Unlock()
	wait, err := s.takes, error(nil)
	if ended := ctx.Err(); ended != nil {
		wait, err = 0, ended
	} else if len(writes) > 1 {
		err = s.err
	}
	if end, ok := ctx.Deadline(); ok && time.Until(end) < wait {
		wait, err = time.Until(end), context.DeadlineExceeded
	}
	time.Sleep(wait)
	receipts := make([]answer, len(writes))
	for i, w := range writes {
		number, _ := strconv.ParseUint(keyOf(w), 10, 64)
		receipts[i].Revision.Number, receipts[i].Err = number, err
	}
	return receipts
}

// combiner returns one that never has more than the fewest requests under way.
func (s *slowWrites) combiner(patience time.Duration) *combiner[step, answer] {
	c := (&Store{single: unconnected}).stepsOf()
	c.one, c.many = s.one, s.many
	c.pace = pace{few: fewSteps, most: fewSteps, least: patience}
	return c
}

func keyOf(st step) string {
	if st.lease != nil {
		return st.lease.Key
	}
	return st.write.Key
}

func (s *slowWrites) sizes() (sizes []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		sizes = append(sizes, len(r))
	}
	return sizes
}

// sent returns how often a key was.
func (s *slowWrites) sent(key string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if slices.Contains(r, key) {
			n++
		}
	}
	return n
}

// writing is a combiner with all lanes taken by writes of a second.
type writing struct {
	*combiner[step, answer]
	t      *testing.T
	server *slowWrites
	users  sync.WaitGroup
}

func newWriting(t *testing.T) *writing {
	s := &slowWrites{takes: time.Second}
	w := &writing{combiner: s.combiner(time.Hour), t: t, server: s}
	for range fewSteps {
		w.starts(t.Context(), "0", func(r answer) { assert.NoError(t, r.Err) })
	}
	return w
}

func writeOf(key string, size int) step {
	return step{write: &driver.Write{Key: key, Image: make([]byte, size)}}
}

// starts begins a write, which waits once it returned.
func (w *writing) starts(ctx context.Context, key string, then func(answer)) {
	w.users.Go(func() { then(w.do(ctx, writeOf(key, 100))) })
	synctest.Wait()
}

// stored requires success, with the receipt of that key.
func (w *writing) stored(key string) func(answer) {
	return func(r answer) {
		assert.NoError(w.t, r.Err)
		assert.Equal(w.t, key, strconv.FormatUint(r.Revision.Number, 10))
	}
}

// fails requires this error after so long.
func (w *writing) fails(want error, after time.Duration) func(answer) {
	began := time.Now()
	return func(r answer) {
		assert.ErrorIs(w.t, r.Err, want)
		assert.Equal(w.t, after, time.Since(began))
	}
}

// end waits, and requires that nothing is left behind.
func (w *writing) end() {
	w.users.Wait()
	synctest.Wait() // for lanes that find that nobody waits
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Zero(w.t, w.busy)
	require.Empty(w.t, w.queue)
}

func TestCombinerOfSteps_AloneAtOnceAndAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		calls := 0
		c := (&slowWrites{}).combiner(time.Hour)
		c.one = func(given context.Context, _ step) answer {
			calls++
			assert.Equal(t, ctx, given)
			return answer{}
		}
		require.NoError(t, c.do(ctx, writeOf("1", 100)).Err)
		require.Equal(t, 1, calls)
		require.Zero(t, c.busy)
	})
}

func TestCombinerOfSteps_ThoseThatWaitTravelTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWriting(t)
		began := time.Now()
		for i := range maxTogether + 10 {
			key := strconv.Itoa(i + 1)
			w.starts(t.Context(), key, w.stored(key))
		}
		w.end()
		require.Equal(t, 2*time.Second, time.Since(began))
		require.ElementsMatch(t, append(slices.Repeat([]int{1}, fewSteps), maxTogether, 10), w.server.sizes())
		for i := range maxTogether + 10 {
			require.Equal(t, 1, w.server.sent(strconv.Itoa(i+1)))
		}
	})
}

func TestCombinerOfSteps_NoMoreBytesThanBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWriting(t)
		for range 12 {
			w.users.Go(func() { assert.NoError(t, w.do(t.Context(), writeOf("1", largeBatch/3)).Err) })
		}
		w.end()
		require.ElementsMatch(t, append(slices.Repeat([]int{1}, fewSteps), 3, 3, 3, 3), w.server.sizes())
	})
}

// TestCombinerOfSteps_TheLastContextSends: each leaves when its own context ends, no
// write fails because of another's, and none is sent twice.
func TestCombinerOfSteps_TheLastContextSends(t *testing.T) {
	within := func(t *testing.T, d time.Duration) context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		t.Cleanup(cancel)
		return ctx
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWriting(t)
		w.starts(within(t, 1500*time.Millisecond), "1", w.fails(context.DeadlineExceeded, 1500*time.Millisecond))
		w.starts(within(t, 3*time.Second), "2", w.stored("2"))
		w.starts(within(t, 500*time.Millisecond), "3", w.fails(context.DeadlineExceeded, 500*time.Millisecond))
		w.starts(within(t, 2500*time.Millisecond), "4", w.stored("4"))
		w.end()
		require.Equal(t, []int{1, 1, 0, 1}, []int{w.server.sent("1"), w.server.sent("2"), w.server.sent("3"), w.server.sent("4")})
	})
}

// TestCombinerOfSteps_WhoSendsIsCanceled: the others do not notice.
func TestCombinerOfSteps_WhoSendsIsCanceled(t *testing.T) {
	for name, when := range map[string]time.Duration{
		"before it sends": time.Second / 2, "as it is told to": time.Second, "as it sends": 3 * time.Second / 2,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWriting(t)
				ctx, cancel := context.WithCancel(t.Context())
				short, end := context.WithTimeout(t.Context(), time.Minute)
				defer end()
				w.starts(ctx, "1", func(answer) {}) // has no deadline, so it sends
				w.starts(short, "2", w.stored("2"))
				w.starts(short, "3", w.stored("3"))
				time.Sleep(when)
				cancel()
				w.end()
				require.Equal(t, []int{1, 1}, []int{w.server.sent("2"), w.server.sent("3")})
				require.LessOrEqual(t, w.server.sent("1"), 1)
			})
		})
	}
}

// TestCombinerOfSteps_WhoLeftIsNotSentFor: of a batch that departs, neither the order nor
// the answers of those who wait depend on those who left.
func TestCombinerOfSteps_WhoLeftIsNotSentFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWriting(t)
		for i := range 9 {
			key := strconv.Itoa(i + 1)
			if i%3 > 0 {
				w.starts(t.Context(), key, w.stored(key))
				continue
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
			defer cancel()
			w.starts(ctx, key, w.fails(context.DeadlineExceeded, time.Second/2))
		}
		w.end()
		for i := range 9 {
			require.Equal(t, min(i%3, 1), w.server.sent(strconv.Itoa(i+1)))
		}
	})
}

func TestCombinerOfSteps_WhoLeavesIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWriting(t)
		ctx, cancel := context.WithCancel(t.Context())
		w.starts(ctx, "1", w.fails(context.Canceled, 0))
		cancel()
		synctest.Wait()
		w.mu.Lock()
		assert.Empty(t, w.queue)
		w.mu.Unlock()
		w.end()
	})
}

// TestCombinerOfSteps_LeavingWhenALaneBecomesFree has all who wait leave at the moment
// in which one is told to send.
func TestCombinerOfSteps_LeavingWhenALaneBecomesFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 200 {
			w := newWriting(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			for range 3 {
				w.starts(ctx, "1", func(answer) {})
			}
			w.end()
			cancel()
		}
	})
}

// TestCombinerOfSteps_GoesAloneInTheEnd: connections that say nothing any more do
// not hold up writes that others could carry.
func TestCombinerOfSteps_GoesAloneInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWriting(t)
		w.pace.least = time.Second / 10
		began := time.Now()
		w.starts(t.Context(), "1", func(r answer) {
			w.stored("1")(r)
			assert.Equal(t, 1100*time.Millisecond, time.Since(began))
		})
		w.end()
		require.Equal(t, 1, w.server.sent("1"))
	})
}

func TestCombinerOfSteps_AnErrorIsEverybodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWriting(t)
		w.server.err = errors.New("broken")
		for range 5 {
			w.starts(t.Context(), "1", w.fails(w.server.err, 2*time.Second))
		}
		w.end()
	})
}

// TestCombinerOfSteps_Leases: they travel with writes and fills, each to its own answer.
func TestCombinerOfSteps_Leases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWriting(t)
		lease, fill := step{lease: &driver.Lease{Key: "2"}}, writeOf("3", 100)
		fill.fill = true
		w.starts(t.Context(), "1", w.stored("1"))
		for key, st := range map[string]step{"2": lease, "3": fill} {
			w.users.Go(func() { w.stored(key)(w.do(t.Context(), st)) })
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		w.users.Go(func() {
			left := w.do(ctx, lease)
			assert.ErrorIs(t, left.Err, context.DeadlineExceeded)
			assert.ErrorContains(t, left.Err, "redisstore: acquire: ")
			assert.Zero(t, left.grant().Status)
		})
		w.users.Wait()
		assert.Contains(t, w.server.sizes(), 3)
	})
}

// TestCombinerOfSteps_APanicIsEverybodys: what becomes of the writes is not known, and all
// are told so.
func TestCombinerOfSteps_APanicIsEverybodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWriting(t)
		w.server.panics = true
		var open atomic.Int32
		for range 5 {
			w.users.Go(func() {
				var timeout net.Error
				if errors.As(w.do(t.Context(), writeOf("1", 100)).Err, &timeout) && timeout.Timeout() {
					open.Add(1)
				}
			})
		}
		w.end()
		require.EqualValues(t, 5, open.Load())
	})
}

// TestCombinerOfSteps_NoLaneIsLost has writers come, leave, lose patience and, in
// every third round, meet a client that panics, all at the same moments. Nobody
// waits for longer than its deadline, and nothing is sent twice.
func TestCombinerOfSteps_NoLaneIsLost(t *testing.T) {
	const half = time.Second / 2
	synctest.Test(t, func(t *testing.T) {
		for round := range 200 {
			s := &slowWrites{takes: time.Second}
			c := s.combiner(time.Duration(1+rand.N(4)) * half)
			c.many = func(ctx context.Context, writes []step) []answer {
				if round%3 == 2 && rand.N(4) == 0 {
					panic("client")
				}
				return s.many(ctx, writes)
			}
			w := writing{combiner: c, t: t, server: s}
			for i := range 60 {
				key := strconv.Itoa(i)
				w.users.Go(func() {
					defer func() { _ = recover() }() // who sends has the panic
					time.Sleep(rand.N(time.Duration(6)) * half)
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rand.N(8))*half)
					defer cancel()
					if rand.N(3) == 0 {
						time.AfterFunc(rand.N(time.Duration(8))*half, cancel)
					}
					r := c.do(ctx, writeOf(key, 100))
					end, _ := ctx.Deadline()
					assert.False(t, time.Now().After(end))
					if r.Err == nil {
						w.stored(key)(r)
						assert.Equal(t, 1, s.sent(key))
					}
					assert.LessOrEqual(t, s.sent(key), 1)
				})
			}
			w.users.Wait()
			time.Sleep(10 * time.Second) // for what was sent for those who have left
			w.end()
		}
	})
}
