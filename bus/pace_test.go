package bus_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
)

// With these options, what takes a fleet of 1,000 by default takes one of 30: the interval that
// follows it is longer than HeartbeatTimeout.
const (
	set     = 30 * time.Millisecond
	timeout = 3 * set
	crowd   = 30
	follows = crowd * 6700 * time.Microsecond
)

// member is a process of a large fleet.
type member struct {
	*bus.Bus
	link  *line
	heard notes
}

// line is a transport that counts heartbeats, and loses what it is told to.
type line struct {
	bus.Transport
	sent   *atomic.Int64
	every  int         // each so manieth heartbeat is lost; 0: none
	n      int         // heartbeats; of the goroutine that sends
	cutOff atomic.Bool // nothing passes in either direction
}

func (l *line) Publish(ctx context.Context, payload []byte) error {
	if l.cutOff.Load() {
		return nil
	}
	if payload[2] == 2 { // the type of a heartbeat
		l.sent.Add(1)
		if l.n++; l.every > 0 && l.n%l.every == 0 {
			return nil
		}
	}
	return l.Transport.Publish(ctx, payload)
}

func (l *line) Receive(ctx context.Context, sink bus.Sink) error {
	deliver := sink.Deliver
	sink.Deliver = func(payload []byte) {
		if !l.cutOff.Load() {
			deliver(payload)
		}
	}
	return l.Transport.Receive(ctx, sink)
}

// fleet is a large one.
type fleet struct {
	t       *testing.T
	hub     *membus.Hub
	beats   atomic.Int64
	every   int // of the lines
	members []*member
}

// large runs test with a fleet that has stood for a while.
func large(t *testing.T, test func(t *testing.T, f *fleet)) {
	t.Helper()
	largeWith(t, 0, test)
}

func largeWith(t *testing.T, every int, test func(t *testing.T, f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, hub: membus.NewHub(), every: every}
		for range crowd {
			f.join(true)
			time.Sleep(rand.N(10 * time.Millisecond))
		}
		time.Sleep(2 * time.Second)
		test(t, f)
	})
}

// join adds a process. Older ones, and those without a journal, do not repair.
func (f *fleet) join(repairs bool) *member {
	f.t.Helper()
	m := &member{link: &line{Transport: f.hub.Join(), sent: &f.beats, every: f.every}}
	m.Bus = newBus(f.t, m.link, bus.Options{
		Node: fmt.Sprint("web-", len(f.members)), HeartbeatInterval: set, HeartbeatTimeout: timeout,
	})
	h := m.heard.handler()
	h.Repairs = repairs
	require.NoError(f.t, m.Subscribe(h))
	f.members = append(f.members, m)
	return m
}

// rate returns how many heartbeats all send each second.
func (f *fleet) rate(d time.Duration) float64 {
	before := f.beats.Load()
	time.Sleep(d)
	synctest.Wait()
	return float64(f.beats.Load()-before) / d.Seconds()
}

// undisturbed requires that nobody missed anything.
func (f *fleet) undisturbed() {
	f.t.Helper()
	for _, m := range f.members {
		s := m.Stats()
		require.Zero(f.t, s.Silences+s.Holes+s.Gaps, m.heard.take())
	}
}

func (f *fleet) intervals() (shortest, longest time.Duration) {
	shortest = time.Hour
	for _, m := range f.members {
		i := m.Stats().HeartbeatInterval
		shortest, longest = min(shortest, i), max(longest, i)
	}
	return shortest, longest
}

func TestPace_FollowsTheFleet(t *testing.T) {
	large(t, func(t *testing.T, f *fleet) {
		assert.InDelta(t, 150, f.rate(30*time.Second), 5)
		shortest, longest := f.intervals()
		assert.Equal(t, []time.Duration{follows, follows}, []time.Duration{shortest, longest})
		for _, m := range f.members[:crowd/2] {
			require.NoError(t, m.Close())
		}
		f.members = f.members[crowd/2:]
		assert.InDelta(t, 150, f.rate(30*time.Second), 5, "half of it")
		f.undisturbed()
	})
}

// TestPace_Lost: a single heartbeat that is lost makes nobody silent, also while the interval grows.
func TestPace_Lost(t *testing.T) {
	largeWith(t, 2, func(t *testing.T, f *fleet) {
		for range 5 {
			m := f.join(false)
			time.Sleep(time.Second)
			require.NoError(t, m.Close()) // the interval grows again
			f.members = f.members[:crowd]
			time.Sleep(rand.N(2 * time.Second))
		}
		f.undisturbed()
	})
}

// TestPace_ComeAndGo: with processes that come and go, nobody is taken for silent, and nothing for
// missing.
func TestPace_ComeAndGo(t *testing.T) {
	large(t, func(t *testing.T, f *fleet) {
		for range 40 {
			i := rand.N(len(f.members))
			require.NoError(t, f.members[i].Publish(t.Context(), deletion("k")))
			require.NoError(t, f.members[i].Close())
			f.members = append(f.members[:i], f.members[i+1:]...)
			require.NoError(t, f.join(true).Publish(t.Context(), deletion("k")))
			time.Sleep(rand.N(time.Second))
		}
		f.undisturbed()
	})
}

// TestPace_Newcomer: who comes into a large fleet hears some of it late. What they sent before is
// not missing.
func TestPace_Newcomer(t *testing.T) {
	large(t, func(t *testing.T, f *fleet) {
		for _, m := range f.members {
			require.NoError(t, m.Publish(t.Context(), deletion("k")))
		}
		f.join(true)
		time.Sleep(2 * time.Second)
		f.undisturbed()
	})
}

// TestPace_Older: while somebody listens who says nothing of the interval, heartbeats come as they
// are set, so that nobody is silent for it.
func TestPace_Older(t *testing.T) {
	large(t, func(t *testing.T, f *fleet) {
		for range 3 {
			old := f.join(false)
			assert.InDelta(t, (crowd+1)/set.Seconds(), f.rate(2*time.Second), 40, "one that is older came")
			f.undisturbed()
			assert.Len(t, old.Peers(), crowd)
			require.NoError(t, old.Close())
			f.members = f.members[:crowd]
			time.Sleep(2 * time.Second)
			assert.InDelta(t, 150, f.rate(10*time.Second), 8, "it left")
		}
		tool := newBus(t, f.hub.Join(), bus.Options{HeartbeatInterval: set, Tool: true})
		require.NoError(t, tool.Subscribe((&notes{}).handler()))
		time.Sleep(time.Second)
		assert.InDelta(t, 150, f.rate(10*time.Second), 8, "nobody counts on a tool")
		assert.Zero(t, tool.Stats().Silences, "which knows how long it has to wait")
		f.undisturbed()
	})
}

// TestPace_Dead: who died is silent after three of its intervals, and one of the others.
func TestPace_Dead(t *testing.T) {
	large(t, func(t *testing.T, f *fleet) {
		dead, other := f.members[0], f.members[1]
		dead.link.cutOff.Store(true)
		died := time.Now()
		for other.Stats().Silences == 0 {
			time.Sleep(set / 10)
			require.Less(t, time.Since(died), time.Minute)
		}
		assert.Greater(t, time.Since(died), 2*follows)
		assert.LessOrEqual(t, time.Since(died), 4*follows+set)
		time.Sleep(2 * time.Second)
		var silent int
		for _, p := range other.Peers() {
			if p.Silent {
				silent++
				assert.Equal(t, "web-0", p.Node)
			}
		}
		assert.Equal(t, 1, silent)

		dead.link.cutOff.Store(false) // it was only paused
		time.Sleep(2 * time.Second)
		for _, m := range f.members[1:] {
			assert.EqualValues(t, 1, m.Stats().Silences)
			assert.True(t, m.Stats().Connected)
			assert.Len(t, m.Peers(), crowd-1)
		}
		assert.InDelta(t, 150, f.rate(10*time.Second), 8)
	})
}

// TestPace_Barrier: a barrier asks who does not answer for a heartbeat. So a dead process costs it
// no more than in a small fleet, and a slow one is waited for.
func TestPace_Barrier(t *testing.T) {
	ask := func(t *testing.T, m *member) (answered int, took time.Duration) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		answered, err := m.Barrier(ctx, bus.BarrierOptions{})
		require.NoError(t, err)
		return answered, time.Since(began)
	}
	t.Run("all live", func(t *testing.T) {
		large(t, func(t *testing.T, f *fleet) {
			answered, took := ask(t, f.members[0])
			assert.Equal(t, crowd-1, answered)
			assert.Less(t, took, 10*time.Millisecond)
			answered, took = ask(t, f.join(true))
			assert.Equal(t, crowd, answered, "nobody was missed by one that has just come")
			assert.LessOrEqual(t, took, time.Second+set)
			f.undisturbed()
		})
	})
	t.Run("one died", func(t *testing.T) {
		large(t, func(t *testing.T, f *fleet) {
			f.members[1].link.cutOff.Store(true)
			answered, took := ask(t, f.members[0])
			assert.Equal(t, crowd-2, answered)
			assert.LessOrEqual(t, took, 3*follows+2*set+100*time.Millisecond)
		})
	})
	for name, c := range map[string]struct {
		answers func(ask int) bool // with a heartbeat
		died    bool
	}{
		"one that is rarely heard died":    {func(int) bool { return false }, true},
		"one that is rarely heard is slow": {func(ask int) bool { return ask%2 == 0 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub := membus.NewHub()
				m := &member{Bus: newBus(t, hub.Join(), bus.Options{})}
				require.NoError(t, m.Subscribe(m.heard.handler()))
				time.Sleep(5 * time.Second)
				rare := &stranger{t: t, transport: hub.Join(), incarnation: 77}
				says := func() { rare.send(bus.EncodeInterval("other", 77, 0, 1, 20*time.Second)) }
				for range 4 { // so it has listened for long enough to know of everybody
					says()
					time.Sleep(20 * time.Second)
				}
				says()
				asks := 0
				go func() { // ends with the context of the test, which the bubble waits for
					_ = hub.Join().Receive(t.Context(), bus.Sink{Ready: func() {}, Gap: func(error) {}, Deliver: func(payload []byte) {
						if payload[2] != 129 || !bytes.Contains(payload, []byte{0, 0, 0, 0, 0, 0, 0, 77}) {
							return
						}
						if asks++; c.answers(asks) {
							says()
						}
					}})
				}()
				time.Sleep(time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
				defer cancel()
				began := time.Now()
				_, err := m.Barrier(ctx, bus.BarrierOptions{})
				if c.died {
					require.NoError(t, err)
					assert.LessOrEqual(t, time.Since(began), 4*time.Second+200*time.Millisecond, "as in a small fleet")
				} else {
					assert.Equal(t, []string{"other"}, missing(t, err))
					assert.Zero(t, m.Stats().Silences)
				}
			})
		})
	}
	t.Run("one does not answer yet", func(t *testing.T) {
		large(t, func(t *testing.T, f *fleet) {
			slow := &party{slow: true, Bus: newBus(t, f.hub.Join(), bus.Options{HeartbeatInterval: set})}
			require.NoError(t, slow.Subscribe(bus.Handler{
				Apply: func(bus.Message) {}, Gap: func(error) {}, Barrier: slow.called, Repairs: true,
			}))
			time.Sleep(2 * time.Second)
			time.AfterFunc(10*time.Second, slow.hurry)
			answered, took := ask(t, f.members[0])
			assert.Equal(t, crowd, answered)
			assert.GreaterOrEqual(t, took, 10*time.Second)
			f.undisturbed()
		})
	})
}

// TestProbe: a subscription that is dead without saying so is found within HeartbeatTimeout when
// somebody suspects it, and later when nobody does.
func TestProbe(t *testing.T) {
	for name, c := range map[string]struct {
		probe       bool
		least, most time.Duration
	}{
		"suspected": {true, 0, timeout},
		"not":       {false, 2 * follows, 3 * follows},
	} {
		t.Run(name, func(t *testing.T) {
			large(t, func(t *testing.T, f *fleet) {
				m := f.members[0]
				m.Probe()
				time.Sleep(2 * time.Second)
				require.Zero(t, m.Stats().Gaps, "it is heard")
				m.link.cutOff.Store(true)
				began := time.Now()
				if c.probe {
					m.Probe()
				}
				for m.Stats().Gaps == 0 {
					time.Sleep(set / 10)
					if c.probe {
						m.Probe() // again, which puts nothing off
					}
					require.Less(t, time.Since(began), time.Minute)
				}
				assert.GreaterOrEqual(t, time.Since(began), c.least)
				assert.LessOrEqual(t, time.Since(began), c.most+set/10)
			})
		})
	}
}
