package main

import (
	"bytes"
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
)

// server is a server of a fleet that tells its options.
func server(t *testing.T, hub *membus.Hub, name string) *bus.Bus {
	t.Helper()
	b, err := bus.New(hub.Join(), bus.Options{Node: name})
	require.NoError(t, err)
	require.NoError(t, b.Subscribe(bus.Handler{Apply: func(bus.Message) {}, Gap: func(error) {}}))
	b.Describe(bus.About{Options: 7, Settings: []bus.Setting{{Cache: "users", Option: "TTL", Value: "5m"}}})
	return b
}

// asking is a listener of the program that hears the bus.
func asking(t *testing.T, hub *membus.Hub) *listener {
	t.Helper()
	f := &fleet{
		inv: &invocation{console: &console{err: new(bytes.Buffer)}, quiet: true, timeout: time.Minute}, bus: &address{}, transport: hub.Join(),
	}
	l, err := f.listen(false)
	require.NoError(t, err)
	require.NoError(t, l.subscribe(func(bus.Message) {}))
	require.NoError(t, l.awaitReady(t.Context()))
	return l
}

// TestOptions_AskedTwice: a server tells its options once in a second; a second command in that
// second asks another one, or waits for that second.
func TestOptions_AskedTwice(t *testing.T) {
	for count, most := range map[int]time.Duration{1: 1500 * time.Millisecond, 2: 200 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			hub := membus.NewHub()
			for _, name := range []string{"web-1", "web-2"}[:count] {
				defer server(t, hub, name).Close()
			}
			l := asking(t, hub)
			defer l.Close()
			peers, err := l.roll(t.Context())
			require.NoError(t, err)
			require.Len(t, peers, count)
			for _, within := range []time.Duration{200 * time.Millisecond, most} {
				began := time.Now()
				options, err := l.options(t.Context(), peers)
				require.NoError(t, err)
				assert.Equal(t, []string{"users"}, cachesOf(options))
				assert.LessOrEqual(t, time.Since(began), within)
			}
		})
	}
}

// TestOptions_Lost: what is not answered is asked for again, and not for ever.
func TestOptions_Lost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := asking(t, membus.NewHub())
		defer l.Close()
		began := time.Now()
		options, err := l.options(t.Context(), []bus.Peer{{Incarnation: 1, About: bus.About{Options: 7}}})
		require.NoError(t, err)
		assert.Empty(t, options)
		assert.Equal(t, l.fleet.inv.timeout/3, time.Since(began))
	})
}

// TestRoll_Late: a server that does not answer at once is there if it is heard a little later.
func TestRoll_Late(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := membus.NewHub()
		l := asking(t, hub)
		defer l.Close()
		_, err := l.roll(t.Context())
		require.ErrorIs(t, err, errAlone)
		late := make(chan *bus.Bus, 1)
		time.AfterFunc(time.Second, func() { late <- server(t, hub, "web-1") })
		peers, err := l.roll(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "web-1", namesOf(peers))
		require.NoError(t, (<-late).Close())

		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = l.roll(short)
		require.ErrorIs(t, err, errAlone, "whatever -timeout is")
	})
}

// TestConnectNATS_Interrupted: a server of NATS that hangs keeps nobody from ending the program.
func TestConnectNATS_Interrupted(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = connectNATS(ended, "nats://"+silent.Addr().String(), []nats.Option{nats.Timeout(time.Second)})
	require.ErrorIs(t, err, context.Canceled)
}
