package near

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Tick is the resolution of the tier's clock.
const Tick = 10 * time.Millisecond

const (
	// wakeTicks is how many times the clock ticks before it goes to sleep.
	wakeTicks = 100

	// nap is how often a clock that sleeps compares itself with the wall.
	nap = time.Second

	// asleep is what a clock shows that sleeps. Every entry has ended by then, so
	// that who forgot to wake the clock would find none.
	asleep = math.MaxInt64

	// jump is how much more time must pass on the wall than here to be taken for
	// a sleep of the machine. Clocks on walls are adjusted by less.
	jump = time.Second
)

// clock is the time since a base, which costs readers next to nothing because a
// goroutine moves it. Once in a while it goes to sleep, and who finds it asleep
// wakes it: a clock that nobody reads need not tick, and one that does not tick
// is never read.
type clock struct {
	base time.Time
	lag  atomic.Int64  // longest time beyond a Tick in which it stood
	woke chan struct{} // from who woke it

	mu   sync.Mutex // protects the next two, and that now is set
	last int64      // when it was compared with the wall
	wall time.Time  // which showed this

	now atomic.Int64 // at most a Tick and a scheduling delay old; or asleep
}

func (c *clock) init(wall time.Time) {
	c.base, c.wall, c.woke = time.Now(), wall.Round(0), make(chan struct{}, 1)
	c.last = 1 // so that an expiry of 1 is past and 0 can mean none
	c.now.Store(c.last)
}

// Now returns the time on the tier's clock, exactly.
func (t *Tier) Now() int64 { return 1 + int64(time.Since(t.clock.base)) }

// coarse returns the time, at most a Tick and a scheduling delay late, to those
// who judge an entry by it. No lock of a stripe may be held.
func (t *Tier) coarse() int64 {
	if now := t.clock.now.Load(); now != asleep {
		return now
	}
	return t.wake()
}

// coarseLocked is coarse for those who hold the lock of a stripe, or who look at entries for nobody
// that reads them. It wakes nobody.
func (t *Tier) coarseLocked() int64 {
	if now := t.clock.now.Load(); now != asleep {
		return now
	}
	return t.Now()
}

func (t *Tier) wake() int64 {
	c := &t.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now.Load(); now != asleep {
		return now
	}
	t.lookLocked()
	c.now.Store(c.last)
	select {
	case c.woke <- struct{}{}:
	default:
	}
	return c.last
}

// lookLocked reads the time, and makes every entry invalid if more has passed
// outside since the last look.
func (t *Tier) lookLocked() {
	c := &t.clock
	now, wall := t.Now(), t.conf.Wall().Round(0) // without the monotonic reading
	passed, outside := time.Duration(now-c.last), wall.Sub(c.wall)
	c.last, c.wall = now, wall
	if outside-passed > jump {
		t.Jump()
	}
}

func (t *Tier) runClock() {
	defer t.done.Done()
	ticker := time.NewTicker(Tick)
	defer ticker.Stop()
	for ticks := 0; ; {
		select {
		case <-t.stop:
			return
		case <-t.clock.woke:
			ticks = 0
			ticker.Reset(Tick)
		case <-ticker.C:
			if ticks++; ticks == wakeTicks {
				ticker.Reset(nap)
			}
			t.tick(ticks >= wakeTicks)
		}
	}
}

// tick moves the clock on, or sends it to sleep.
func (t *Tier) tick(sleeps bool) {
	c := &t.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	before, awake := c.last, c.now.Load() != asleep
	t.lookLocked()
	if lag := c.last - before - int64(Tick); awake && lag > c.lag.Load() {
		c.lag.Store(lag)
	}
	if sleeps {
		c.now.Store(asleep)
	} else {
		c.now.Store(c.last)
	}
}
