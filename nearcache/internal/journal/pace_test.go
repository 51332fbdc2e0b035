package journal

import (
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/nearbus/nearbus/shared/driver"
)

// in returns how many rounds there are within d.
func (s *scene) in(d time.Duration) uint64 {
	before := s.Stats().Rounds
	time.Sleep(d)
	synctest.Wait()
	return s.Stats().Rounds - before
}

func TestPace_HurriesWhileTheBusIsNotHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		synctest.Wait()
		assert.InDelta(t, 11, s.in(10*time.Second), 2, "the bus is heard")
		s.deaf.Store(true)
		s.Trigger() // as a gap does
		synctest.Wait()
		for _, c := range []struct {
			fleet   int64
			longest time.Duration // from round to round
		}{{1, Hurried}, {8, Hurried}, {20, 100 * time.Millisecond}, {100, 500 * time.Millisecond}, {10_000, time.Second}} {
			s.fleet.Store(c.fleet)
			s.in(time.Second)
			rounds := s.in(100 * time.Second)
			assert.GreaterOrEqual(t, rounds, uint64(100*time.Second/c.longest)-1, c.fleet)
			assert.LessOrEqual(t, rounds, uint64(100*time.Second/(c.longest*3/4))+1, c.fleet)
		}
		s.deaf.Store(false)
		s.fleet.Store(1)
		s.in(time.Second)
		assert.InDelta(t, 11, s.in(10*time.Second), 2, "the bus is heard again")
	})
}

// TestPace_SuspectsABusThatDoesNotTell: a bus that is half-open is noticed by the first entry of
// the journal of which it does not tell.
func TestPace_SuspectsABusThatDoesNotTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		synctest.Wait()
		entry := func(number uint64) {
			s.next(driver.Tail{Next: at(1, number), Entries: []driver.JournalEntry{
				{Key: "c:k", Revision: driver.Revision{Epoch: 1, Number: number}},
			}}, driver.Tail{Next: at(1, 0)})
		}
		entry(1)
		time.Sleep(lateNews / 2)
		s.Heard("c", 1)
		assert.InDelta(t, 11, s.in(10*time.Second), 2, "the bus told a little later")
		assert.Zero(t, s.suspected.Load())

		entry(2)
		before := s.Stats().Rounds
		time.Sleep(lateNews + Hurried)
		synctest.Wait()
		assert.GreaterOrEqual(t, s.Stats().Rounds, before+1, "nothing came")
		assert.Positive(t, s.suspected.Load(), "the bus is checked at once")
		assert.GreaterOrEqual(t, s.in(5*time.Second), uint64(5*time.Second/Hurried))
		s.in(suspicion)
		assert.InDelta(t, 11, s.in(10*time.Second), 2, "nothing was late any more")
	})
}

func TestPace_RetriesSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		synctest.Wait()
		s.mu.Lock()
		for range 1000 {
			s.tails = append(s.tails, []driver.Tail{{Err: syscall.ECONNREFUSED}, {Err: syscall.ECONNREFUSED}})
		}
		s.mu.Unlock()
		s.Trigger()
		synctest.Wait()
		s.in(time.Second)
		assert.InDelta(t, time.Second/Hurried, s.in(time.Second), 1, "the server is away")
		s.mu.Lock()
		s.tails = nil
		s.mu.Unlock()
		assert.GreaterOrEqual(t, s.in(Hurried), uint64(1))
		assert.NoError(t, s.Err())
		assert.InDelta(t, 11, s.in(10*time.Second), 2, "it is back")
	})
}
