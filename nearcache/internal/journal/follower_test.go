package journal

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/nearcache/internal/generation"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

var errStopped = errors.New("stopped")

// scene is a follower with everything around it. It notes what happens in which order.
type scene struct {
	*Follower
	began time.Time

	mu      sync.Mutex // protects the fields below
	tails   [][]driver.Tail
	events  []string
	horizon [2]int64
	dropped bool

	deaf      atomic.Bool
	suspected atomic.Int64
	fleet     atomic.Int64
}

func newScene(t *testing.T) *scene {
	ctx, cancel := context.WithCancel(t.Context())
	s := &scene{began: time.Now(), dropped: true}
	s.fleet.Store(1)
	s.Follower = New(Config{
		Tier: s, Owner: s, Heads: make(generation.Heads, 2), Acked: generation.NewAcked(2),
		Proves: func() bool { return true }, OnBus: true, Interval: time.Second, MaxStaleness: 5 * time.Second,
		Deaf: s.deaf.Load, Suspect: func() { s.suspected.Add(1) }, RoundTrip: func() time.Duration { return time.Millisecond }, Fleet: func() int { return int(s.fleet.Load()) },
		Logger: slog.New(slog.DiscardHandler), Done: ctx, Stopped: errStopped,
	})
	var done sync.WaitGroup
	done.Go(s.Run)
	t.Cleanup(func() { cancel(); done.Wait() })
	return s
}

func (s *scene) note(event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, event)
}

// noted returns what happened since it was asked last.
func (s *scene) noted() (events []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	events, s.events = s.events, nil
	return events
}

func (s *scene) Partitions() int { return 2 }
func (s *scene) Now() int64      { return int64(time.Since(s.began)) + 1 }

// Tail answers with the next of tails, or else with the end of the journal.
func (s *scene) Tail(_ context.Context, reads []driver.TailRead) []driver.Tail {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tails) > 0 {
		next := s.tails[0]
		s.tails = s.tails[1:]
		return next
	}
	tails := make([]driver.Tail, len(reads))
	for i := range tails {
		tails[i].Next = reads[i].From
		tails[i].Next.Revision.Epoch = max(1, tails[i].Next.Revision.Epoch)
	}
	return tails
}

// horizons returns up to when this node has heard of every write, by partition.
func (s *scene) horizons() [2]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.horizon
}

func (s *scene) next(tails ...driver.Tail) {
	s.mu.Lock()
	s.tails = append(s.tails, tails)
	s.mu.Unlock()
	s.Trigger()
	synctest.Wait()
}

func (s *scene) Confirm(partition int, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.horizon[partition] = at
	if len(s.events) > 0 { // of a round with something to tell
		s.events = append(s.events, "confirmed")
	}
}
func (s *scene) Broke(int)                         { s.note("broke") }
func (s *scene) Reached(int, driver.Revision)      {}
func (s *scene) Deposed(int, driver.Revision) bool { return false }
func (s *scene) Restored()                         { s.note("restored") }

func (s *scene) Ended(time.Time, int, uint64, error) {}

func (s *scene) Arrive(bus.BarrierRequest)         { s.note("answered") }
func (s *scene) Flush([]bool, bool)                { s.note("flushed") }
func (s *scene) Apply(e *driver.JournalEntry) bool { s.note("applied " + e.Key); return s.dropped }

func at(epoch, number uint64) driver.Position {
	return driver.Position{Revision: driver.Revision{Epoch: epoch, Number: number}}
}

// TestFollower_Order: what was written is applied, and what was lost is flushed, before the
// horizon moves.
func TestFollower_Order(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		synctest.Wait()
		s.noted()
		s.next(driver.Tail{
			Next: at(1, 5), Entries: []driver.JournalEntry{{Key: "c:k", Revision: driver.Revision{Epoch: 1, Number: 5}}},
		}, driver.Tail{Next: at(1, 0)})
		assert.Equal(t, []string{"applied c:k", "confirmed", "confirmed"}, s.noted())
		assert.Equal(t, uint64(5), s.Applied(0).Number)
		s.next(driver.Tail{Next: at(2, 9), Reset: true}, driver.Tail{Next: at(1, 0)})
		assert.Equal(t, []string{"flushed", "confirmed", "confirmed"}, s.noted())
		assert.Equal(t, uint64(2), s.Epoch(0))
		assert.True(t, s.HasEpoch(1, 2))
		assert.False(t, s.HasEpoch(0, 2))
		assert.Equal(t, uint64(3), s.Losses(), "two epochs that were not known, and a new one")
	})
}

// TestFollower_OneJournalFails: the horizon of its partition stays, that of others moves.
func TestFollower_OneJournalFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		synctest.Wait()
		before := s.horizons()
		time.Sleep(100 * time.Millisecond)
		s.noted()
		s.next(driver.Tail{Err: shared.ErrUnavailable}, driver.Tail{Next: at(1, 0)})
		assert.Equal(t, []string{"broke", "confirmed"}, s.noted())
		require.ErrorIs(t, s.Err(), shared.ErrUnavailable)
		assert.Equal(t, before[0], s.horizons()[0])
		assert.Greater(t, s.horizons()[1], before[1])
		time.Sleep(time.Second)
		synctest.Wait()
		require.NoError(t, s.Err())
		assert.Equal(t, []string{"restored"}, s.noted())
	})
}

// TestFollower_Wait: who waits gets the answer of a round that began later, and leaves when
// its context or the follower ends.
func TestFollower_Wait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		synctest.Wait()
		require.NoError(t, s.Wait(t.Context(), func() bool { return false }))
		s.mu.Lock()
		s.tails = append(s.tails, []driver.Tail{{Err: shared.ErrUnavailable}, {Next: at(1, 0)}})
		s.mu.Unlock()
		require.ErrorIs(t, s.Wait(t.Context(), func() bool { return false }), shared.ErrUnavailable)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, s.Wait(ctx, func() bool { return ctx.Err() == nil }), context.Canceled)
	})
}

// TestFollower_QuestionIsAnsweredByALaterRound: a round that had begun may have read before
// what the question is about was written.
func TestFollower_QuestionIsAnsweredByALaterRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		synctest.Wait()
		s.noted()
		s.Ask(bus.BarrierRequest{})
		s.Ask(bus.BarrierRequest{}) // the same again
		synctest.Wait()
		assert.Equal(t, []string{"answered"}, s.noted()[:1])
		time.Sleep(10 * time.Second)
		assert.NotContains(t, s.noted(), "answered")
	})
}

// TestFollower_Repaired counts what the journal told of and the bus did not.
func TestFollower_Repaired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		synctest.Wait()
		entries := []driver.JournalEntry{
			{Key: "c:a", Revision: driver.Revision{Epoch: 1, Number: 5}},
			{Key: "c:b", Revision: driver.Revision{Epoch: 1, Number: 6}},
		}
		s.next(driver.Tail{Next: at(1, 6), Entries: entries}, driver.Tail{Next: at(1, 0)})
		s.Heard("c", 5)
		assert.Zero(t, s.Stats().Repaired, "the bus has a moment")
		time.Sleep(busGrace)
		assert.Equal(t, uint64(1), s.Stats().Repaired)
	})
}

// TestFollower_HeardBefore: what the bus told of first is not repaired, and the journal ends the
// note of it. Notes that it never ends are few.
func TestFollower_HeardBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		synctest.Wait()
		s.Heard("c", 0) // as plain text has it
		s.Heard("c", 5)
		s.Wrote("c", 6)
		s.Heard("c", 6) // its echo
		entries := []driver.JournalEntry{
			{Key: "c:a", Revision: driver.Revision{Epoch: 1, Number: 5}},
			{Key: "c:b", Revision: driver.Revision{Epoch: 1, Number: 6}},
			{Key: "c:lost", Revision: driver.Revision{Epoch: 1, Number: 7}},
		}
		s.next(driver.Tail{Next: at(1, 7), Entries: entries}, driver.Tail{Next: at(1, 0)})
		time.Sleep(2 * busGrace)
		assert.Equal(t, uint64(1), s.Stats().Repaired)
		assert.Empty(t, s.unheard.heard)

		const last = 10 * maxHeard
		for n := range uint64(last) {
			s.Heard("c", n+1)
		}
		assert.LessOrEqual(t, len(s.unheard.heard)+len(s.unheard.older), 2*maxHeard)
		for _, n := range []uint64{last, last - maxHeard} {
			heard, _ := s.unheard.add(write{"c", n}, s.Now())
			assert.True(t, heard, n)
		}

		time.Sleep(3 * heardGrace)
		s.Stats()
		assert.Empty(t, s.unheard.heard)
		assert.Empty(t, s.unheard.older)
	})
}

// TestFollower_OwnWritesAreNotRepaired: the journal may tell of a write before it is answered,
// or just after that, when the near tier has not taken the answer in yet.
func TestFollower_OwnWritesAreNotRepaired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		synctest.Wait()
		entries := []driver.JournalEntry{
			{Key: "c:a", Revision: driver.Revision{Epoch: 1, Number: 5}},
			{Key: "c:b", Revision: driver.Revision{Epoch: 1, Number: 6}},
		}
		s.Wrote("c", 5)
		s.next(driver.Tail{Next: at(1, 6), Entries: entries}, driver.Tail{Next: at(1, 0)})
		s.Wrote("c", 6)
		time.Sleep(3 * busGrace)
		assert.Zero(t, s.Stats().Repaired)
		assert.Empty(t, s.unheard.writes)
	})
}
