package shared_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

var (
	errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	errTimeout = &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}
)

// flaky is a store behind a bad connection. It is for one goroutine.
type flaky struct {
	*memstore.Store

	lost     []error       // what the next calls fail with, on the way there
	unheard  []error       // what the next calls fail with, on the way back
	ahead    time.Duration // of the server's clock, which half an answer told
	partial  int           // the next reads fail for all keys but this many
	leave    func()        // called by reads, which then fail as their context does
	attempts int
	at       []time.Time
	sent     []driver.Write
	asked    []driver.Lease
}

func newFlaky() *flaky { return &flaky{Store: memstore.New(memstore.Options{})} }

func next(errs *[]error) error {
	if len(*errs) == 0 {
		return nil
	}
	err := (*errs)[0]
	*errs = (*errs)[1:]
	return err
}

func (s *flaky) attempt() error {
	s.attempts++
	s.at = append(s.at, time.Now())
	return next(&s.lost)
}

func (s *flaky) Proves() bool { return false } // its reads are those of Read

func (s *flaky) Read(ctx context.Context, keys []string) ([][]byte, error) {
	if err := s.attempt(); err != nil {
		return nil, err
	}
	if s.leave != nil {
		s.leave()
		return nil, ctx.Err()
	}
	images, err := s.Store.Read(ctx, keys)
	if s.partial > 0 {
		errs := make([]error, len(keys))
		for i := s.partial; i < len(keys); i++ {
			images[i], errs[i] = nil, errRefused
		}
		s.partial = 0
		return images, driver.Partial(errs)
	}
	return images, err
}

func (s *flaky) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	receipts := make([]driver.Receipt, len(writes))
	for i := range writes {
		receipts[i] = s.write(ctx, writes[i], func(w driver.Write) driver.Receipt {
			return s.Store.Write(ctx, []driver.Write{w})[0]
		})
	}
	return receipts
}

func (s *flaky) Fill(ctx context.Context, writes []driver.Write) []driver.Receipt {
	receipts := make([]driver.Receipt, len(writes))
	for i := range writes {
		receipts[i] = s.write(ctx, writes[i], func(w driver.Write) driver.Receipt {
			return s.Store.Fill(ctx, []driver.Write{w})[0]
		})
	}
	return receipts
}

func (s *flaky) write(_ context.Context, w driver.Write, store func(driver.Write) driver.Receipt) driver.Receipt {
	s.sent = append(s.sent, w)
	if err := s.attempt(); err != nil {
		return driver.Receipt{Err: err}
	}
	r := store(w)
	if err := next(&s.unheard); err != nil {
		return driver.Receipt{Err: err, Now: time.Now().Add(s.ahead)}
	}
	return r
}

func (s *flaky) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	grants := make([]driver.Grant, len(leases))
	for i, l := range leases {
		s.asked = append(s.asked, l)
		if grants[i].Err = s.attempt(); grants[i].Err != nil {
			continue
		}
		grants[i] = s.Store.Acquire(ctx, []driver.Lease{l})[0]
		if lost := next(&s.unheard); lost != nil {
			grants[i] = driver.Grant{Err: lost}
		}
	}
	return grants
}

func (s *flaky) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	if err := s.attempt(); err != nil {
		return []driver.Tail{{Err: err}}
	}
	return s.Store.Tail(ctx, reads)
}

// again is a call that fails for a while, and then is as if nothing had been.
func again(t *testing.T, opts shared.Options, errs ...error) (*flaky, error) {
	t.Helper()
	store := newFlaky()
	tier := newTier(t, store, opts)
	require.NoError(t, tier.Set(t.Context(), "key", []byte("v"), 0))
	store.attempts, store.at, store.lost = 0, nil, errs
	got, err := tier.Get(t.Context(), "key")
	if err == nil {
		assert.Equal(t, "v", string(got))
	}
	assert.EqualValues(t, max(0, store.attempts-1), tier.Stats().Retries)
	return store, err
}

func TestAttempts_ConnectionThatFails(t *testing.T) {
	for name, failure := range map[string]error{
		"refused":   errRefused,
		"reset":     fmt.Errorf("driver: read: %w", syscall.ECONNRESET),
		"timeout":   errTimeout,
		"ended":     fmt.Errorf("driver: read: %w", io.EOF),
		"cut short": io.ErrUnexpectedEOF,
		"closed":    net.ErrClosed,
		"not ready": fmt.Errorf("driver: LOADING: %w", shared.ErrUnavailable),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, err := again(t, shared.Options{}, failure, failure)
				require.NoError(t, err)
				assert.Equal(t, 3, store.attempts)
				store, err = again(t, shared.Options{}, failure, failure, failure, failure)
				require.ErrorIs(t, err, failure)
				assert.Equal(t, 3, store.attempts, "the default is a limit")
				store, err = again(t, shared.Options{Attempts: 1}, failure)
				require.ErrorIs(t, err, failure)
				assert.Equal(t, 1, store.attempts)
			})
		})
	}
}

// TestAttempts_AnswersAreFinal: what the server refused it would refuse again.
func TestAttempts_AnswersAreFinal(t *testing.T) {
	for _, failure := range []error{
		shared.ErrTooLarge, shared.ErrLeaseLost, shared.ErrInvalidKey, shared.ErrClosed, shared.ErrNewerFormat,
		errors.New("NOPERM"), context.Canceled, context.DeadlineExceeded, fmt.Errorf("driver: %w", context.DeadlineExceeded),
	} {
		t.Run(failure.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, err := again(t, shared.Options{}, failure)
				require.ErrorIs(t, err, failure)
				assert.Equal(t, 1, store.attempts)
			})
		})
	}
}

func TestAttempts_PausesGrow(t *testing.T) {
	var firsts []time.Duration
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			store, err := again(t, shared.Options{Attempts: 6, Timeout: time.Minute}, errRefused, errRefused, errRefused, errRefused, errRefused)
			require.NoError(t, err)
			firsts = append(firsts, store.at[1].Sub(store.at[0]))
			for i := range store.at[1:] {
				pause := store.at[i+1].Sub(store.at[i])
				about := min(10*time.Millisecond<<i, 200*time.Millisecond)
				assert.InDelta(t, about, pause, float64(about)/2+1)
			}
		})
	}
	for _, first := range firsts[1:] {
		if first != firsts[0] {
			return
		}
	}
	t.Error("pauses have no jitter")
}

func TestAttempts_AreBoundedInTime(t *testing.T) {
	for name, c := range map[string]struct{ timeout, caller time.Duration }{
		"by Options.Timeout": {20 * time.Millisecond, time.Hour},
		"by the caller":      {time.Second, 20 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newFlaky()
				tier := newTier(t, store, shared.Options{Timeout: c.timeout, Attempts: 10})
				require.NoError(t, tier.Set(t.Context(), "key", nil, 0))
				for range 10 {
					store.lost = append(store.lost, errRefused)
				}
				ctx, cancel := context.WithTimeout(t.Context(), c.caller)
				defer cancel()
				began := time.Now()
				_, err := tier.Get(ctx, "key")
				require.ErrorIs(t, err, syscall.ECONNREFUSED)
				assert.LessOrEqual(t, time.Since(began), 20*time.Millisecond)
				assert.Less(t, store.attempts, 5)
			})
		})
	}
	t.Run("the caller leaves", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := newFlaky()
			tier := newTier(t, store, shared.Options{})
			require.NoError(t, tier.Set(t.Context(), "key", nil, 0))
			for _, call := range []func(context.Context) error{
				func(ctx context.Context) error { _, err := tier.Get(ctx, "key"); return err },
				func(ctx context.Context) error { return tier.Set(ctx, "key", nil, 0) },
			} {
				ctx, cancel := context.WithCancel(t.Context())
				store.lost, store.attempts = []error{errRefused, errRefused}, 0
				time.AfterFunc(time.Millisecond, cancel)
				err := call(ctx)
				require.ErrorIs(t, err, context.Canceled)
				require.ErrorIs(t, err, syscall.ECONNREFUSED)
				assert.Equal(t, 1, store.attempts)
			}
		})
	})
}

// TestHazard5_ARetryIsTheSameWrite: its answer was lost, so it is sent again,
// with its id and its deadline. The store knows it again.
func TestHazard5_ARetryIsTheSameWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFlaky()
		tier := newTier(t, store, shared.Options{})
		from := tier.Tail(t.Context(), []driver.TailRead{{Limit: 10}})[0].Next
		store.attempts, store.unheard, store.ahead = 0, []error{io.EOF, io.EOF}, 50*time.Millisecond
		r := tier.Write(t.Context(), []shared.Put{put("key")})[0]
		require.NoError(t, r.Err)
		require.Len(t, store.sent, 3)
		for _, w := range store.sent[1:] {
			assert.Equal(t, store.sent[0].NotAfter, w.NotAfter)
			assert.Equal(t, store.sent[0].Image[driver.NonceOffset:], w.Image[driver.NonceOffset:])
		}
		found, err := tier.Read(t.Context(), []string{"key"})
		require.NoError(t, err)
		assert.Equal(t, found[0].Revision, r.Revision)
		tail := tier.Tail(t.Context(), []driver.TailRead{{From: from, Limit: 10}})[0]
		assert.Len(t, tail.Entries, 1, "it was carried out once")
	})
}

// TestHazard5_AValueIsNotSentAgainOnTopOfItself: after a timeout of the client
// the first attempt may still be on its way, and come after what others write
// when the second has been answered.
func TestHazard5_AValueIsNotSentAgainOnTopOfItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFlaky()
		tier := newTier(t, store, shared.Options{})
		require.NoError(t, tier.Set(t.Context(), "key", nil, 0))
		store.attempts, store.lost = 0, []error{errTimeout}
		require.ErrorIs(t, tier.Set(t.Context(), "key", nil, 0), errTimeout)
		assert.Equal(t, 1, store.attempts)
		store.attempts, store.lost = 0, []error{errTimeout}
		require.NoError(t, tier.Delete(t.Context(), "key"), "a tombstone does no harm")
		assert.Equal(t, 2, store.attempts)
	})
}

func TestAttempts_OnlyWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFlaky()
		tier := newTier(t, store, shared.Options{})
		require.NoError(t, tier.Set(t.Context(), "z", nil, 0))
		store.sent, store.lost = nil, []error{nil, errRefused, errors.New("NOPERM"), nil, errRefused}
		receipts := tier.Write(t.Context(), []shared.Put{put("a"), put("b"), put("c"), put("d")})
		assert.Equal(t, []string{"a", "b", "c", "d", "b", "b"}, keysOf(store.sent))
		require.EqualError(t, receipts[2].Err, "NOPERM")
		receipts[2].Err = nil
		for i, r := range receipts {
			require.NoError(t, r.Err)
			assert.Equal(t, i != 2, r.Revision.Number != 0, i)
		}

		store.partial = 2
		found, err := tier.Read(t.Context(), []string{"a", "z", "b", "c", "d"})
		require.NoError(t, err)
		for i, want := range []string{"value of a", "", "value of b", "", "value of d"} {
			assert.Equal(t, want, string(found[i].Value), i)
		}
		require.NoError(t, found[4].Err, "it was read by the second attempt")
		require.ErrorIs(t, found[3].Err, shared.ErrNotFound)
	})
}

func TestAttempts_Leases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFlaky()
		tier := newTier(t, store, shared.Options{})
		store.unheard = []error{io.EOF}
		claim := []shared.Claim{{Key: "key", Token: 7}}
		got := tier.Acquire(t.Context(), claim)[0]
		require.NoError(t, got.Err)
		assert.Equal(t, driver.LeaseGranted, got.Status, "its own lease, of the first attempt, does not hold it up")
		store.unheard = []error{io.EOF}
		require.NoError(t, tier.Renew(t.Context(), claim)[0])
		p := put("key")
		p.Record.Nonce = 7
		store.unheard = []error{io.EOF}
		r := tier.Fill(t.Context(), []shared.Put{p})[0]
		require.NoError(t, r.Err, "the lease is gone because of the first attempt")
		assert.NotZero(t, r.Revision)
		assert.EqualValues(t, 3, tier.Stats().Retries)
	})
}

// TestAttempts_SomeLeases: of a batch, only those that no server answered are asked
// for again, with the same token and deadline.
func TestAttempts_SomeLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFlaky()
		tier := newTier(t, store, shared.Options{})
		require.NoError(t, tier.Set(t.Context(), "there", []byte("v"), 0))
		claims := []shared.Claim{
			{Key: "a", Token: 1}, {Key: "", Token: 2}, {Key: "b", Token: 3}, {Key: "there", Token: 4}, {Key: "c", Token: 5},
		}
		store.lost = []error{nil, errRefused, nil, errors.New("NOPERM"), errRefused}
		got := tier.Acquire(t.Context(), claims)
		var keys []string
		for _, l := range store.asked {
			keys = append(keys, l.Key)
			assert.Equal(t, store.asked[0].NotAfter, l.NotAfter)
		}
		assert.Equal(t, []string{"a", "b", "there", "c", "b", "b"}, keys)
		assert.Equal(t, store.asked[1].Image, store.asked[5].Image, "the same token")
		require.ErrorIs(t, got[1].Err, shared.ErrInvalidKey)
		require.EqualError(t, got[4].Err, "NOPERM")
		for _, i := range []int{0, 2} {
			require.NoError(t, got[i].Err)
			assert.Equal(t, driver.LeaseGranted, got[i].Status)
		}
		assert.Equal(t, driver.LeasePresent, got[3].Status)
		assert.Equal(t, "v", string(got[3].Present.Value))

		store.lost = []error{errRefused, nil, nil}
		errs := tier.Renew(t.Context(), []shared.Claim{claims[0], claims[4]})
		require.NoError(t, errs[0])
		require.ErrorIs(t, errs[1], shared.ErrLeaseLost)
		for _, err := range tier.Release(t.Context(), []shared.Claim{claims[0], claims[2], claims[4]}) {
			require.NoError(t, err)
		}
		require.ErrorIs(t, tier.Renew(t.Context(), claims[2:3])[0], shared.ErrLeaseLost, "it was given back")

		store.lost = slices.Repeat([]error{errRefused}, 100)
		for _, g := range tier.Acquire(t.Context(), []shared.Claim{claims[0], claims[2]}) {
			require.ErrorIs(t, g.Err, errRefused)
			assert.Zero(t, g.Status)
		}
	})
}

// TestAttempts_NotOfTheJournal: who reads it has a loop and a deadline of its own.
func TestAttempts_NotOfTheJournal(t *testing.T) {
	store := newFlaky()
	tier := newTier(t, store, shared.Options{})
	store.lost = []error{errRefused}
	require.ErrorIs(t, tier.Tail(t.Context(), []driver.TailRead{{Limit: 1}})[0].Err, errRefused)
	assert.Equal(t, 1, store.attempts)
}
