package bus_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
)

// observer notes what a subscriber is told of other processes.
type observer struct {
	*bus.Bus

	mu       sync.Mutex // protects the following fields
	changes  int
	settings []bus.Setting
	digest   uint64
}

func observe(t *testing.T, hub *membus.Hub, node string) *observer {
	t.Helper()
	o := &observer{Bus: newBus(t, hub.Join(), bus.Options{Node: node})}
	require.NoError(t, o.Subscribe(bus.Handler{
		Apply: func(bus.Message) {}, Gap: func(error) {},
		Peers: func() { o.mu.Lock(); o.changes++; o.mu.Unlock() },
		Settings: func(digest uint64, settings []bus.Setting) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.digest, o.settings = digest, settings
		},
	}))
	return o
}

// changed returns how often there was news since the last call.
func (o *observer) changed() int {
	synctest.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.changes
	o.changes = 0
	return n
}

// heard returns the peers, which must have been heard so long ago, without when they were.
func (o *observer) heard(ago time.Duration) []bus.Peer {
	peers := o.Peers()
	for i := range peers {
		if time.Since(peers[i].Heard).Round(time.Millisecond) == ago {
			peers[i].Heard = time.Time{}
		}
	}
	return peers
}

// TestPeers_About: what others say of themselves is heard at once, and only what is new
// is told.
func TestPeers_About(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := membus.NewHub()
		a := observe(t, hub, "a")
		b := observe(t, hub, "b")
		about := bus.About{Tier: 1, Namespace: 2, Options: 3}
		time.Sleep(4 * time.Second)
		assert.Positive(t, a.changed())
		assert.Equal(t, []bus.Peer{{Node: "b", Incarnation: b.Incarnation(), Version: 2}}, a.heard(0))
		b.Describe(about)
		assert.Equal(t, 1, a.changed())
		assert.Equal(t, []bus.Peer{{Node: "b", Incarnation: b.Incarnation(), Version: 2, About: about}}, a.heard(0))
		b.Describe(about)
		time.Sleep(5 * time.Second)
		assert.Zero(t, a.changed())

		s := &stranger{t: t, transport: hub.Join(), incarnation: 77}
		s.heartbeat(0)
		assert.Equal(t, 1, a.changed())
		assert.Len(t, a.Peers(), 2)
		s.goodbye(0)
		assert.Equal(t, 1, a.changed())
		b.Unsubscribe()
		assert.Equal(t, 1, a.changed())
		assert.Empty(t, a.Peers())
		assert.Nil(t, b.Peers())
	})
}

// TestSettings: who is asked tells everybody, once a second at most.
func TestSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := membus.NewHub()
		a, b, c := observe(t, hub, "a"), observe(t, hub, "b"), observe(t, hub, "c")
		b.Describe(bus.About{Options: 9, Settings: goldenSettings})
		time.Sleep(time.Second)
		a.AskSettings(77)
		synctest.Wait()
		assert.Empty(t, a.settings)
		a.AskSettings(b.Incarnation())
		synctest.Wait()
		for _, o := range []*observer{a, c} {
			assert.EqualValues(t, 9, o.digest)
			assert.Equal(t, goldenSettings, o.settings)
		}
		a.settings, c.settings = nil, nil
		for range 10 {
			a.AskSettings(b.Incarnation())
			synctest.Wait()
		}
		assert.Empty(t, a.settings, "it has just said so")
		time.Sleep(time.Second)
		a.AskSettings(b.Incarnation())
		synctest.Wait()
		assert.Equal(t, goldenSettings, a.settings)
	})
}
