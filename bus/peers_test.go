package bus_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
)

// stranger sends what a process with this incarnation would.
type stranger struct {
	t           *testing.T
	transport   *membus.Transport
	incarnation uint64
}

func (s *stranger) send(payload []byte) {
	s.t.Helper()
	require.NoError(s.t, s.transport.Publish(s.t.Context(), payload))
}

func (s *stranger) message(sequence uint64) {
	s.t.Helper()
	s.send(bus.Encode(bus.Message{
		Node: "other", Incarnation: s.incarnation, Sequence: sequence,
		Invalidations: []bus.Invalidation{{Op: bus.OpSet, Cache: "users", Key: "42"}},
	}))
}

func (s *stranger) heartbeat(latest uint64) {
	s.t.Helper()
	s.send(bus.EncodeHeartbeat("other", s.incarnation, latest, 1))
}

func (s *stranger) goodbye(latest uint64) {
	s.t.Helper()
	s.send(bus.EncodeGoodbye("other", s.incarnation, latest))
}

const (
	hole   = "gap: bus: a message of another process is missing"
	silent = `gap: bus: another process has fallen silent: "other"`
)

// heard runs test with a subscriber that is ready, and a stranger.
func heard(t *testing.T, test func(t *testing.T, b *bus.Bus, n *notes, s *stranger)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		link := newScript()
		hub := membus.NewHub()
		link.Transport = hub.Join()
		link.publish, link.receive = link.Transport.Publish, link.Transport.Receive
		b, n := subscribed(t, link)
		time.Sleep(10 * time.Millisecond)
		require.Equal(t, []string{"ready"}, n.take())
		test(t, b, n, &stranger{t: t, transport: hub.Join(), incarnation: 77})
	})
}

// noted returns the gaps and readies of a moment.
func noted(n *notes) (events []string) {
	time.Sleep(10 * time.Millisecond)
	for _, event := range n.take() {
		if event == "ready" || event == hole || event == silent {
			events = append(events, event)
		}
	}
	return events
}

func TestPeers_Holes(t *testing.T) {
	for name, c := range map[string]struct {
		send func(s *stranger)
		want []string
	}{
		"none":                         {func(s *stranger) { s.message(1); s.message(2); s.heartbeat(2); s.message(3) }, nil},
		"repeated":                     {func(s *stranger) { s.message(1); s.message(1); s.message(2); s.message(1); s.heartbeat(2) }, nil},
		"between messages":             {func(s *stranger) { s.message(1); s.message(3) }, []string{hole}},
		"reordered":                    {func(s *stranger) { s.message(2); s.message(1); s.message(3) }, nil},
		"reordered later":              {func(s *stranger) { s.message(1); s.message(3); s.message(2); s.message(4) }, []string{hole}},
		"the last message":             {func(s *stranger) { s.message(1); s.heartbeat(2) }, []string{hole}},
		"before a goodbye":             {func(s *stranger) { s.message(1); s.goodbye(2) }, []string{hole}},
		"none before a goodbye":        {func(s *stranger) { s.message(1); s.goodbye(1) }, nil},
		"first heard late":             {func(s *stranger) { s.message(100); s.message(101); s.heartbeat(101) }, nil},
		"first heard by its heartbeat": {func(s *stranger) { s.heartbeat(100); s.message(101) }, nil},
		"announced by a store":         {func(s *stranger) { s.message(0); s.message(5); s.message(0); s.message(6) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			heard(t, func(t *testing.T, b *bus.Bus, n *notes, s *stranger) {
				c.send(s)
				assert.Equal(t, c.want, noted(n))
				assert.EqualValues(t, len(c.want), b.Stats().Holes)
			})
		})
	}
}

// TestPeers_Newcomer: who is first heard long after the subscription was made
// must begin at the beginning.
func TestPeers_Newcomer(t *testing.T) {
	for name, c := range map[string]struct {
		send func(s *stranger)
		want []string
	}{
		"first message":    {func(s *stranger) { s.message(1) }, nil},
		"first heartbeat":  {func(s *stranger) { s.heartbeat(0); s.message(1) }, nil},
		"second message":   {func(s *stranger) { s.message(2) }, []string{hole}},
		"heartbeat of one": {func(s *stranger) { s.heartbeat(1) }, []string{hole}},
		"of two":           {func(s *stranger) { s.message(2); s.message(3); s.heartbeat(3) }, []string{hole}},
	} {
		t.Run(name, func(t *testing.T) {
			heard(t, func(t *testing.T, _ *bus.Bus, n *notes, s *stranger) {
				time.Sleep(10 * time.Second)
				require.Empty(t, noted(n))
				c.send(s)
				assert.Equal(t, c.want, noted(n))
			})
		})
	}
}

// TestHazard20_Silence: a process that is not heard any more may be sending
// what does not come here.
func TestHazard20_Silence(t *testing.T) {
	t.Run("is a gap, once", func(t *testing.T) {
		heard(t, func(t *testing.T, b *bus.Bus, n *notes, s *stranger) {
			s.heartbeat(0)
			time.Sleep(10 * time.Second)
			assert.Equal(t, []string{silent, "ready"}, noted(n))
			time.Sleep(time.Minute)
			assert.Empty(t, noted(n))
			assert.EqualValues(t, 1, b.Stats().Silences)
		})
	})
	t.Run("and so is its end, if something was sent", func(t *testing.T) {
		heard(t, func(t *testing.T, _ *bus.Bus, n *notes, s *stranger) {
			s.message(1)
			time.Sleep(10 * time.Second)
			assert.Equal(t, []string{silent, "ready"}, noted(n))
			s.heartbeat(3)
			assert.Equal(t, []string{hole}, noted(n))
		})
	})
	t.Run("after a goodbye is none", func(t *testing.T) {
		heard(t, func(t *testing.T, _ *bus.Bus, n *notes, s *stranger) {
			s.message(1)
			s.goodbye(1)
			time.Sleep(10 * time.Second)
			assert.Empty(t, noted(n))
		})
	})
	t.Run("names some of many", func(t *testing.T) {
		heard(t, func(t *testing.T, _ *bus.Bus, n *notes, s *stranger) {
			for i := range uint64(6) {
				s.send(bus.EncodeHeartbeat(fmt.Sprint("web-", i), i+1, 0, 1))
			}
			time.Sleep(10 * time.Second)
			assert.Contains(t, n.take(), `gap: bus: another process has fallen silent: "web-0", "web-1", "web-2", "web-3" and 2 more`)
		})
	})
	t.Run("does not begin while a store announces for it", func(t *testing.T) {
		heard(t, func(t *testing.T, _ *bus.Bus, n *notes, s *stranger) {
			s.heartbeat(0)
			for range 20 {
				time.Sleep(time.Second)
				s.message(0)
			}
			assert.Empty(t, noted(n), "it is heard")
		})
	})
}

// TestPeers_Bus: what a Bus sends is without holes for another, up to its
// goodbye.
func TestPeers_Bus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := membus.NewHub()
		a, err := bus.New(hub.Join(), bus.Options{})
		require.NoError(t, err)
		n := &notes{}
		require.NoError(t, a.Subscribe(n.handler()))
		b, err := bus.New(hub.Join(), bus.Options{})
		require.NoError(t, err)
		for range 30 {
			time.Sleep(300 * time.Millisecond)
			require.NoError(t, b.Publish(t.Context(), bus.Invalidation{Op: bus.OpSet, Cache: "users", Key: "42"}))
		}
		require.NoError(t, b.Close())
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"ready"}, noted(n))
		assert.Zero(t, a.Stats().Holes+a.Stats().Silences)
		require.NoError(t, a.Close())
	})
}

// TestPeers_Bounded: any number of processes may be heard.
func TestPeers_Bounded(t *testing.T) {
	heard(t, func(t *testing.T, b *bus.Bus, n *notes, s *stranger) {
		for i := range uint64(3 * bus.MaxPeers) {
			s.incarnation = 1000 + i
			s.heartbeat(0)
			if i%1000 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		assert.Empty(t, noted(n))
		s.message(1)
		s.message(2)
		assert.Empty(t, noted(n), "the latest are known")
		assert.Zero(t, b.Stats().Holes)
	})
}

// TestPeers_ReadOnly: who publishes nothing is not missed when it falls silent, unless it did
// publish, and what it says holds for its latest heartbeat.
func TestPeers_ReadOnly(t *testing.T) {
	for name, c := range map[string]struct {
		says func(s *stranger)
		want []string
	}{
		"nothing published": {func(s *stranger) { s.send(bus.EncodeReadOnly("other", s.incarnation, 0, 1)) }, nil},
		"published all the same": {func(s *stranger) {
			s.send(bus.EncodeReadOnly("other", s.incarnation, 0, 1))
			s.message(1)
		}, []string{silent, "ready"}},
		"not any more": {func(s *stranger) {
			s.send(bus.EncodeReadOnly("other", s.incarnation, 0, 1))
			s.heartbeat(0)
		}, []string{silent, "ready"}},
		"it never said so": {func(s *stranger) { s.heartbeat(0) }, []string{silent, "ready"}},
	} {
		t.Run(name, func(t *testing.T) {
			heard(t, func(t *testing.T, _ *bus.Bus, n *notes, s *stranger) {
				c.says(s)
				assert.Empty(t, noted(n))
				time.Sleep(10 * time.Second)
				assert.Equal(t, c.want, noted(n))
			})
		})
	}
}
